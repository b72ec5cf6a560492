"""Seconds and memory of all similarity measures between the layers of two models, and a peer's.

The peer is the public method of arXiv:2005.01172 restated in plain PyTorch: all activations in
memory, a singular value decomposition of each layer, products over all frames for each pair. Ours
streams chunks. One core on both sides, float32 activations. Needs `make parity`'s packages.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CHUNK = 1000
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"


def activations(layers: int, frames: int, width: int, seed: int):
    """Layers (N, D) float32 of a random residual network, each normalised."""
    import numpy as np

    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(0).normal(size=(frames, width)).astype(np.float32)
    x, found = shared @ rng.normal(size=(width, width)).astype(np.float32), []
    for _ in range(layers):
        step = rng.normal(size=(width, width)).astype(np.float32) / width**0.5
        x = x + np.tanh(x @ step)
        x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
        found.append(x.astype(np.float32))
    return found


def peer(layers):
    """All measures of all pairs, as the published code computes them."""
    import torch

    torch.set_num_threads(1)
    tensors = [torch.tensor(x) for x in layers]
    found = {}
    centred = [x - x.mean(0) for x in tensors]
    scaled = [x / x.std(0, unbiased=False) for x in centred]
    decomposed = [torch.linalg.svd(x, full_matrices=False) for x in scaled]
    kept = []
    for _, values, _ in decomposed:
        share = (values**2).cumsum(0) / (values**2).sum()
        kept.append(int((share < 0.99).sum()) + 1)
    for i in range(len(tensors)):
        for j in range(i + 1, len(tensors)):
            correlation = (scaled[i].T @ scaled[j]).abs() / len(scaled[i])
            u, rho, v = torch.linalg.svd(decomposed[i].U.T @ decomposed[j].U)
            small = decomposed[i].U[:, : kept[i]].T @ decomposed[j].U[:, : kept[j]]
            cross = (centred[i].T @ centred[j]).norm() ** 2
            own = (centred[i].T @ centred[i]).norm() * (centred[j].T @ centred[j]).norm()
            both = {
                "svcca": float(torch.linalg.svdvals(small).mean()),
                "cka": float(cross / own),
            }
            best = correlation.max(1).values, correlation.max(0).values
            for side, (of, by, turn) in enumerate(((i, j, u), (j, i, v.T))):
                projected = decomposed[by].U.T @ scaled[of]
                r = projected.norm(dim=0) / scaled[of].norm(dim=0)
                accounts = ((decomposed[of].U @ turn).T @ tensors[of]).abs().sum(1)
                found[of, by] = both | {
                    "maxcorr": float(best[side].mean()),
                    "linreg": float(r.mean()),
                    "pwcca": float((accounts * rho).sum() / accounts.sum()),
                }
    return found


def ours(layers):
    """The same from one pass over chunks."""
    from sat_jax.analysis import moments
    from sat_jax.study.similarity.layers import compared

    pairs = [(i, j) for i in range(len(layers)) for j in range(i, len(layers))]
    sums = None
    for first in range(0, len(layers[0]), CHUNK):
        chunk = [x[first : first + CHUNK] for x in layers]
        sums = moments.begin(chunk, pairs, 1) if sums is None else sums
        moments.add(sums, chunk, 0)
    return compared(moments.covariances(sums), faithful=False)


def held() -> float:
    """MiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=12, help="of each of two models")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="ours alone, from generated chunks")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if options.memory:
        memory(options)
        return
    layers = [
        layer
        for seed in (1, 2)
        for layer in activations(options.layers, options.frames, options.width, seed)
    ]
    ratios = []
    ours([x[:2000, :16] for x in layers[:2]])  # Imports are not what is measured.
    peer([x[:2000, :16] for x in layers[:2]])
    for _ in range(options.repeats):
        began = time.perf_counter()
        mine = ours(layers)
        first = time.perf_counter() - began
        began = time.perf_counter()
        theirs = peer(layers)
        second = time.perf_counter() - began
        ratios.append(second / first)
        print(f"width {options.width}, {options.layers} + {options.layers} layers, "
              f"{options.frames} frames: ours {first:.1f} s, peer {second:.1f} s, "
              f"{second / first:.1f} times", flush=True)  # fmt: skip
    names = next(iter(theirs.values()))
    apart = {
        name: max(abs(mine[name][pair] - each[name]) for pair, each in theirs.items())
        for name in names
    }
    print("largest |difference|: " + ", ".join(f"{name} {v:.1e}" for name, v in apart.items()))


def memory(options: argparse.Namespace) -> None:
    """What ours holds at most, where chunks are made as they are needed."""
    import numpy as np

    from sat_jax.analysis import moments

    count = 2 * options.layers
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    rng, sums, before = np.random.default_rng(0), None, held()
    for _ in range(options.frames // CHUNK):
        chunk = list(rng.normal(size=(count, CHUNK, options.width)).astype(np.float32))
        sums = moments.begin(chunk, pairs, 1) if sums is None else sums
        moments.add(sums, chunk, 0)
    print(f"{options.frames} frames: {held() - before:.0f} MiB more than before")


if __name__ == "__main__":
    main()
