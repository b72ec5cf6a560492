"""A run that trains in, its copy in the cloud kept by a thread of its own, which nobody waits for.

A failed upload is said once and tried again until the run has ended; only then it is an error.
"""

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from sat_jax.cloud import steps
from sat_jax.cloud.fetch import is_of_training
from sat_jax.cloud.store import Store, open_store, reason
from sat_jax.cloud.upload import changed_here, send_all
from sat_jax.errors import InputError, Interrupted

LOOK = 0.5
"""Seconds between looks for new checkpoints on disk."""
LONGEST_PAUSE = 60.0
"""Most seconds until a failed upload is tried again; the first time it is a second."""
TRIALS = 4
"""Failures in a row, after the end of the run, that end it with an error."""
PATIENCE = 30.0
"""Seconds for what is not uploaded yet when a run is ended early, by SIGTERM for instance."""
QUIET = 2.0
"""Seconds of waiting about which nothing is said."""
NAMED = 6
"""Most files that are named in one line."""


class Uploads(NamedTuple):
    """The thread that uploads a run, and what it says of itself."""

    store: Store
    place: Path
    thread: threading.Thread
    ending: threading.Event
    seen: set[int]
    """Steps that are dealt with: uploaded, or broken."""
    failed: list[str]
    """Why the latest upload failed; empty while uploads succeed."""


@contextlib.contextmanager
def mirror(address: str, place: Path, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Upload the run in `place` while the context lasts; see `sat_jax.cloud.mirrored`."""
    started: list[Uploads] = []

    def begin() -> None:
        started.append(start(address, place, say))

    try:
        yield begin
    except BaseException as error:
        left = "; ".join(filter(None, (finish(each, PATIENCE, say) for each in started)))
        if left and isinstance(error, InputError):
            raise type(error)(f"{error}; {left}") from error
        if left:
            say(left)
        raise
    for each in started:
        _finish_unless_terminated(each, say)


def start(address: str, place: Path, say: Callable[[str], None]) -> Uploads:
    """Begin to upload what is whole in `place`, and whatever becomes so."""
    ending, seen, failed = threading.Event(), set(), []
    store = open_store(address)
    shutil.rmtree(place / steps.UPLOADING, ignore_errors=True)

    def work() -> None:
        failures = trials = rounds = 0
        while True:
            last = ending.is_set()
            if last or failures or not rounds or set(steps.whole_here(place)) - seen:
                rounds += 1
                try:
                    for step, wrong in send_all(store, place, is_of_training, seen).items():
                        say(f"{place}/{steps.CKPT}/{step} is broken and not uploaded: {wrong}")
                except Exception as error:
                    # Stores raise errors of their own packages, of no common kind.
                    failed[:] = [reason(error)]
                    failures, trials = failures + 1, trials + last
                    if failures == 1:
                        say(f"{address}: upload failed ({failed[0]}); training goes on, and it is "
                            "tried again")  # fmt: skip
                    if trials == TRIALS:
                        return
                else:
                    failures, failed[:] = 0, []
                    if last:
                        return
            if last:
                time.sleep(min(2.0**trials, LONGEST_PAUSE) * LOOK)
            else:
                ending.wait(min(2.0**failures * LOOK, LONGEST_PAUSE))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return Uploads(store, place, thread, ending, seen, failed)


def finish(uploads: Uploads, seconds: float, say: Callable[[str], None]) -> str:
    """Wait so long for what is not uploaded yet; what then is only here, in a line, or nothing."""
    uploads.ending.set()
    uploads.thread.join(min(seconds, QUIET))
    if uploads.thread.is_alive():
        say(f"uploading to {uploads.store.address}, for {seconds:.0f} s at most")
        uploads.thread.join(max(seconds - QUIET, 0))
    return _left(uploads)


def _left(uploads: Uploads) -> str:
    if not uploads.thread.is_alive() and not uploads.failed:
        return ""
    steps_here = (step for step in steps.whole_here(uploads.place) if step not in uploads.seen)
    files = sorted(filter(is_of_training, changed_here(uploads.place)))
    names = [*(f"{steps.CKPT}/{step}" for step in steps_here), *files]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    why = uploads.failed[0] if uploads.failed else f"not done after {PATIENCE:.0f} s"
    return (
        f"not uploaded to {uploads.store.address} ({why}): {', '.join(names[:NAMED])}{more}; the "
        f"only copy is in {uploads.place}, and the same command on this machine uploads it"
    )


def _finish_unless_terminated(uploads: Uploads, say: Callable[[str], None]) -> None:
    """Wait for everything, or for `PATIENCE` from SIGTERM on; raises where something is left."""
    terminated: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: terminated.append(time.monotonic()))
    uploads.ending.set()
    uploads.thread.join(QUIET)
    if uploads.thread.is_alive():
        say(f"uploading to {uploads.store.address} what is not there yet")
    while uploads.thread.is_alive():
        uploads.thread.join(0.1)
        if terminated and time.monotonic() > terminated[0] + PATIENCE:
            break
    left = _left(uploads)
    if left:
        raise (Interrupted if terminated else InputError)(left)
    say(f"uploaded: {uploads.store.address}")
