"""Finished parts in, a bar with utterances, hours and time left out; one line where nobody looks."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sat_jax.audio.parts import Summary
from sat_jax.shapes import SAMPLE_RATE


@contextmanager
def preparation_bar(items: int, name: str) -> Iterator[Callable[[int, Summary], None]]:
    """Report function `(items done, summary of them)`; draws on stderr."""
    console = Console(stderr=True)
    started, samples = time.monotonic(), 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[hours]:.2f} h of speech"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"preparing {name}", total=items, hours=0.0)

        def report(done: int, summary: Summary) -> None:
            nonlocal samples
            samples += sum(summary.lengths)
            bar.update(task, advance=done, hours=samples / SAMPLE_RATE / 3600)

        yield report
    if not console.is_terminal:
        seconds = time.monotonic() - started
        hours = samples / SAMPLE_RATE / 3600
        line = f"prepared {name}: {items} utterances, {hours:.2f} h of speech in {seconds:.0f} s"
        print(line, file=sys.stderr)
