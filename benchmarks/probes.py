"""Seconds to train many probes, ours and an ordinary PyTorch loop: a markdown table out.

Both sides train the same probes from the same start on the same rows, on one core, with the
standardising and the evaluation on the clock. They take turns in one process.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from head_metrics import restart_on_one_core

SETTINGS, CLASSES, TRAINED, CHECKED, RATE = 49, 40, 2048, 256, 1e-3
REPEATS = 3
AGREEMENT = 1e-3
COLUMNS = ("case", "ours, one by one", "ours, batched", "PyTorch", "ratio", "fused Adam", "goal")


class Case(NamedTuple):
    """One row of the table: rows a step, and a hidden layer as wide as the features."""

    width: int
    batch: int
    steps: int
    goal: float


CASES = (Case(256, 64, 50, 2.3), Case(768, 256, 20, 1.2))


class Data(NamedTuple):
    """Features (M, N, D) of all settings, labels (N,) that they know something about."""

    features: np.ndarray
    labels: np.ndarray


def make_data(case: Case) -> Data:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, TRAINED + CHECKED)
    centres = rng.normal(size=(CLASSES, case.width))
    features = np.empty((SETTINGS, len(labels), case.width), np.float32)
    for each in features:
        each[:] = centres[labels] + 3 * rng.normal(size=each.shape)
    return Data(features, labels.astype(np.int32))


class Sides(NamedTuple):
    """What is timed; each answers with the validation loss of every setting (M,)."""

    one_by_one: Callable[[], np.ndarray]
    batched: Callable[[], np.ndarray]
    torch: Callable[[], np.ndarray]
    fused: Callable[[], np.ndarray]


def make_sides(case: Case, data: Data) -> Sides:
    """Ours through `train_probes`, PyTorch's with the start and the rows that ours draws."""
    import jax

    from sat_jax.analysis import probe

    budget = probe.Budget(
        hidden=case.width,
        steps=case.steps,
        batch=case.batch,
        rate=RATE,
        every=case.steps,
        patience=1,
        checked=CHECKED,
        ridge=None,
    )
    rows = np.arange(TRAINED + CHECKED, dtype=np.int32)
    train, valid = (
        probe.Examples(jax.device_put(rows[part]), jax.device_put(data.labels[part, None]))
        for part in (slice(TRAINED), slice(TRAINED, None))
    )
    features, key = jax.device_put(data.features), jax.random.key(0)

    def ours(batched: bool) -> np.ndarray:
        found = probe.train_probes(
            features, train, valid, CLASSES, budget, key[None], batched=batched
        )
        return np.asarray(found.loss)[:, 0]

    start = probe.start_layers(jax.random.fold_in(key, 0), case.width, CLASSES, budget)
    drawn = probe.drawn_rows(key, 1, case.steps, case.batch, TRAINED)
    rates = [float(probe.learning_rate(step, budget)) for step in range(case.steps)]
    peer = torch_loop(data, jax.tree.map(np.asarray, start), np.array(drawn), rates)
    return Sides(
        lambda: ours(False), lambda: ours(True), lambda: peer(fused=False), lambda: peer(fused=True)
    )


def torch_loop(
    data: Data, start: tuple, drawn: np.ndarray, rates: list[float]
) -> Callable[..., np.ndarray]:
    """Setting after setting, step after step, as one would write it."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    features, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels).long()
    drawn = torch.from_numpy(drawn).long()

    def make_net() -> torch.nn.Sequential:
        first, second = (torch.nn.Linear(*layer.kernel.shape) for layer in start)
        with torch.no_grad():
            for linear, layer in zip((first, second), start, strict=True):
                linear.weight.copy_(torch.tensor(layer.kernel.T))
                linear.bias.copy_(torch.tensor(layer.bias))
        return torch.nn.Sequential(first, torch.nn.ReLU(), second)

    def run(fused: bool) -> np.ndarray:
        losses = []
        for setting in features:
            known = setting[:TRAINED]
            mean, deviation = known.mean(0), known.std(0, correction=0)
            known, checked = (known - mean) / deviation, (setting[TRAINED:] - mean) / deviation
            net = make_net()
            adam = torch.optim.Adam(net.parameters(), fused=fused)
            for rows, rate in zip(drawn, rates, strict=True):
                adam.param_groups[0]["lr"] = rate
                adam.zero_grad()
                functional.cross_entropy(net(known[rows]), labels[rows]).backward()
                adam.step()
            with torch.no_grad():
                losses.append(float(functional.cross_entropy(net(checked), labels[TRAINED:])))
        return np.array(losses)

    return run


def measure(case: Case) -> None:
    """Print the row of a case."""
    sides = make_sides(case, make_data(case))._asdict()
    losses = {name: run() for name, run in sides.items()}
    wanted = losses["torch"]
    worst = max(float(np.abs(found - wanted).max()) for found in losses.values())
    if not worst < AGREEMENT:
        raise SystemExit(f"{case}: the losses differ by {worst:.1e}, over {AGREEMENT:.0e}")
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(REPEATS):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(each) for name, each in seconds.items()}
    step = {name: taken * 1e6 / (SETTINGS * case.steps) for name, taken in median.items()}
    best = min(median["one_by_one"], median["batched"])
    cells = [f"D {case.width}, {case.batch} rows a step, {case.steps} steps"]
    cells += [f"{step[name]:.0f} us" for name in ("one_by_one", "batched", "torch")]
    cells += [f"{median[name] / best:.2f}x" for name in ("torch", "fused")]
    print("| " + " | ".join([*cells, f"{case.goal:.2f}x"]) + f" | (losses differ by {worst:.0e})")


def main() -> None:
    """Measure and print."""
    print(
        f"{SETTINGS} probes with a hidden layer of D, {CLASSES} classes; microseconds per probe "
        f"and step, medians of {REPEATS} turns on one core; ratio: PyTorch over our faster way.\n"
    )
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|", flush=True)
    for case in CASES:
        measure(case)


if __name__ == "__main__":
    restart_on_one_core()
    main()
