"""Speed of a whole training, data included: ours by train.py, and s3prl's loop in PyTorch.

Both train on the same recordings with batches of the same size, in turns, each in a process of its
own.
`--only NAME` runs one setting.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import soundfile

from sat_jax.audio.dataset import prepare
from sat_jax.audio.prepared import open_split
from sat_jax.config import Corpus
from sat_jax.grid import SAMPLE_RATE
from sat_jax.launch import ALLOCATOR

ROOT = Path(__file__).resolve().parents[1]
GOAL = 2.0
WINDOW = 25
SETTLING = 50
"""Steps before the first window that counts."""
COLUMNS = (
    *("setting", "ours", "s3prl's loop", "ratio", "by utterances", "goal", "to the end"),
    *("spread", "rivals"),
)
EQUAL = """\
Equal on both sides: recordings, utterances per step, longest crop, width, layers, 80 log-mel bands
with mean and variance per utterance, spans of 7 masked frames, L1, dropout 0.1 everywhere,
clipping, AdamW (fused in PyTorch) with the same rates, float32, cores, and the allocator's
settings.
Ours is `train.py`, which reads its prepared corpus and computes features in the step; its log says
how much it did in every window of 25 steps. s3prl's side is benchmarks/s3prl_loop.py with features
by worker processes; the number of workers is the fastest of 0, 1 and 2, found before.
Speed is hours of speech per hour, padding not counted (ours pads to a few fixed lengths, s3prl to
the longest of a batch), medians of windows after the first 50 steps; `ratio` is of these, `by
utterances` of utterances per second, and `to the end` of the seconds of whole processes, start and
compilation included (ours finds its programs compiled from the turn before).
`rivals` are the cores that other programs had meanwhile; do not trust a row with any.
"""


class Setting(NamedTuple):
    """One row of the table."""

    layers: int
    width: int
    heads: int
    batch: int
    frames: int
    """Longest crop."""
    steps: int
    turns: int


SETTINGS = {
    "128 wide, 6 layers": Setting(6, 128, 8, 8, 336, 150, 3),
    "256 wide, 3 layers": Setting(3, 256, 8, 8, 336, 150, 3),
    "768 wide, 3 layers": Setting(3, 768, 12, 6, 336, 100, 2),
}


class Turn(NamedTuple):
    """What one process did."""

    hours: list[float]
    """Hours of speech per hour, by window."""
    utterances: list[float]
    """Utterances per second, by window."""
    seconds: float
    """From its start to its end."""


def ours(setting: Setting, run: Path, data: Path) -> Turn:
    """One training by train.py."""
    options = {
        "run-dir": run,
        "corpus.data-dir": data,
        "features.deltas": 0,
        "model.layers": setting.layers,
        "model.width": setting.width,
        "model.heads": setting.heads,
        "model.ffn": 4 * setting.width,
        "batches.size": setting.batch,
        "batches.max-frames": setting.frames,
        "loop.steps": setting.steps,
        "loop.log-every": WINDOW,
        "loop.valid-every": setting.steps,
        "loop.checkpoint-every": setting.steps,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    seconds = timed([sys.executable, "train.py", "mockingjay_base", *words])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return turn([line for line in lines if "hours_per_hour" in line], seconds)


def theirs(config: Path, audio: Path, setting: Setting, workers: int, log: Path) -> Turn:
    """One training by s3prl's loop."""
    command = [sys.executable, "benchmarks/s3prl_loop.py", str(config), str(audio)]
    numbers = {
        "steps": setting.steps,
        "window": WINDOW,
        "workers": workers,
        "threads": len(os.sched_getaffinity(0)),
    }
    words = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
    with log.open("w") as out:
        seconds = timed([*command, *words], out, ALLOCATOR)
    return turn([json.loads(line) for line in log.read_text().splitlines()], seconds)


def timed(
    command: list[str], out: Any = subprocess.DEVNULL, added: Mapping[str, str] = {}
) -> float:
    """Seconds that a process takes; ends with what it says where it fails."""
    began = time.perf_counter()
    environment = {**os.environ, **added}
    done = subprocess.run(
        command, stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.perf_counter() - began


def turn(lines: list[dict], seconds: float) -> Turn:
    late = [line for line in lines if line["step"] > SETTLING]
    return Turn(
        [line["hours_per_hour"] for line in late],
        [line["utterances_per_second"] for line in late],
        seconds,
    )


def write_recordings(corpus: Corpus, directory: Path) -> None:
    """The training utterances as wav files."""
    directory.mkdir()
    with contextlib.redirect_stdout(sys.stderr):  # the table goes on
        prepared = prepare(corpus)
    split = open_split(prepared, "train")
    for i in range(len(split)):
        soundfile.write(directory / f"{i}.wav", split[i].audio, SAMPLE_RATE)


def others_cpu() -> float:
    """CPU seconds that programs outside of this benchmark have had so far."""
    times = psutil.cpu_times()
    mine = psutil.Process().cpu_times()
    own = mine.user + mine.system + mine.children_user + mine.children_system
    return times.user + times.nice + times.system - own


def measure(name: str, folder: Path, data: Path, audio: Path) -> None:
    """One row: the fastest number of workers first, then both sides in turns."""
    setting = SETTINGS[name]
    ours(setting._replace(steps=WINDOW), folder / "first", data)
    config = folder / "first" / "config.json"
    log = folder / "s3prl.jsonl"
    short = setting._replace(steps=SETTLING + WINDOW)
    speeds = {n: statistics.median(theirs(config, audio, short, n, log).hours) for n in (0, 1, 2)}
    workers = max(speeds, key=speeds.get)
    sides: dict[str, list[Turn]] = {"ours": [], "s3prl": []}
    rivals, began = others_cpu(), time.perf_counter()
    for number in range(setting.turns):
        sides["ours"].append(ours(setting, folder / f"run-{number}", data))
        sides["s3prl"].append(theirs(config, audio, setting, workers, log))
    rivals = (others_cpu() - rivals) / (time.perf_counter() - began)

    def medians(field: str) -> list[float]:
        return [
            statistics.median([x for turn in turns for x in getattr(turn, field)])
            for turns in sides.values()
        ]

    hours, utterances = medians("hours"), medians("utterances")
    whole = [statistics.median([turn.seconds for turn in turns]) for turns in sides.values()]
    spread = 0.0
    for turns, middle in zip(sides.values(), hours, strict=True):
        quarters = statistics.quantiles([x for turn in turns for x in turn.hours], n=4)
        spread = max(spread, (quarters[2] - quarters[0]) / middle)
    cells = [name, f"{hours[0]:.0f} h/h", f"{hours[1]:.0f} h/h, {workers} workers"]
    cells += [f"{hours[0] / hours[1]:.2f}x", f"{utterances[0] / utterances[1]:.2f}x"]
    cells += [f"{GOAL:.2f}x", f"{whole[1] / whole[0]:.2f}x", f"{spread:.0%}", f"{rivals:.2f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SETTINGS, help="one setting instead of all")
    chosen = parser.parse_args()
    print(EQUAL)
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus(data_dir=Path(folder) / "data")
        audio = Path(folder) / "audio"
        write_recordings(corpus, audio)
        for number, name in enumerate([chosen.only] if chosen.only else SETTINGS):
            place = Path(folder) / str(number)
            place.mkdir()
            measure(name, place, corpus.data_dir, audio)


if __name__ == "__main__":
    main()
