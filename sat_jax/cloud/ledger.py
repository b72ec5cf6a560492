"""What of a local copy is equal to its address: files here, and how both sides were last the same.

The ledger, `.cloud.json`, has of every file that was fetched or uploaded its size and time here and
its key there: one that changed since, on either side, no longer agrees with it.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sat_jax.cloud.store import Entry
from sat_jax.errors import writing
from sat_jax.files import write_whole
from sat_jax.run_directory import NO_LOCKS

LEDGER = ".cloud.json"
LOCK = ".cloud.lock"
APART = ("ckpt", "broken")
"""Folders of a run that are no plain files: checkpoints travel by steps, broken ones not at all."""


class State(NamedTuple):
    """A file here."""

    size: int
    time: int
    """Of its last change, in nanoseconds."""


class Agreed(NamedTuple):
    """A file as it was when both sides were the same."""

    here: State
    key: str


Ledger = dict[str, Agreed]


def state_of(file: Path) -> State | None:
    """The state of a file here; None where there is none, or no plain one."""
    if file.is_symlink() or not file.is_file():
        return None
    with contextlib.suppress(FileNotFoundError):
        found = file.stat()
        return State(found.st_size, found.st_mtime_ns)
    return None


def files_here(place: Path, apart: tuple[str, ...] = APART) -> dict[str, State]:
    """The files of a local copy that travel, by relative name.

    Hidden and temporary ones do not, nor what links lead to: a run may be somebody else's.
    """
    found = {}
    for folder, folders, names in os.walk(place):
        top = Path(folder) == place
        folders[:] = [f for f in folders if f[0] != "." and not (top and f in apart)]
        for name in names:
            file = Path(folder, name)
            state = None if name[0] == "." or file.suffix == ".tmp" else state_of(file)
            if state:
                found[file.relative_to(place).as_posix()] = state
    return found


def read_ledger(place: Path) -> Ledger:
    """What was last the same; nothing where that is not known."""
    try:
        rows = json.loads((place / LEDGER).read_text())
        return {name: Agreed(State(size, time), key) for name, (size, time, key) in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def record(place: Path, agreed: Mapping[str, Agreed]) -> None:
    """Note files that are the same now, beside those that other processes have noted."""
    if not agreed:
        return
    with writing(place), alone(place / f"{LOCK}.ledger"):
        rows = {
            name: [*each.here, each.key] for name, each in (read_ledger(place) | agreed).items()
        }
        write_whole(place / LEDGER, json.dumps(rows).encode())


def agree(here: State | None, entry: Entry | None, known: Agreed | None) -> tuple[bool, bool]:
    """Whether a file is as it was when both sides were last the same: here, and there."""
    if known is None:
        return False, False
    return here == known.here, entry is not None and entry.key == known.key


@contextlib.contextmanager
def alone(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock file among the processes of this machine; `waiting` is called before a wait."""
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield
