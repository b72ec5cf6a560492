"""Finished work in, a bar with utterances, hours and time left out; one line off a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sat_jax.grid import SAMPLE_RATE


@contextmanager
def progress_bar(verb: str, name: str, utterances: int) -> Iterator[Callable[[int, int], None]]:
    """Report function `(utterances done, their samples)`; draws on stderr."""
    console = Console(stderr=True)
    started, done_samples = time.monotonic(), 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[hours]:.2f} h of speech"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{verb} {name}", total=utterances, hours=0.0)

        def report(done: int, samples: int) -> None:
            nonlocal done_samples
            done_samples += samples
            bar.update(task, advance=done, hours=done_samples / SAMPLE_RATE / 3600)

        yield report
    if not console.is_terminal:
        seconds, hours = time.monotonic() - started, done_samples / SAMPLE_RATE / 3600
        line = f"{verb} {name}: {utterances} utterances, {hours:.2f} h of speech, {seconds:.0f} s"
        print(line, file=sys.stderr)
