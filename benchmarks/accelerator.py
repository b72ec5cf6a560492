"""Training steps a second and a sweep over heads on a GPU, ours and PyTorch's: two tables out.

On a machine with a GPU, in an environment with requirements.txt, requirements-bench.txt and
requirements-parity.txt (torch with CUDA), s3prl and `pip install "jax[cuda13]==0.10.2"`:

python benchmarks/accelerator.py

`--small` takes small models, to see on any machine that everything runs.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from sat_jax.config import Config

SIDES = ("ours", "pytorch")
GOAL, UTILISATION, SWEEP_GOAL = 1.3, 0.45, 10.0
WINDOWS = 5
EQUAL = """\
Equal on both sides: widths, layers, utterances of a step and their seconds, bf16 products with
float32 parameters, dropout, clipping, AdamW. Ours is the step of train.py: it also computes
features, draws masks and negatives, leaves layers out (wav2vec 2.0) and measures its baselines;
PyTorch's side is compiled by torch.compile, gets all of that ready-made, and has fused AdamW.
Every side runs in a process of its own, in turns; medians of windows of steps, of which only the
last is waited for. MFU is of operations that are counted alike for both sides, and of the chip's
peak in bf16.
"""


class Setting(NamedTuple):
    """One row of the table of steps."""

    experiment: str
    rows: int
    """Utterances of a step."""
    seconds: float
    """Length of each."""
    steps: int
    """Of a window."""


SETTINGS = {
    "mockingjay_large": Setting("mockingjay_large", 64, 15.0, 20),
    "wav2vec2_base": Setting("wav2vec2_base", 32, 15.0, 10),
}
SMALL = {
    "mockingjay_large": Setting("mockingjay_large", 2, 1.5, 2),
    "wav2vec2_base": Setting("wav2vec2_base", 2, 1.0, 2),
}


def config_of(setting: Setting, small: bool) -> Config:
    """The experiment in bf16 with batches of the setting; with few and narrow layers if small."""
    from sat_jax.experiments import experiments

    config = experiments()[setting.experiment][1]
    model = dataclasses.replace(config.model, compute_dtype="bfloat16")
    if small:
        model = dataclasses.replace(model, layers=2, heads=2, width=64, ffn=128)
    batches = dataclasses.replace(
        config.batches, size=setting.rows, max_frames=round(setting.seconds * 100)
    )
    return dataclasses.replace(config, model=model, batches=batches)


def our_step(config: Config, setting: Setting) -> Callable[[], Any]:
    """The step of train.py on audio that lies on the device."""
    import jax

    from sat_jax import mesh
    from sat_jax.grid import SAMPLE_RATE
    from sat_jax.model.build import build_model
    from sat_jax.pretrain import optim, step

    devices = mesh.build_mesh(config.mesh, setting.rows, devices=jax.devices()[:1])
    model = build_model(config)
    tx = optim.optimizer(config.optim, config.loop.steps, devices)
    abstract, make_state = step.sharded_state(step.init_state(config, model, tx), devices)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    run = step.train_step(config, model, tx, devices, shardings)
    samples = int(setting.seconds * SAMPLE_RATE)
    rng = np.random.default_rng(0)
    audio = (3000 * rng.normal(size=(setting.rows, samples))).astype(np.int16)
    batch = mesh.place_batch((audio, np.full(setting.rows, samples, np.int32)), devices)
    state = make_state()

    def once() -> Any:
        nonlocal state
        state, metrics = run(state, *batch)
        return metrics.loss

    return once


def measure_steps(name: str, side: str, small: bool) -> dict[str, Any]:
    """Steps a second of every window of one side."""
    setting = (SMALL if small else SETTINGS)[name]
    config = config_of(setting, small)
    if side == "ours":
        once = our_step(config, setting)
    else:
        import torch
        from torch_peers import step_of

        device = "cuda" if torch.cuda.is_available() else "cpu"
        once = step_of(config, setting.rows, setting.seconds, device)
    for _ in range(3):
        loss = float(once())
    found = []
    for _ in range(WINDOWS):
        began = time.perf_counter()
        for _ in range(setting.steps):
            loss = once()
        loss = float(loss)
        found.append(setting.steps / (time.perf_counter() - began))
    if not np.isfinite(loss):
        raise SystemExit(f"{name}, {side}: the loss is {loss}")
    return {"steps": found}


def count_flops(name: str, small: bool) -> tuple[float, float]:
    """Operations of a step, and the most that the chip can do in a second (0: not known)."""
    import jax

    from sat_jax.model.build import build_model
    from sat_jax.model.cost import forward_flops
    from sat_jax.plan.chips import peak_of

    setting = (SMALL if small else SETTINGS)[name]
    config = config_of(setting, small)
    model = build_model(config)
    frames = config.batches.max_frames // model.grid.frames * model.grid.frames
    flops = 3.0 * setting.rows * forward_flops(model, frames // model.grid.frames)
    return flops, peak_of(jax.devices()[0].device_kind, "bfloat16")


def measure_sweep(side: str, small: bool) -> dict[str, Any]:
    """Seconds of a leave-one-out sweep over the heads of a model, and what it found."""
    import sweep

    shape = (32, 2, 2, 64) if small else sweep.LARGE
    case = sweep.make_case(sweep.Setting(1, shape, "leave one out", None, 1))
    ours = sweep.our_side(case, 1, width=64)
    run = ours.distances
    if side != "ours":
        import torch
        from s3prl_sweep import make_loop

        torch.set_float32_matmul_precision("high")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        run = make_loop(case.config.model, ours.params, *case[1:], 1, device).distances
    run()
    seconds = []
    for _ in range(WINDOWS):
        began = time.perf_counter()
        distances = run()
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "distances": np.asarray(distances).tolist()}


def start(what: str, side: str, options: argparse.Namespace) -> dict[str, Any]:
    """One side's measurement, in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, "--side", side]
    environment = {**os.environ, "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"}
    done = subprocess.run(
        command + ["--small"] * options.small,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def header(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))


