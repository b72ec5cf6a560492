"""The whole command on a pod that is not here: libtpu compiles the step for sixteen chips."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODEL = ["--model.layers", "2", "--model.scan-layers", "--model.compute-dtype", "bfloat16"]
LAYOUT = ["--topology", "v5e:4x4", "--mesh.fsdp", "2", "--batches.size", "32"]
LAYERS, WIDTH, FFN = 2, 128, 512


pytestmark = pytest.mark.pods
COMPILED = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed (requirements-tpu.txt), so no program is compiled for a TPU",
)
# The programs of other tests are not optimised; these are to be what a pod runs.
OPTIMISED = {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}


def printed_by(*arguments):
    """What Python prints, as a pod's compiler needs it to run."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=OPTIMISED,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@COMPILED
def test_a_pod_gathers_and_scatters_kernels_and_moves_no_activations(tmp_path):
    command = ["plan.py", "toy", *MODEL, *LAYOUT, "--optim", "adamw"]
    said = printed_by(*command, "--price", "1.2", "--json", str(tmp_path / "plan.json"))
    assert "compiled for v5e:4x4 by libtpu" in said
    found = json.loads((tmp_path / "plan.json").read_text())
    assert found["mesh"] == {"data": 8, "fsdp": 2, "model": 1}
    sent = {(row["kind"], *row["axes"]): row for row in found["collectives"] if not row["small"]}
    # Every kernel of a layer is gathered in bfloat16, forward and backward, and its gradient
    # scattered once, half of each by a device; outside of the layers there are three more.
    layer = WIDTH * (4 * WIDTH + 2 * FFN) * 2
    gathered = sent["all-gather", "fsdp"]
    assert LAYERS * layer <= gathered["wire"] < LAYERS * layer * 1.25
    assert sent["reduce-scatter", "fsdp"]["wire"] == pytest.approx(gathered["wire"] / 2, rel=0.15)
    assert ("all-to-all", "fsdp") not in sent and ("all-to-all", "data") not in sent
    # XLA:TPU scatters whole tiles of rows and then moves what is over: 8 of the input's 240.
    moved = sum(row["wire"] for kind, row in sent.items() if kind[0] == "collective-permute")
    assert moved <= 8 * WIDTH * 2
    assert ("all-reduce", "fsdp") not in sent
    assert found["memory"]["fits"]
    assert found["memory"]["state"] < found["memory"]["total"] < 2**30
    assert found["run"]["cost"] == pytest.approx(1.2 * found["run"]["chip_hours"])


@COMPILED
def test_parts_of_a_batch_are_added_up_before_a_pod_reduces_their_gradients(tmp_path):
    command = ["plan.py", "toy", "--model.layers", "2", "--optim", "adamw", "--topology", "v5e:4x4"]
    sent = []
    for parts in ("1", "4"):
        options = ["--batches.size", "64", "--batches.parts", parts]
        printed_by(*command, *options, "--json", str(tmp_path / parts))
        rows = json.loads((tmp_path / parts).read_text())["collectives"]
        sent.append([row for row in rows if not row["small"]])
    for rows in sent:
        assert {(row["kind"], *row["axes"]) for row in rows} == {("all-reduce", "data")}
    once, added_up = (sum(row["wire"] for row in rows) for rows in sent)
    assert added_up == pytest.approx(once, rel=0.05)


LAYER = WIDTH * (4 * WIDTH + 2 * FFN)
OUTSIDE = WIDTH * (240 + WIDTH + 240)
SHAPES = {
    (256, 1, 1): {("all-reduce", "data")},
    (64, 4, 1): {
        *{("all-gather", "fsdp"), ("reduce-scatter", "fsdp"), ("collective-permute", "fsdp")},
        *{("all-reduce", "data"), ("all-reduce", "data", "fsdp")},
    },
    (16, 4, 4): {
        *{("all-gather", "fsdp"), ("reduce-scatter", "fsdp")},
        *{("all-reduce", "data"), ("all-reduce", "data", "fsdp"), ("all-reduce", "fsdp")},
        *{("all-reduce", "model"), ("collective-permute", "fsdp", "model")},
    },
}
"""Meshes of 256 chips, and all that a step sends there but for a few numbers."""


@COMPILED
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_256_chips_send_what_the_mesh_needs_and_nothing_else(shape, tmp_path):
    """Bytes per step and device of two layers. TPUs multiply in bfloat16, and gather that."""
    data, fsdp, model = shape
    command = ["plan.py", "toy", "--model.layers", str(LAYERS), "--optim", "adamw"]
    command += ["--topology", "v5e:16x16", "--mesh.fsdp", str(fsdp), "--mesh.model", str(model)]
    printed_by(*command, "--json", str(tmp_path / "plan.json"))
    found = json.loads((tmp_path / "plan.json").read_text())
    assert tuple(found["mesh"].values()) == shape
    sent = {(row["kind"], *row["axes"]): row for row in found["collectives"] if not row["small"]}
    assert set(sent) == SHAPES[shape]

    def all_reduced(numbers, among):
        return pytest.approx(4 * numbers * 2 * (among - 1) / among, rel=1e-3)

    layers = LAYERS * LAYER // model
    # With `model`, what is outside of the layers is reduced by other groups.
    kernels = layers + (OUTSIDE if model == 1 else 0)
    mine = found["parameters"] if fsdp == 1 else kernels // fsdp
    if fsdp > 1:
        # Those of layers forward and backward, those outside of them once.
        gathered = 2 * (2 * layers + OUTSIDE) * (fsdp - 1) / fsdp
        assert sent["all-gather", "fsdp"]["wire"] == pytest.approx(gathered, rel=1e-3)
    assert sent["all-reduce", "data"]["count"] == 1
    assert sent["all-reduce", "data"]["wire"] == all_reduced(mine, data)
    if model > 1:
        # Sums of products that are split, two forward and two backward in each layer.
        sums = sent["all-reduce", "model"]
        states = found["batch"] // (data * fsdp) * found["positions"] * WIDTH
        assert sums["count"] == 4 * LAYERS
        assert sums["wire"] == all_reduced(4 * LAYERS * states, model)


KERNELS = """
import dataclasses, os
from sat_jax.plan.topology import environment, topology_named
topology = topology_named("v5e:2x2")
os.environ.update(environment(topology, os.environ))
from sat_jax.config import AdamW, Mesh
from sat_jax.experiments import experiments
from sat_jax.plan.program import compile_step
from sat_jax.plan.topology import devices_of
toy = experiments()["toy"][1]
model = dataclasses.replace(toy.model, layers=2, scan_layers=True, compute_dtype="bfloat16")
config = dataclasses.replace(toy, model=model, mesh=Mesh(fsdp=2, model=2), optim=AdamW())
text = compile_step(config, devices_of(topology), lambda _: None).text
calls = [line for line in text.splitlines() if 'custom_call_target="tpu_custom_call"' in line]
print(len(calls), sum("[4,4,128,16]" in line for line in calls))
"""


@COMPILED
def test_without_dropout_a_pod_makes_no_maps():
    said = printed_by("-c", KERNELS)
    # Mixtures, gradients of keys and values, and of queries, of the four utterances and the four
    # heads that a device has, of 112 positions in a block of 128.
    assert said.split() == ["3", "3"]
