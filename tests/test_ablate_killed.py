"""The ablation study, killed in the middle, goes on to the same bytes."""

import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ablation_runs import options, place
from scripts import ENVIRONMENT, python
from two_processes import ROOT


@pytest.fixture
def run(tiny_run):
    return tiny_run.path


FEW = {"preset": "coarse", "memory_mib": 1}


def analyse(run, out, **changes):
    # Pooled probes alone: layers, which no interruption concerns, are then not probed.
    tasks = ["--ablate.tasks", "reconstruction", "speaker-utterance"]
    return [
        *(sys.executable, "analyze.py", str(run), "--no-pdf", "--out", str(out)),
        *(*options(**(FEW | changes)), *tasks),
    ]


def ops_run(said):
    """How many functions the sweep called."""
    return int(re.search(r"(\d+) ops run", said)[1])


def test_killed_it_goes_on_and_fresh_it_begins_to_the_same_bytes(run, tmp_path):
    whole, killed = (place(tmp_path / name) for name in ("whole", "killed"))
    result = python(*analyse(run, whole))
    assert result.returncode == 0, result.stderr
    assert "were measured before" not in result.stdout
    first = result.stdout
    with subprocess.Popen(
        analyse(run, killed), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not list(killed.glob("analysis/leaves/*/00001.npz")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (killed / "analysis" / "ablation.csv").exists()
    kept = [len(np.load(p)["key"]) for p in sorted(killed.glob("analysis/leaves/*/*.npz"))]
    result = python(*analyse(run, killed))
    assert result.returncode == 0, result.stderr
    done, of = map(int, re.search(r"(\d+) of (\d+) settings were mea", result.stdout).groups())
    assert 0 < done == sum(kept) < of
    assert ops_run(result.stdout) < ops_run(first)
    for name in ("ablation.csv", "ablation_areas.csv", "ablation.npz"):
        ours, theirs = (out / "analysis" / name for out in (killed, whole))
        assert ours.read_bytes() == theirs.read_bytes(), name
