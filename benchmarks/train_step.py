"""Seconds of one training step, ours and s3prl's PyTorch Mockingjay: a table on the terminal out.

Each setting runs in a process of its own, which times both sides in turns. `--only NAME` runs one.
"""

import argparse
import functools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import psutil

from sat_jax.config import Batches, Config, Model, StackedFrames
from sat_jax.launch import ALLOCATOR, DEVICE_COUNT

BINS, STACK = 80, 3
PEER_NAMES = ("s3prl", "s3prl, fused AdamW")
AGREEMENT = 1e-4
RATIOS = ("ratio", "best", "to fused", "goal")
COLUMNS = ("setting       ", "ours", *PEER_NAMES, *RATIOS, "spread", "rivals", "max |diff|")


class Setting(NamedTuple):
    """One row of the table."""

    cores: int
    width: int
    heads: int
    layers: int
    ffn: int
    batch: int
    positions: int
    goal: float
    repeats: int


SETTINGS = {
    "small, 1 core": Setting(1, 256, 8, 6, 1024, 4, 200, 1.35, 9),
    "large, 1 core": Setting(1, 768, 12, 12, 3072, 4, 200, 1.0, 3),
    "toy, 2 cores": Setting(2, 128, 8, 6, 512, 8, 112, 1.5, 15),
    "small, 2 cores": Setting(2, 256, 8, 6, 1024, 8, 128, 1.1, 9),
}
EQUAL = f"""\
Equal on both sides: batch, lengths, widths, start parameters, float32, dropout 0.1 everywhere, L1
on masked frames, clipping to norm 1, AdamW with decay 0.01 on kernels only, cores, and the
allocator settings {" ".join(ALLOCATOR)}.
Ours also draws its masks, corrupts the input, follows the learning rate's schedule and measures two
baselines in every step; s3prl's side is given corrupted frames, masks and positions ready-made.
Times are medians, and ratio is s3prl / ours; best is the same of the fastest steps, to fused that
of AdamW with fused=True; spread is the interquartile range of the noisiest side over its median;
rivals are the cores that other programs had meanwhile. Do not trust a row on all cores with rivals:
PyTorch's threads spin while they wait for each other, and one rival slows them tenfold.
"""


class Sample(NamedTuple):
    """One batch of features and what s3prl's side is given ready-made."""

    features: np.ndarray
    """(B, T * stack, bins) float32."""
    frames: np.ndarray
    """(B,) int32."""
    clean: np.ndarray
    """(B, T, stack * bins)."""
    corrupted: np.ndarray
    """The same with 15 % of the positions set to zero."""
    chosen: np.ndarray
    """(B, T) bool, these positions."""


def make_sample(setting: Setting) -> Sample:
    rng = np.random.default_rng(0)
    b, t = setting.batch, setting.positions
    features = rng.normal(size=(b, t * STACK, BINS)).astype(np.float32)
    clean = features.reshape(b, t, STACK * BINS)
    chosen = rng.permuted(np.broadcast_to(np.arange(t) < round(0.15 * t), (b, t)), axis=1)
    corrupted = np.where(chosen[:, :, None], np.float32(0), clean)
    return Sample(features, np.full(b, t * STACK, np.int32), clean, corrupted, chosen)


def config_of(setting: Setting) -> Config:
    model = Model(
        layers=setting.layers,
        heads=setting.heads,
        width=setting.width,
        ffn=setting.ffn,
        frontend=StackedFrames(stack=STACK),
    )
    return Config(model=model, batches=Batches(size=setting.batch))


class Ours(NamedTuple):
    """Our side: a step to time, and what is needed to copy and compare it."""

    step: Callable[[], float]
    params: Any
    predict: Callable[[np.ndarray], np.ndarray]


