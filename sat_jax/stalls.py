"""Disks that do not answer: what is waited for is named, and a read is given up in the end.

A file system over a network that hangs raises no error, and a run of several processes would wait
for one of them for ever. Seconds in which this process is stopped do not count.
"""

import contextlib
import dataclasses
import math
import os
import sys
import threading
import time
from collections.abc import Iterator

SAID_AFTER = 60
"""Seconds after which something is named, and again whenever they have doubled."""

GIVEN_UP_AFTER = 600
"""Seconds after which a read ends this process with status 1."""

TICK = 1.0


@dataclasses.dataclass(eq=False)
class Wait:
    """What is waited for, the ticks after which it is given up, and those that have passed."""

    what: str
    most: float
    ticks: int = 0


_waits: dict[int, Wait] = {}
_start = threading.Lock()
_counting: list[threading.Thread] = []


def reading(what: str) -> contextlib.AbstractContextManager[None]:
    """Around a read of seconds at most: it is named where it takes long, and then given up."""
    return _counted(what, GIVEN_UP_AFTER)


def waiting_for(what: str) -> contextlib.AbstractContextManager[None]:
    """Around what may take its time: it is named where it takes long."""
    return _counted(what, math.inf)


@contextlib.contextmanager
def _counted(what: str, most: float) -> Iterator[None]:
    _count()
    wait = Wait(what, most)
    _waits[id(wait)] = wait
    try:
        yield
    finally:
        del _waits[id(wait)]


def _count() -> None:
    """Start the thread that counts, once in a process."""
    with _start:
        if not _counting:
            _counting.append(threading.Thread(target=_ticks, daemon=True))
            _counting[0].start()


def _ticks() -> None:
    said = SAID_AFTER
    while True:
        # Ticks are counted, not a clock read: a process that was stopped for hours goes on.
        time.sleep(TICK)
        waits = list(_waits.values())
        for wait in waits:
            wait.ticks += 1
            if wait.ticks >= wait.most:
                _say(
                    f"error: {wait.what} did not come in {_seconds(wait)}: its disk does not "
                    "answer; start the same command again when it does"
                )
                os._exit(1)
        # Of several threads that wait for one disk, the first says so.
        oldest = max(waits, key=lambda wait: wait.ticks, default=None)
        if oldest is None or oldest.ticks < SAID_AFTER:
            said = SAID_AFTER
        elif oldest.ticks == said:
            _say(f"still waiting for {oldest.what} after {_seconds(oldest)}: does its disk answer?")
            said *= 2


def _seconds(wait: Wait) -> str:
    return f"{wait.ticks * TICK:g} s"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
