"""The scripts as a user runs them, on a run that is as small as can be."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from two_processes import ROOT, on_devices

STEPS = 120
TINY = [
    *("--corpus.talker.speakers", "4", "--corpus.talker.utterances", "6"),
    *("--corpus.valid-share", "0.2", "--corpus.test-share", "0.2"),
    *("--model.layers", "2", "--model.heads", "4", "--model.width", "32", "--model.ffn", "64"),
    *("--batches.size", "4", "--batches.max-frames", "96", "--model.dropout", "0.1"),
    *("--loop.steps", str(STEPS), "--loop.log-every", "1", "--loop.valid-every", "60"),
    *("--loop.valid-batches", "1", "--loop.checkpoint-every", "25"),
]
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
ENVIRONMENT = on_devices(2)


class TinyRun(NamedTuple):
    """A trained run that all tests share, whichever process they run in: they write elsewhere."""

    path: Path
    data: Path
    """Where its corpus is."""
    said: str
    """What train.py printed."""


def command(run, data, *more):
    arguments = ["train.py", "toy", *TINY, "--run-dir", str(run), "--corpus.data-dir", str(data)]
    return [sys.executable, *arguments, *more]


def python(*arguments, **more):
    return subprocess.run(
        arguments, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, **more
    )


def train_once(directory):
    """The tiny run in `directory`, trained by the first process that asks for it."""
    directory.mkdir(exist_ok=True)
    run, data, said = directory / "reference", directory / "data", directory / "said"
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            result = python(*command(run, data))
            assert result.returncode == 0, result.stderr
            said.write_text(result.stdout)
    return TinyRun(run, data, said.read_text())


def records(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def losses(run):
    """What has to be equal to the last bit: every number that does not tell of this machine."""
    ends = ("_second", "_hour", "_share", "compilations", "memory_mib")
    return [{k: v for k, v in record.items() if not k.endswith(ends)} for record in records(run)]
