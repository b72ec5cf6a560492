"""Numbers of a run in, `metrics.jsonl`, event files, manifest and progress bar out."""

import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from tensorboardX import SummaryWriter

from sat_jax.errors import InputError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy")


class Sinks(NamedTuple):
    """Where numbers go; only process 0 has any."""

    jsonl: TextIO
    events: SummaryWriter


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def open_sinks(directory: Path, step: int) -> Sinks:
    """Open the logs of a run that goes on from `step`: what it wrote beyond that is taken back."""
    path = directory / "metrics.jsonl"
    kept = [record for record in read_metrics(path) if record["step"] <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
    temporary.replace(path)
    events = SummaryWriter(str(directory / "tensorboard"), purge_step=step + 1)
    return Sinks(path.open("a"), events)


def write_metrics(sinks: Sinks, step: int, values: dict[str, float]) -> None:
    """Append one record, at once on disk, and the same scalars to the event file."""
    sinks.jsonl.write(json.dumps({"step": step, **values}) + "\n")
    sinks.jsonl.flush()
    for name, value in values.items():
        sinks.events.add_scalar(name, value, step)


def make_directory(directory: Path) -> None:
    """Make a run directory; raises `InputError` where that is impossible."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{directory}: {error.strerror}; give another --run-dir") from None


def write_manifest(directory: Path, data: dict[str, Any], devices: list[str]) -> None:
    """Add this session to `manifest.json`: command, versions, devices and the hash of the data."""
    path = directory / "manifest.json"
    sessions = json.loads(path.read_text())["sessions"] if path.exists() else []
    session = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "processes": jax.process_count(),
        "devices": devices,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
    temporary = path.with_suffix(".tmp")
    text = json.dumps({"data": data, "sessions": [*sessions, session]}, indent=2)
    temporary.write_text(text + "\n")
    temporary.replace(path)


class Window(NamedTuple):
    """What happened since the last line of the log."""

    began: float
    first: int
    """Steps done when the window began."""
    waited: float = 0.0
    """Seconds that the loop stood still because no batch was ready."""
    speech: float = 0.0
    """Seconds of speech, padding not counted."""

    def add(self, waited: float, speech: float) -> "Window":
        """The window with one more step."""
        return self._replace(waited=self.waited + waited, speech=self.speech + float(speech))

    def numbers(self, done: int, metrics: Any, rate: float) -> dict[str, float]:
        """One record of `metrics.jsonl` from the latest step's `StepMetrics`."""
        seconds = max(time.perf_counter() - self.began, 1e-9)
        return {
            "loss": float(metrics.loss),
            "smooth_loss": float(metrics.smooth[0]),
            "mean_frame": float(metrics.smooth[1]),
            "grad_norm": float(metrics.grad_norm),
            "learning_rate": rate,
            "steps_per_second": (done - self.first) / seconds,
            "hours_per_hour": self.speech / seconds,
            "wait_share": self.waited / seconds,
        }


class Bar(NamedTuple):
    """A progress bar on a terminal; on anything else, now and then a line."""

    progress: Progress
    task: Any
    total: int
    first: int
    began: float


def open_bar(total: int, done: int) -> Bar:
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
    progress.start()
    task = progress.add_task("pretrain", total=total, completed=done, status="")
    return Bar(progress, task, total, done, time.perf_counter())


def show(bar: Bar, before: int, step: int, numbers: dict[str, float]) -> None:
    """Move the bar from `before` to `step`; without a terminal, print about twenty lines in all."""
    status = (
        f"{numbers['steps_per_second']:.1f} steps/s  {numbers['hours_per_hour']:.0f} h/h  "
        f"loss {numbers['smooth_loss']:.4f}"
    )
    bar.progress.update(bar.task, completed=step, status=status)
    if bar.progress.disable and 20 * step // bar.total > 20 * before // bar.total:
        pace = (time.perf_counter() - bar.began) / max(step - bar.first, 1)
        left = time.strftime("%H:%M:%S", time.gmtime(pace * (bar.total - step)))
        print(f"step {step}/{bar.total}  {status}  ETA {left}", flush=True)


def say(bar: Bar | None, message: str) -> None:
    """Print a line above the bar."""
    if bar is not None and not bar.progress.disable:
        bar.progress.console.print(message, highlight=False, markup=False)
    else:
        print(message, flush=True)


def close(sinks: Sinks, bar: Bar) -> None:
    """Flush and close the logs, and stop the bar."""
    bar.progress.stop()
    sinks.jsonl.close()
    sinks.events.close()