def our_side(setting: Setting, sample: Sample) -> Ours:
    """The step of train.py, fed with features instead of audio."""
    import jax
    import jax.numpy as jnp

    from sat_jax import mesh
    from sat_jax.model.mockingjay import Mockingjay, stack_frames
    from sat_jax.pretrain import optim, step

    config = config_of(setting)
    devices = mesh.build_mesh(config.mesh, setting.batch)
    if devices.devices.size != setting.cores:
        raise SystemExit(f"jax has {devices.devices.size} devices for {setting.cores} cores")

    class FromFeatures(Mockingjay):
        """Fed with features, as its peer is."""

        def prepare(self, features: jax.Array, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
            return stack_frames(features, frames, STACK)

        def targets(self, features: jax.Array, frames: jax.Array) -> jax.Array:
            return stack_frames(features, frames, STACK)[0]

    model = FromFeatures(config.model, config.features)
    tx = optim.optimizer(config.optim, config.loop.steps)
    init = functools.partial(start_state, config, model, tx)
    abstract, make_state = step.sharded_state(init, devices)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    run = step.train_step(config, model, tx, devices, shardings)
    batch = mesh.place_batch((sample.features, sample.frames), devices)
    state = make_state()
    start = jax.tree.map(np.asarray, state.params)

    def once() -> float:
        nonlocal state
        state, metrics = run(state, *batch)
        return float(metrics.loss)

    @jax.jit
    def predict(inputs: jax.Array) -> jax.Array:
        return model.apply({"params": start}, inputs, jnp.ones(inputs.shape[:2], bool))

    return Ours(once, start, lambda inputs: np.asarray(predict(inputs)))


def start_state(config: Config, model: Any, tx: Any) -> Any:
    """The start of the model as it is, which takes audio; the parameters are the same."""
    import jax
    import jax.numpy as jnp

    from sat_jax.model.build import build_model, init_params
    from sat_jax.pretrain.step import TrainState

    params = init_params(jax.random.key(config.seed), build_model(config))
    return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), jnp.zeros(2))


def timed(steps: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every step of every side; the sides take turns."""
    for _ in range(2):
        for step in steps.values():
            step()  # compiles, and brings the allocator to its working size
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            began = time.perf_counter()
            loss = step()
            seconds[name].append(time.perf_counter() - began)
            if not np.isfinite(loss):
                raise SystemExit(f"{name}: the loss is {loss}")
    return seconds


def busy_elsewhere() -> float:
    """CPU seconds that other programs have had so far, on all cores."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system - time.process_time()


def measure(name: str) -> None:
    """One setting, in the environment that `start` made for it."""
    from benchmarks.s3prl_peer import make_peer

    setting = SETTINGS[name]
    sample = make_sample(setting)
    ours = our_side(setting, sample)
    batch = (sample.clean, sample.corrupted, sample.chosen)
    peers = [
        make_peer(config_of(setting), ours.params, *batch, setting.cores, fused)
        for fused in (False, True)
    ]
    difference = float(
        np.abs(ours.predict(sample.corrupted) - peers[0].predict(sample.corrupted)).max()
    )
    if not difference < AGREEMENT:
        raise SystemExit(f"{name}: the outputs differ by {difference:.1e}, over {AGREEMENT:.0e}")
    steps = {"ours": ours.step, **{n: p.step for n, p in zip(PEER_NAMES, peers, strict=True)}}
    others, began = busy_elsewhere(), time.perf_counter()
    seconds = timed(steps, setting.repeats)
    rivals = (busy_elsewhere() - others) / (time.perf_counter() - began)
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    best = {side: min(values) for side, values in seconds.items()}
    ratios = [medians[peer] / medians["ours"] for peer in PEER_NAMES]
    ratios.insert(1, best[PEER_NAMES[0]] / best["ours"])
    spread = max(np.ptp(np.percentile(v, [25, 75])) / medians[s] for s, v in seconds.items())
    cells = [f"{medians[side] * 1e3:.0f} ms" for side in ("ours", *PEER_NAMES)]
    cells += [f"{ratio:.2f}x" for ratio in ratios]
    cells += [f"{setting.goal:.2f}x", f"{spread:.0%}", f"{rivals:.2f}"]
    cells.append(f"{difference:.0e}")
    print(row(name, *cells), flush=True)


def row(*cells: str) -> str:
    widths = [max(len(column), 7) for column in COLUMNS]
    return "| " + " | ".join(f"{c:{w}}" for c, w in zip(cells, widths, strict=True)) + " |"


def start(name: str) -> None:
    """Run `measure` in a new process with its own cores, threads and allocator settings."""
    cores = SETTINGS[name].cores
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < cores:
        print(f"{name}: left out, {len(usable)} core at hand")
        return
    environment = {
        **os.environ,
        **ALLOCATOR,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{DEVICE_COUNT}={cores}",
        "OMP_NUM_THREADS": str(cores),
    }
    command = [sys.executable, __file__, "--measure", name]
    pin = usable[-cores:]
    subprocess.run(
        command, env=environment, check=True, preexec_fn=lambda: os.sched_setaffinity(0, pin)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SETTINGS, help="one setting instead of all")
    parser.add_argument("--measure", choices=SETTINGS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure)
        return
    print(f"{EQUAL}Python {platform.python_version()}, {len(os.sched_getaffinity(0))} cores.\n")
    print(row(*COLUMNS))
    print(row(*("-" * len(column) for column in COLUMNS)), flush=True)
    for name in [chosen.only] if chosen.only else SETTINGS:
        start(name)


if __name__ == "__main__":
    main()
