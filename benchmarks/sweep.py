"""Seconds of an ablation sweep, ours and a loop over s3prl's PyTorch Mockingjay: two tables out.

Each setting runs in a process of its own, which times both sides in turns. `--only NAME` runs one.
"""

import argparse
import ctypes
import gc
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
from train_step import AGREEMENT, BINS, STACK, busy_elsewhere

from sat_jax.config import Config, Model, StackedFrames
from sat_jax.launch import ALLOCATOR, DEVICE_COUNT
from sat_jax.model.packing import dealt
from sat_jax.sweep.orderings import gates_of, points_of, random_orders, single_gates
from sat_jax.sweep.trie import Settings, distinct, make_settings, node_counts, sweep

BATCH, POSITIONS = 4, 100
SMALL, LARGE = (256, 8, 6, 1024), (768, 12, 12, 3072)
TIMES = ("setting", "ours", "s3prl", "ratio", "best", "goal", "spread", "rivals", "max diff")
NEEDS = ("setting", "masks", "nodes per layer", "nodes", "naive", "compiled", "first run", "memory")


class Setting(NamedTuple):
    """One row of the tables."""

    cores: int
    shape: tuple[int, int, int, int]
    """Width, heads, layers, feed-forward width."""
    kind: str
    goal: float | None
    repeats: int
    shortest: int = POSITIONS // 2
    """Positions of the shortest utterance."""


SETTINGS = {
    "small, 1 core": Setting(1, SMALL, "orderings", 3.0, 3),
    "large, 1 core": Setting(1, LARGE, "one ordering", 2.7, 1),
    "small leave-one-out, 1 core": Setting(1, SMALL, "leave one out", 2.6, 5),
    "small, no padding, 1 core": Setting(1, SMALL, "orderings", 3.0, 3, POSITIONS),
    "small leave-one-out, no padding, 1 core": Setting(
        1, SMALL, "leave one out", 2.6, 5, POSITIONS
    ),
    "small coarse, 1 core": Setting(1, SMALL, "coarse", None, 7),
    "small, 2 cores": Setting(2, SMALL, "orderings", 3.0, 3),
    "small leave-one-out, 2 cores": Setting(2, SMALL, "leave one out", 2.6, 5),
}
EQUAL = f"""\
small and large are D, H, L, F = {SMALL} and {LARGE}, on {BATCH} utterances of
{POSITIONS // 2} to {POSITIONS} positions, or of {POSITIONS} each (no padding). small prunes head
after head, top-down, bottom-up and in two random orders; coarse does so {SMALL[1]} heads at a time;
large has one random order, one turn.
Equal on both sides: inputs, padding, parameters, float32, no dropout, no gradients, masks that are
made before, cores, and the allocator settings {" ".join(ALLOCATOR)}.
Every mask's output is reduced to one number an utterance: its mean distance from the intact output.
s3prl's side loops over the masks, repeated ones too; a mask multiplies the heads' contexts. Before
the clock starts, the outputs of all valid positions under every mask are compared: ours, s3prl's,
and those of our engine that shares nothing.
Times are medians of whole sweeps without compilation, and ratio is s3prl / ours; best is the same
of the fastest sweeps; spread is the range of the noisiest side over its median; rivals are the
cores that other programs had meanwhile. Do not trust a row on all cores with rivals.
"""
NOTES = """
nodes are the layers that our sweep computes, naive those of the loop; compiled are the ops that
the first run compiles, and its seconds are with that; memory is what a later run adds to the
process at its peak, beside 2 (L + 1) states, two sets of maps and two feed-forward activations.
"""


def gates_for(kind: str, layers: int, heads: int) -> np.ndarray:
    """The masks (G, L, H) of a kind of sweep."""
    shape, total = (layers, heads), layers * heads
    if kind == "leave one out":
        return np.concatenate([np.ones((1, *shape), np.float32), single_gates(shape)])
    up, (first, second) = np.arange(total), random_orders(0, total, 2)
    orders = [first] if kind == "one ordering" else [up[::-1], up, first, second]
    points = points_of(total, kind == "coarse")
    return np.concatenate([gates_of(order, points, shape) for order in orders])


