"""Seconds of a training step and of inference under every attention algorithm, in turns with qk.

The real step of train.py on audio of the given length, and the model's forward pass. Each length
runs in a process of its own; tables on the terminal, `attention_time.csv` and a figure of time
against length in `--out`.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from sat_jax.config import Batches, Config, MaskedReconstruction, Model, StackedFrames
from sat_jax.config.attention import ATTENTIONS, FREE
from sat_jax.launch import relaunch

LENGTHS = (64, 128, 333, 512, 1024, 2048)
STACK, HOP, WINDOW = 3, 160, 400


def config_of(kind: str, length: int, sizes: argparse.Namespace) -> Config:
    """A model of the given sizes whose utterances have `length` positions."""
    model = Model(
        attention=ATTENTIONS[kind](),
        frontend=StackedFrames(stack=STACK, max_positions=max(LENGTHS)),
        layers=sizes.layers,
        heads=sizes.heads,
        width=sizes.width,
        ffn=sizes.ffn,
        dropout=sizes.dropout,
    )
    batches = Batches(size=sizes.batch, max_frames=length * STACK)
    return Config(model=model, batches=batches, objective=MaskedReconstruction(position_offset=0))


def prepared(kind: str, length: int, sizes: argparse.Namespace) -> dict[str, Any]:
    """A training step and an inference, compiled, with the bytes and operations that they take."""

    import jax

    from sat_jax import mesh
    from sat_jax.model.build import build_model
    from sat_jax.model.cost import forward_flops, parameter_count
    from sat_jax.model.freeze import freeze_maps
    from sat_jax.pretrain import optim, step

    config = config_of(kind, length, sizes)
    devices = mesh.build_mesh(config.mesh, sizes.batch)
    model = build_model(config)
    tx = optim.optimizer(config.optim, config.loop.steps, devices)
    abstract, make_state = step.sharded_state(step.init_state(config, model, tx), devices)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    samples = (length * STACK - 1) * HOP + WINDOW
    rng = np.random.default_rng(0)
    audio = rng.integers(-3000, 3000, (sizes.batch, samples)).astype(np.int16)
    batch = mesh.place_batch((audio, np.full(sizes.batch, samples, np.int32)), devices)
    state = make_state()
    train = step.train_step(config, model, tx, devices, shardings).lower(state, *batch).compile()
    inputs = jax.jit(mesh.by_device(model.prepare, devices))(*batch)

    ready, params = model, state.params
    if kind in ("syn_random", "syn_handcrafted"):
        ready, params = freeze_maps(model, params)
    params = jax.tree.map(jax.numpy.copy, params)  # the training step gives its state away

    def forward(params: Any, inputs: Any, valid: Any) -> Any:
        return ready.apply({"params": params}, inputs, valid, method="encode")

    infer = jax.jit(mesh.by_device(forward, devices, 1)).lower(params, *inputs).compile()
    held = {"state": state}

    def once() -> None:
        held["state"], metrics = train(held["state"], *batch)
        jax.block_until_ready(metrics.loss)

    def again() -> None:
        jax.block_until_ready(infer(params, *inputs))

    return {
        "train": once,
        "infer": again,
        "train_mib": train.memory_analysis().temp_size_in_bytes / 2**20,
        "infer_mib": infer.memory_analysis().temp_size_in_bytes / 2**20,
        "gflop": sizes.batch * forward_flops(model, length) / 1e9,
        "parameters": parameter_count(state.params),
    }


def in_turns(sides: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every side, one after the other, so often; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def measure(length: int, sizes: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per algorithm at one length: seconds, and ratios to qk within each turn."""
    kinds = sizes.only or list(FREE)
    kinds = ["qk", *(kind for kind in kinds if kind != "qk")]
    sides = {kind: prepared(kind, length, sizes) for kind in kinds}
    rows = [
        {"algorithm": kind, "positions": length}
        | {name: sides[kind][name] for name in ("train_mib", "infer_mib", "gflop", "parameters")}
        for kind in kinds
    ]
    for part in ("train", "infer"):
        seconds = in_turns({kind: sides[kind][part] for kind in kinds}, sizes.repeats)
        for row in rows:
            mine = seconds[row["algorithm"]]
            ratios = [a / b for a, b in zip(mine, seconds["qk"], strict=True)]
            low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            row |= {
                f"{part}_ms": 1e3 * statistics.median(mine),
                f"{part}_to_qk": statistics.median(ratios),
                f"{part}_quartile_1": low,
                f"{part}_quartile_3": high,
            }
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """The table of one length."""
    print(f"\n{rows[0]['positions']} positions (medians; to qk: median of ratios within turns)")
    print(f"{'':18}{'train ms':>10}{'to qk':>8}{'quartiles':>14}{'infer ms':>10}{'to qk':>8}"
          f"{'quartiles':>14}{'train MiB':>11}{'GFLOP':>8}")  # fmt: skip
    for row in rows:
        spreads = [
            f"[{row[f'{part}_quartile_1']:.2f}, {row[f'{part}_quartile_3']:.2f}]"
            for part in ("train", "infer")
        ]
        print(f"{row['algorithm']:18}{row['train_ms']:10.1f}{row['train_to_qk']:8.2f}"
              f"{spreads[0]:>14}{row['infer_ms']:10.1f}{row['infer_to_qk']:8.2f}{spreads[1]:>14}"
              f"{row['train_mib']:11.0f}{row['gflop']:8.1f}", flush=True)  # fmt: skip


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds, and their ratio to qk with its quartiles, against length: a line each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    kinds = list(dict.fromkeys(row["algorithm"] for row in rows))
    lengths = sorted({row["positions"] for row in rows})
    parts = (("train", "training step"), ("infer", "inference"))
    for (times, ratios), (part, title) in zip(panels.T, parts, strict=True):
        for number, kind in enumerate(kinds):
            mine = [row for row in rows if row["algorithm"] == kind]
            # Side by side, so that bars do not hide each other.
            place = [row["positions"] * 1.02 ** (number - len(kinds) / 2) for row in mine]
            look = {
                "color": "black" if kind == "qk" else f"C{number % 10}",
                "lw": 2 if kind in ("qk", "syn_handcrafted") else 1,
                "ls": "-" if number < 10 else "--",
                "marker": "o",
                "ms": 3,
            }
            times.plot(place, [row[f"{part}_ms"] for row in mine], label=kind, **look)
            middle = np.array([row[f"{part}_to_qk"] for row in mine])
            ends = [
                np.array([row[f"{part}_quartile_{end}"] for row in mine]) - middle for end in (1, 3)
            ]
            ratios.errorbar(place, middle, np.abs(ends), elinewidth=1, **look)
        times.set(xscale="log", yscale="log", ylabel="ms", title=title)
        ratios.set(yscale="log", xlabel="positions", ylabel="times qk's, with quartiles")
        ratios.set_xticks(lengths, [str(length) for length in lengths])
        ratios.minorticks_off()
        ticks = [tick for tick in (0.25, 0.5, 0.75, 1, 1.5, 2, 4, 8) if _within(ratios, tick)]
        ratios.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panels[0, 1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=150)


def _within(axes: Any, value: float) -> bool:
    low, high = axes.get_ylim()
    return low <= value <= high


def main() -> None:
    """Run one process per length, or one length where `--length` says so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--only", nargs="+", choices=list(FREE), help="beside qk")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--ffn", type=int, default=3072)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("runs/attention_time"))
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    sizes = parser.parse_args()
    if sizes.length:
        relaunch()
        print(json.dumps(measure(sizes.length, sizes)))
        return
    rows = []
    for length in sizes.lengths:
        command = [sys.executable, __file__, *sys.argv[1:], "--length", str(length)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows += json.loads(done.stdout.splitlines()[-1])
        show([row for row in rows if row["positions"] == length])
    sizes.out.mkdir(parents=True, exist_ok=True)
    with open(sizes.out / "attention_time.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, sizes.out / "attention_time.png")


if __name__ == "__main__":
    main()