def print_steps(name: str, options: argparse.Namespace) -> None:
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(options.turns):
        for side in SIDES:
            found[side] += start(name, side, options)["steps"]
    speed = {side: statistics.median(values) for side, values in found.items()}
    counted = start(name, "flops", options)
    used = [speed[side] * counted["flops"] / counted["peak"] for side in SIDES if counted["peak"]]
    cells = [f"{share:.0%}" for share in used] or ["chip not known"] * len(SIDES)
    spread = max(np.ptp(np.percentile(v, [25, 75])) / speed[s] for s, v in found.items())
    row(
        *(name, f"{speed['ours']:.2f}", f"{speed['pytorch']:.2f}"),
        *(f"{speed['ours'] / speed['pytorch']:.2f}x", f"{GOAL}x", *cells),
        *(f"{UTILISATION:.0%}", f"{spread:.0%}"),
    )


def print_sweep(options: argparse.Namespace) -> None:
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(options.turns):
        for side in SIDES:
            found[side].append(start("sweep", side, options))
    times = {s: statistics.median(x for t in v for x in t["seconds"]) for s, v in found.items()}
    ours, theirs = (np.array(found[side][0]["distances"]) for side in SIDES)
    row(
        *("leave one out", f"{times['ours']:.3f} s", f"{times['pytorch']:.3f} s"),
        *(f"{times['pytorch'] / times['ours']:.2f}x", f"{SWEEP_GOAL}x"),
        f"{np.abs(ours - theirs).max():.0e} of {ours.max():.2g}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="small models, on any machine")
    parser.add_argument("--turns", type=int, default=2, help="processes of each side")
    parser.add_argument("--only", choices=[*SETTINGS, "sweep"], help="one row instead of all")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        if options.side == "flops":
            found: Any = dict(
                zip(("flops", "peak"), count_flops(options.measure, options.small), strict=True)
            )
        elif options.measure == "sweep":
            found = measure_sweep(options.side, options.small)
        else:
            found = measure_steps(options.measure, options.side, options.small)
        print(json.dumps(found))
        return
    print(EQUAL)
    if options.only != "sweep":
        header(
            *("steps a second", "ours", "PyTorch", "ratio", "goal", "our MFU", "its MFU"),
            *("goal", "spread"),
        )
        for name in SETTINGS if options.only is None else [options.only]:
            print_steps(name, options)
    if options.only in (None, "sweep"):
        print("\nThe sweep: float32 parameters, products in TensorFloat-32 where there is such.\n")
        header("sweep", "ours", "PyTorch's loop", "ratio", "goal", "largest difference")
        print_sweep(options)


if __name__ == "__main__":
    main()
