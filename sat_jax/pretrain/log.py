"""Numbers of a run in, `metrics.jsonl`, event files and manifest out.

`metrics.jsonl` and the manifest belong to the run: where they cannot be written, training ends in
one line. Event files are a copy of it, and training never waits for them.
"""

import importlib.metadata
import json
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import jax
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from sat_jax.errors import writing
from sat_jax.pretrain.side_output import PATIENCE, SideOutput, close, open_side_output, put
from sat_jax.pretrain.step import StepMetrics
from sat_jax.run_directory import write_whole

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy")

_RECORD = re.compile(rb'(?=\{"step": )')


class Sinks(NamedTuple):
    """Where numbers go; only process 0 has any."""

    path: Path
    jsonl: TextIO
    events: SideOutput
    writer: list[EventsWriter]
    """The event file, once the thread behind `events` has opened it."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, as far as they can be read."""
    return parse_metrics(path)[0]


def parse_metrics(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The records of a `metrics.jsonl`, and the numbers of lines that cannot be read in full.

    A crash may leave half a line, zeros in the place of lines, or two records in one line: what is
    whole in them is read. Of equal steps with the same values' names the last one counts. A last
    line that is cut short is no damage: the run writes it again.
    """
    if not path.exists():
        return [], []
    records: dict[tuple[Any, ...], dict[str, Any]] = {}
    damaged = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        parts = [part for part in _RECORD.split(line.strip(b"\0 \r\t")) if part]
        found = [record for part in parts if (record := _record(part))]
        if line and (len(parts) != 1 or not found or b"\0" in line):
            damaged.append(number)
        for record in found:
            key = (record["step"], *sorted(record))
            records.pop(key, None)
            records[key] = record
    if damaged and damaged[-1] == len(lines) and b"\0" not in lines[-1]:
        damaged.pop()
    return sorted(records.values(), key=lambda record: record["step"]), damaged


def _record(text: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) and type(record.get("step")) is int else None


def open_sinks(directory: Path, step: int, say: Callable[[str], None] = print) -> Sinks:
    """Open the logs of a run that goes on from `step`: what it wrote beyond that is taken back.

    Step 0 is evaluated again, so that nothing of it is kept. Lines of `metrics.jsonl` that cannot
    be read are said and left out.
    """
    path = directory / "metrics.jsonl"
    records, damaged = parse_metrics(path)
    if damaged:
        named = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        say(f"{path}: damaged in line {named}: what can be read of the file is kept")
    kept = [record for record in records if record["step"] <= step] if step else []
    if step and not kept:
        say(f"{path}: the records of the {step} steps that are done are missing")
    write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))
    with writing(path):
        jsonl = path.open("a")
    folder = directory / "tensorboard"
    writer: list[EventsWriter] = []

    def failed(error: OSError) -> None:
        say(
            f"{folder}: {error.strerror or error}: no more event files in this session; "
            f"{path.name} has the same numbers"
        )

    def begin() -> None:
        folder.mkdir(exist_ok=True)
        writer.append(EventsWriter(str(folder / "events")))
        # TensorBoard forgets what an earlier session wrote from this step on.
        start = SessionLog(status=SessionLog.START)
        writer[0].write_event(Event(wall_time=time.time(), step=step + 1, session_log=start))

    events = open_side_output(failed)
    put(events, begin)
    return Sinks(path, jsonl, events, writer)


def write_metrics(sinks: Sinks, step: int, values: dict[str, float]) -> None:
    """Append one record, at once out of this process, and the same scalars to the event file."""
    with writing(sinks.path):
        sinks.jsonl.write(json.dumps({"step": step, **values}) + "\n")
        sinks.jsonl.flush()
    now = time.time()

    def write() -> None:
        for name, value in values.items():
            summary = scalar(name, value)
            sinks.writer[0].write_event(Event(wall_time=now, step=step, summary=summary))
        if sinks.events.waiting.empty():
            sinks.writer[0].flush()

    put(sinks.events, write)


def settle_on_disk(sinks: Sinks) -> None:
    """Wait until the disk has every record, so that none is missing before a checkpoint's step."""
    with writing(sinks.path):
        os.fsync(sinks.jsonl.fileno())


def close_sinks(sinks: Sinks) -> None:
    """Close the logs; the event file, which may hang, gets a few seconds."""
    with writing(sinks.path):
        sinks.jsonl.close()
    put(sinks.events, lambda: sinks.writer[0].close())
    close(sinks.events, PATIENCE)


def write_manifest(
    directory: Path, data: dict[str, Any], devices: list[str], say: Callable[[str], None] = print
) -> None:
    """Add this session to `manifest.json`: command, versions, devices and the hash of the data.

    A manifest that cannot be read is kept under another name, which is said.
    """
    path = directory / "manifest.json"
    sessions: list[Any] = []
    if path.exists():
        try:
            sessions = [*json.loads(path.read_bytes())["sessions"]]
        except (ValueError, KeyError, TypeError):
            aside = path.with_name("manifest.broken.json")
            with writing(aside):
                path.replace(aside)
            say(f"{path}: cannot be read; kept as {aside.name}, and a new one begins")
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
    text = json.dumps({"data": data, "sessions": [*sessions, session]}, indent=2)
    write_whole(path, text + "\n")


def numbers_of(metrics: StepMetrics, baseline: str, rate: float) -> dict[str, float]:
    """What the log says of the latest step; `baseline` names the running mean of the baseline."""
    losses = {
        name: float(value)
        for name, value in metrics.losses._asdict().items()
        if name not in ("count", baseline)
    }
    groups = {f"grad_norm/{name}": float(norm) for name, norm in metrics.group_norms.items()}
    return {
        **losses,
        "smooth_loss": float(metrics.smooth[0]),
        baseline: float(metrics.smooth[1]),
        "grad_norm": float(metrics.grad_norm),
        **groups,
        "learning_rate": rate,
    }
