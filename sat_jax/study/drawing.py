"""Figures of one study after the other in, files out, saved by a process beside this one.

Saving the figures of a study takes one core for seconds, most of them for the fonts of its PDFs;
meanwhile the next study runs. A thread would not do: matplotlib's parameters are global.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from matplotlib.figure import Figure

from sat_jax.errors import InputError
from sat_jax.figures import style


class Drawing:
    """Saves figures in a process of its own; as a context, it ends when all of them are saved.

    It starts with the first study that is given, and ends with this process, however this ends.
    """

    def __init__(self) -> None:
        self._figures: list[tuple[Figure, Path, str, bool]] = []
        self._waiting = 0
        self._studies: Connection | None = None

    def save(self, figure: Figure, directory: Path, stem: str, pdf: bool = True) -> None:
        """Have a figure saved as by `style.save`, when its study is given to `finish_study`."""
        self._figures.append((figure, directory, stem, pdf))

    def finish_study(self, then: Callable[..., Any], *arguments: Any) -> None:
        """Have the figures since the last call saved, then `then(*arguments)` called over there.

        Both must survive pickling. Raises what saving the figures of an earlier study raised.
        """
        self._collect(wait=False)
        if self._studies is None:
            self._studies = _start()
        with _alive():
            self._studies.send((self._figures, then, arguments))
        self._figures = []
        self._waiting += 1

    def finish(self) -> None:
        """Wait until everything that was given is saved; raises what that raised."""
        self._collect(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # Studies that were finished before one failed are kept; who interrupts does not wait.
        if kind is None:
            self.finish()
        elif issubclass(kind, Exception):
            with contextlib.suppress(Exception):
                self.finish()
        if self._studies is not None:
            self._studies.close()

    def _collect(self, wait: bool) -> None:
        while self._waiting and (wait or self._studies.poll()):
            with _alive():
                failure = self._studies.recv()
            self._waiting -= 1
            if failure is not None:
                raise failure


@contextlib.contextmanager
def _alive():
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise InputError(
            "figures: the process that draws them was ended from outside, perhaps for want of "
            "memory; the same command makes them anew"
        ) from error


def _start() -> Connection:
    """Start the process; the connection that takes studies and gives None or an error for each."""
    # A fork would inherit the threads of jax in whatever state they are.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_draw, args=(theirs,), daemon=True).start()
    theirs.close()
    return ours


def _draw(studies: Connection) -> None:
    """Save figures for as long as the other end of the connection is open."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(AttributeError, OSError):
        os.nice(10)
    given: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(studies, given), daemon=True).start()
    while True:
        figures, then, arguments = given.get()
        try:
            for figure in figures:
                style.save(*figure)
            then(*arguments)
            studies.send(None)
        except (InputError, OSError) as error:
            studies.send(error)
        except Exception:
            studies.send(RuntimeError(f"a figure could not be drawn\n{traceback.format_exc()}"))


def _receive(studies: Connection, given: queue.SimpleQueue) -> None:
    """Take every study at once, so that who gives one never waits for the one before."""
    while True:
        try:
            given.put(studies.recv())
        except (EOFError, OSError):
            os._exit(0)