class Case(NamedTuple):
    """What both sides are given."""

    config: Config
    gates: np.ndarray
    """(G, L, H)."""
    inputs: np.ndarray
    """(B, T, stack * bins) float32."""
    valid: np.ndarray
    """(B, T) bool."""


def make_case(setting: Setting) -> Case:
    width, heads, layers, ffn = setting.shape
    model = Model(
        layers=layers, heads=heads, width=width, ffn=ffn, frontend=StackedFrames(stack=STACK)
    )
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(BATCH, POSITIONS, STACK * BINS)).astype(np.float32)
    lengths = np.linspace(POSITIONS, setting.shortest, BATCH).round().astype(int)
    lengths = lengths[dealt(lengths, BATCH // setting.cores)]
    valid = np.arange(POSITIONS) < lengths[:, None]
    return Case(Config(model=model), gates_for(setting.kind, layers, heads), inputs, valid)


class Ours(NamedTuple):
    """Our side."""

    distances: Callable[[], np.ndarray]
    """What is timed: (G, B)."""
    outputs: Callable[[str], np.ndarray]
    """Engine to outputs (G, B, T, D), of which those of padding mean nothing."""
    compiled: set[tuple[Any, ...]]
    """The ops that the trie has called."""
    params: Any


def our_side(case: Case, cores: int, width: int = 1) -> Ours:
    """The sweep that `analyze.py` makes for the ablation study, with `width` nodes at a time."""
    import jax
    import jax.numpy as jnp

    from sat_jax import mesh
    from sat_jax.model.build import build_model, init_params
    from sat_jax.model.packing import Packing, packing_of, unpack
    from sat_jax.sweep.batch_ops import Counts, batch_ops
    from sat_jax.sweep.ops import encoder_ops

    devices = mesh.build_mesh(case.config.mesh, BATCH)
    if devices.devices.size != cores:
        raise SystemExit(f"jax has {devices.devices.size} devices for {cores} cores")
    model = build_model(case.config)
    start = init_params(jax.random.key(0), model)
    params = jax.device_put(start, mesh.replicated(devices))
    packing = packing_of(case.valid, devices=cores)
    inputs, valid, packing = mesh.place_batch((case.inputs, case.valid, packing), devices)
    ops = encoder_ops(model, devices)
    counts = {engine: Counts(set(), {}) for engine in ("trie", "vmap")}
    settings = make_settings(case.gates)

    def run(settings: Settings, engine: str, finish: Callable[[jax.Array], Any]) -> np.ndarray:
        heads = case.config.model.heads
        view = batch_ops(ops, params, heads, inputs, valid, packing, finish, counts[engine])
        return sweep(view, settings, engine=engine, width=width)

    whole = make_settings(np.ones((1, *case.gates.shape[1:])))
    intact = mesh.place_batch(run(whole, "vmap", lambda states: states)[0], devices)

    def distance(
        states: jax.Array, intact: jax.Array, valid: jax.Array, packing: Packing
    ) -> jax.Array:
        apart = unpack(jnp.abs(states - intact[:, None]).mean(-1), packing)
        return jnp.where(valid[..., None], apart, 0.0).sum(1) / valid.sum(1)[:, None]

    def padded(states: jax.Array, packing: Packing) -> jax.Array:
        return unpack(states, packing).swapaxes(1, 2)

    leaf, whole_leaf = (jax.jit(mesh.by_device(each, devices)) for each in (distance, padded))
    return Ours(
        distances=lambda: run(
            settings, "trie", lambda states: leaf(states, intact, valid, packing)
        ),
        outputs=lambda engine: run(settings, engine, lambda states: whole_leaf(states, packing)),
        compiled=counts["trie"].compiled,
        params=jax.tree.map(np.asarray, start),
    )


def timed(sides: dict[str, Callable[[], np.ndarray]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every sweep of every side; the sides take turns, and have to agree each time."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        found = []
        for name, side in sides.items():
            began = time.perf_counter()
            found.append(side())
            seconds[name].append(time.perf_counter() - began)
        agree("the distances", float(np.abs(found[0] - found[1]).max()))
    return seconds


def agree(what: str, difference: float) -> None:
    if not difference < AGREEMENT:
        raise SystemExit(f"{what} differ by {difference:.1e}, over {AGREEMENT:.0e}")


def memory_growth(run: Callable[[], Any]) -> float:
    """Bytes that a run adds to the memory of this process at its peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else it would live on what earlier runs left
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmRSS")
    run()
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """Bytes, from what the kernel says about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * float(line.split()[1]) for line in lines if line.startswith(field))


def computed_need(setting: Setting) -> float:
    """Bytes of a state and contexts in every layer, and of maps and activations in one."""
    width, heads, layers, ffn = setting.shape
    row = 2 * (layers + 1) * width + 2 * heads * POSITIONS + 2 * ffn
    return 4.0 * BATCH * POSITIONS * row


def measure(name: str) -> None:
    """A row of either table for one setting, in the environment that `start` made for it."""
    setting = SETTINGS[name]
    case = make_case(setting)
    ours = our_side(case, setting.cores)
    began = time.perf_counter()
    outputs = ours.outputs("trie")
    first, compiled = time.perf_counter() - began, len(ours.compiled)
    agree("our two engines", float(np.abs(outputs - ours.outputs("vmap")).max()))
    ours.distances()  # compiles what reduces
    growth = memory_growth(ours.distances)

    from s3prl_sweep import make_loop

    peer = make_loop(case.config.model, ours.params, *case[1:], setting.cores)
    pairs = zip(outputs, peer.outputs(), strict=True)
    difference = max(float(np.abs(own - other)[case.valid].max()) for own, other in pairs)
    agree("the outputs", difference)
    del outputs
    others, began = busy_elsewhere(), time.perf_counter()
    seconds = timed({"ours": ours.distances, "s3prl": peer.distances}, setting.repeats)
    rivals = (busy_elsewhere() - others) / (time.perf_counter() - began)
    medians = [statistics.median(each) for each in seconds.values()]
    fastest = [min(each) for each in seconds.values()]
    spread = max(np.ptp(each) / statistics.median(each) for each in seconds.values())
    cells = [f"{median:.2f} s" for median in medians]
    cells += [f"{medians[1] / medians[0]:.2f}x", f"{fastest[1] / fastest[0]:.2f}x"]
    cells += [f"{setting.goal:.1f}x" if setting.goal else "-", f"{spread:.0%}", f"{rivals:.2f}"]
    print(row(name, *cells, f"{difference:.0e}"))
    settings = make_settings(case.gates)
    nodes, masks = node_counts(settings), len(case.gates)
    unlike = len(distinct(settings)[0].gate)
    cells = [f"{masks}, {unlike} distinct", " ".join(map(str, nodes)), f"{nodes.sum()}"]
    cells += [f"{masks * len(nodes)}", f"{compiled}", f"{first:.1f} s"]
    need = f"{growth / 2**20:.0f} MiB, computed {computed_need(setting) / 2**20:.0f} MiB"
    print(row(name, *cells, need))


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def header(columns: tuple[str, ...]) -> str:
    return f"{row(*columns)}\n{row(*['---'] * len(columns))}"


def start(name: str) -> list[str]:
    """Run `measure` in a new process with its own cores, threads and allocator settings."""
    cores = SETTINGS[name].cores
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < cores:
        return [f"{name}: left out, {len(usable)} core at hand"]
    environment = {
        **os.environ,
        **ALLOCATOR,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{DEVICE_COUNT}={cores}",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "OMP_NUM_THREADS": str(cores),
    }
    command = [sys.executable, __file__, "--measure", name]
    pin = usable[-cores:]
    return subprocess.run(
        command,
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, pin),
    ).stdout.splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SETTINGS, help="one setting instead of all")
    parser.add_argument("--measure", choices=SETTINGS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure)
        return
    print(f"{EQUAL}Python {platform.python_version()}, {len(os.sched_getaffinity(0))} cores.\n")
    print(header(TIMES), flush=True)
    needs = []
    for name in [chosen.only] if chosen.only else SETTINGS:
        times, *need = start(name)
        print(times, flush=True)
        needs += need
    print(NOTES + "\n" + "\n".join([header(NEEDS), *needs]))


if __name__ == "__main__":
    main()
