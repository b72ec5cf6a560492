"""The ablation study, killed in the middle, goes on to the same bytes."""

import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ablation_runs import options, place
from scripts import ENVIRONMENT, PIPES, python
from two_processes import ROOT, start

pytestmark = pytest.mark.commands


@pytest.fixture
def run(tiny_run):
    return tiny_run.path


FEW = {"preset": "coarse", "memory_mib": 1}


def analyse(run, out, script="analyze.py", **changes):
    # Pooled probes alone: layers, which no interruption concerns, are then not probed.
    tasks = ["--ablate.tasks", "reconstruction", "speaker-utterance"]
    return [
        *(sys.executable, script, str(run), "--no-pdf", "--out", str(out)),
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
        while not list(killed.glob("analysis/leaves/*/00001-0.npz")):
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


def leaves_of(out):
    """Of every identity its keys in order and its arrays."""
    found = {}
    for directory in sorted((out / "analysis" / "leaves").iterdir()):
        parts = [dict(np.load(path)) for path in directory.glob("*.npz")]
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.argsort(whole["key"])
        found[directory.name] = {name: array[order] for name, array in whole.items()}
    return found


@pytest.mark.pods
def test_killed_in_two_processes_it_goes_on_in_one_to_the_same_leaves(run, tmp_path):
    whole, killed = (place(tmp_path / name) for name in ("whole", "killed"))
    result = python(*analyse(run, whole, "tests/undrawn.py"))
    assert result.returncode == 0, result.stderr
    started = start(analyse(run, killed, "tests/undrawn.py")[1:], **PIPES)
    deadline = time.monotonic() + 240
    while len(list(killed.glob("analysis/leaves/*/*.npz"))) < 6:
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in started)
        time.sleep(0.002)
    for process in started:
        process.kill()
    for process in started:
        process.communicate(timeout=60)
    assert not (killed / "analysis" / "ablation.csv").exists()
    result = python(*analyse(run, killed, "tests/undrawn.py"))
    assert result.returncode == 0, result.stderr
    done, of = map(int, re.search(r"(\d+) of (\d+) settings were mea", result.stdout).groups())
    assert 0 < done < of
    expected, found = leaves_of(whole), leaves_of(killed)
    assert set(found) == set(expected)
    for identity, arrays in expected.items():
        assert set(found[identity]) == set(arrays)
        assert len(set(arrays["key"])) == len(arrays["key"])
        np.testing.assert_array_equal(found[identity]["key"], arrays["key"])
        for name in set(arrays) - {"key"}:
            # Heads that siblings in a sweep attend with decide which program runs.
            np.testing.assert_allclose(found[identity][name], arrays[name], rtol=1e-5, atol=1e-6)
