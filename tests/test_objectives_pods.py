"""Every objective on one device, on eight and in two processes: the same curves; resuming."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from meshes import mesh_of
from objective_runs import CLUSTERED, Run, config_of, curve
from scripts import command, python, records
from two_processes import ROOT, on_devices

from sat_jax import checkpoint, mesh
from sat_jax.config import Mesh
from sat_jax.pretrain.objectives.objective import split_own
from sat_jax.pretrain.step import joined

pytestmark = pytest.mark.pods


@pytest.fixture(scope="module")
def in_two_processes():
    """The losses of all cases, found by two processes of two devices each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{probe.getsockname()[1]}"
    script = str(Path(__file__).parent / "objective_runs.py")
    environment = {**on_devices(2), "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, script, where, "2", str(process)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    said = [process.communicate(timeout=900)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    return json.loads(said[0].splitlines()[-1])


@pytest.mark.parametrize("name", CLUSTERED)
def test_devices_and_processes_change_nothing(name, in_two_processes):
    alone = curve(name, mesh_of(1))
    np.testing.assert_allclose(curve(name, mesh_of(8)), alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(in_two_processes[name], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["contrastive", "masked_units", "tera"])
def test_resuming_is_never_having_stopped(name, tmp_path):
    devices = mesh.build_mesh(Mesh(data=2, fsdp=4), 8)
    run = Run(config_of(name), devices)
    straight, losses = run.go(run.make(), 0, 6)
    state, _ = run.go(run.make(), 0, 3)
    checkpoints = checkpoint.open_checkpoints(tmp_path / "ckpt", keep=1)
    params, own = split_own(state.params)
    checkpoint.save(checkpoints, 3, params, state._replace(params=own))
    checkpoint.finish(checkpoints)
    params, own = split_own(run.abstract.params)
    params, rest = checkpoint.restore(checkpoints, 3, params, run.abstract._replace(params=own))
    resumed, after = run.go(rest._replace(params=joined(params, rest.params)), 3, 6)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), jax.device_get(straight))
    assert [float(each.loss) for each in after] == [float(each.loss) for each in losses[3:]]


def test_units_are_made_once_and_the_run_is_analysed(tiny_run, tmp_path):
    """From the command line: clusters, training, going on, a study; and side by side with another
    objective's run."""
    run = tmp_path / "units"
    made = command(run, tiny_run.data, "--loop.steps", "20", "--loop.valid-every", "20")
    made[2:3] = ["toy_units", "--objective.units", "12", "--objective.units-passes", "2"]
    first = python(*made)
    assert first.returncode == 0, first.stderr
    assert "units: 12 clusters of normalised MFCC" in first.stdout
    assert (
        "untrained loss" in first.stdout
        and "predicting clusters by their frequencies" in first.stdout
    )
    before = {p.name: p.stat().st_mtime_ns for p in (run / "units").iterdir()}
    assert set(before) == {"units.json", "centres.npz", "train.npy", "valid.npy"}
    made[made.index("--loop.steps", len(made) - 4) + 1] = "24"
    again = python(*made)
    assert again.returncode == 0, again.stderr
    assert "units:" not in again.stdout
    assert "going on from step 20 of 24" in again.stdout
    assert {p.name: p.stat().st_mtime_ns for p in (run / "units").iterdir()} == before
    last = records(run)[-1]
    assert last["step"] == 24 and 0 <= last["valid_accuracy"] <= 1
    few = ["--max-utterances", "2", "--draws", "20", "--no-pdf", "--only", "heads"]
    seen = python(sys.executable, "analyze.py", str(run), *few)
    assert seen.returncode == 0, seen.stderr
    assert "of masked positions" in (run / "report.html").read_text()
    assert (run / "analysis" / "heads.csv").exists()
