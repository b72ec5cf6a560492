"""Lines and event files that training never waits for: a thread of their own writes them.

A terminal that is paused, a pipe that nobody reads and a file system that hangs hold up that thread
and nothing else; one that fails ends it, and what comes later is dropped.
"""

import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

# What may wait: hours of log lines, a few megabytes.
MOST = 100_000

# Seconds that is waited at the end for what is not written yet.
PATIENCE = 5.0


class SideOutput(NamedTuple):
    """Writes that wait, and the thread that carries them out one after the other."""

    waiting: queue.Queue[Callable[[], None] | None]
    thread: threading.Thread


def open_side_output(failed: Callable[[OSError], None]) -> SideOutput:
    """Start the thread; it calls `failed` once, at the first write that fails, and drops the rest.

    A pipe that was closed, a full disk and a terminal that is gone are such failures.
    """
    waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST)

    def work() -> None:
        broken = False
        while (write := waiting.get()) is not None:
            try:
                if not broken:
                    write()
            except OSError as error:
                broken = True
                failed(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return SideOutput(waiting, thread)


def put(output: SideOutput, write: Callable[[], None]) -> None:
    """Have `write` carried out; never waits, and drops it where too many wait already."""
    try:
        output.waiting.put_nowait(write)
    except queue.Full:
        return


def close(output: SideOutput, seconds: float) -> bool:
    """Wait until all is written, at most so long; whether it was."""
    try:
        output.waiting.put(None, timeout=seconds)
    except queue.Full:
        return False
    output.thread.join(seconds)
    return not output.thread.is_alive()
