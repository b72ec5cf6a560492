"""Seconds to measure attention maps, ours and a numpy loop over heads: a table on the terminal out.

Both sides hold the maps in memory and have one core. They take turns in one process.
"""

import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from sat_jax.launch import ALLOCATOR, DEVICE_COUNT

HEADS, UTTERANCES, BUCKETS, REPEATS = 144, 16, 4, 9
SHORTEST, LONGEST = 100, 200
GOAL = 3.0
AGREEMENT = 1e-4
SETTLED = "SAT_JAX_BENCH_SETTLED"


def restart_on_one_core() -> None:
    """This process again on one core, with one thread and the allocator settings of train.py."""
    if SETTLED in os.environ:
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    backend = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{DEVICE_COUNT}=1", SETTLED: "1"}
    environment = {**os.environ, **ALLOCATOR, **threads, **backend}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def make_maps(rng: np.random.Generator, length: int) -> np.ndarray:
    """Softmax maps (H, T, T) float32, from nearly uniform to nearly one-hot."""
    logits = rng.normal(size=(HEADS, length, length)).astype(np.float32)
    logits *= np.linspace(0.1, 6, HEADS, dtype=np.float32)[:, None, None]
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def pad_into_buckets(maps: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of equally many utterances, sorted by length: maps (B, H, T, T) and valid (B, T)."""
    size = len(maps) // BUCKETS
    batches = []
    for first in range(0, len(maps), size):
        group = maps[first : first + size]
        longest = max(len(m[0]) for m in group)
        probs = np.zeros((size, HEADS, longest, longest), np.float32)
        valid = np.zeros((size, longest), bool)
        for row, m in enumerate(group):
            t = m.shape[-1]
            probs[row, :, :t, :t] = m
            valid[row, :t] = True
        batches.append((probs, valid))
    return batches


def entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)


def measure_by_numpy(
    maps: list[np.ndarray], radii: tuple[int, ...], reach: int
) -> dict[str, np.ndarray]:
    """Every measure by its definition, (utterances, H, ...): map after map, without padding."""
    found: dict[str, list[list[np.ndarray]]] = {}
    for utterance in maps:
        t = utterance.shape[-1]
        offset = (np.arange(t) - np.arange(t)[:, None]).astype(np.float32)
        distance = np.abs(offset)
        near = {radius: distance <= radius for radius in radii}
        diagonal, apart = (offset + t - 1).astype(int).ravel(), distance.astype(int).ravel()
        upto = np.minimum(np.arange(reach + 1), t - 1)
        rows: dict[str, list[np.ndarray]] = {}
        for p in utterance:
            mean = (p * offset).sum() / t
            values = {
                "globalness": entropy(p).mean(),
                "verticality": -entropy(p.mean(0)),
                "diagonality": -(p * distance).sum() / t**2,
                "weight": p.max(),
                "mean_offset": mean,
                "offset_spread": np.sqrt((p * (offset - mean) ** 2).sum() / t),
                "modal_offset": np.bincount(diagonal, p.ravel()).argmax() - (t - 1),
                "cumulative_diagonality": np.bincount(apart, p.ravel()).cumsum()[upto] / t,
                **{f"mass_within_{r}": p[inside].sum() / t for r, inside in near.items()},
            }
            for name, value in values.items():
                rows.setdefault(name, []).append(np.asarray(value))
        for name, row in rows.items():
            found.setdefault(name, []).append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def main() -> None:
    restart_on_one_core()
    import jax

    from sat_jax.analysis.head_metrics import RADII, REACH, measure_heads

    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(SHORTEST, LONGEST + 1, UTTERANCES))
    maps = [make_maps(rng, int(t)) for t in lengths]
    batches = [jax.device_put(batch) for batch in pad_into_buckets(maps)]
    compiled = jax.jit(measure_heads)

    def ours() -> dict[str, np.ndarray]:
        parts = jax.block_until_ready([compiled(*batch) for batch in batches])
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def loop() -> dict[str, np.ndarray]:
        return measure_by_numpy(maps, RADII, REACH)

    sides = {"ours, jitted": ours, "numpy, map by map": loop}
    results = {name: side() for name, side in sides.items()}
    own, wanted = results.values()
    if own.keys() != wanted.keys():
        raise SystemExit(f"the sides measure different things: {own.keys() ^ wanted.keys()}")
    worst = {n: float(np.abs(own[n] - wanted[n]).max() / np.abs(wanted[n]).max()) for n in own}
    name = max(worst, key=worst.get)
    if not worst[name] < AGREEMENT:
        raise SystemExit(f"{name} differs by {worst[name]:.1e} of its range, over {AGREEMENT:.0e}")

    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(REPEATS):
        for side, run in sides.items():
            began = time.perf_counter()
            run()
            seconds[side].append(time.perf_counter() - began)
    entries = sum(m.size for m in maps) / 1e6
    print(
        f"{HEADS} heads x {UTTERANCES} utterances of {SHORTEST}..{LONGEST} positions, "
        f"{entries:.0f} million entries; ours pads them into {BUCKETS} batches.\n"
        f"{len(own)} measures, one core each, {REPEATS} repetitions in turns; "
        f"largest difference {worst[name]:.0e} of the range ({name}).\n"
    )
    print(f"| {'side':18} | {'median':8} | {'best':8} |\n| {'-' * 18} | {'-' * 8} | {'-' * 8} |")
    for side, values in seconds.items():
        median, best = statistics.median(values) * 1e3, min(values) * 1e3
        print(f"| {side:18} | {median:5.0f} ms | {best:5.0f} ms |")
    mine, theirs = seconds.values()
    ratio = statistics.median(theirs) / statistics.median(mine)
    print(f"\nratio {ratio:.2f}x (best to best {min(theirs) / min(mine):.2f}x), goal {GOAL:.2f}x")


if __name__ == "__main__":
    main()
