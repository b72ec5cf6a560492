"""What a run says, on a terminal or into a file: lines, and a progress bar; never waited for."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from sat_jax.pretrain.side_output import PATIENCE, SideOutput, close, open_side_output, put


class Bar(NamedTuple):
    """A progress bar on a terminal; on anything else, now and then a line."""

    progress: Progress
    task: Any
    total: int
    first: int
    began: float


class Terminal(NamedTuple):
    """Where lines and the progress bar go; see `side_output`."""

    output: SideOutput
    bar: list["Bar"]
    """The progress bar, once there is one."""


@contextlib.contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Lines and a progress bar for as long as the context lasts.

    At its end, or at an error, what was said is printed first. A terminal that is paused gets a few
    seconds for that; then the process ends, as nothing else is left to do.
    """
    terminal = Terminal(open_side_output(_silence), [])
    try:
        yield terminal
    except BaseException:
        _close(terminal)
        raise
    if not _close(terminal):
        os._exit(0)


def _close(terminal: Terminal) -> bool:
    put(terminal.output, lambda: [bar.progress.stop() for bar in terminal.bar] and None)
    return close(terminal.output, PATIENCE)


def _silence(_: OSError) -> None:
    """Send later output nowhere, so that leaving does not stumble over it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_bar(terminal: Terminal, total: int, done: int) -> None:
    """Start the bar of a run of `total` steps of which `done` are behind it."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("[bold]pretrain"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = progress.add_task("pretrain", total=total, completed=done, status="")
    bar = Bar(progress, task, total, done, time.perf_counter())

    def start() -> None:
        progress.start()
        terminal.bar.append(bar)

    put(terminal.output, start)


def show(terminal: Terminal, before: int, step: int, numbers: dict[str, float]) -> None:
    """Move the bar from `before` to `step`; without a terminal, print about twenty lines in all."""
    now = time.perf_counter()
    status = (
        f"{numbers['steps_per_second']:.1f} steps/s  {numbers['hours_per_hour']:.0f} h/h  "
        f"loss {numbers['smooth_loss']:.4f}"
    )

    def write() -> None:
        bar = terminal.bar[0]
        bar.progress.update(bar.task, completed=step, status=status)
        if bar.progress.disable and 20 * step // bar.total > 20 * before // bar.total:
            pace = (now - bar.began) / max(step - bar.first, 1)
            left = time.strftime("%H:%M:%S", time.gmtime(pace * (bar.total - step)))
            print(f"step {step}/{bar.total}  {status}  ETA {left}", flush=True)

    put(terminal.output, write)


def say(terminal: Terminal, message: str) -> None:
    """Print a line above the bar."""

    def write() -> None:
        if terminal.bar and not terminal.bar[0].progress.disable:
            terminal.bar[0].progress.console.print(message, highlight=False, markup=False)
        else:
            print(message, flush=True)

    put(terminal.output, write)
