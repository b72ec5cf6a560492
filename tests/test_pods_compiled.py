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


@pytest.mark.pods
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed (requirements-tpu.txt), so no program is compiled for a TPU",
)
def test_a_pod_gathers_and_scatters_kernels_and_moves_no_activations(tmp_path):
    # The programs of other tests are not optimised; this one is to be what a pod runs.
    environ = {k: v for k, v in os.environ.items() if k != "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    command = [sys.executable, "plan.py", "toy", *MODEL, *LAYOUT, "--optim", "adamw"]
    result = subprocess.run(
        [*command, "--price", "1.2", "--json", str(tmp_path / "plan.json")],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "compiled for v5e:4x4 by libtpu" in result.stdout
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
