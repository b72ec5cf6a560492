"""Activations of several layers in, chunk by chunk; their means and covariances out.

What similarity measures need of N frames is the number, sums and products of their columns, so one
pass over the data is enough and memory does not grow with N. Columns are centred by the mean of the
first chunk, so that products stay small; what is left of the mean is corrected at the end. A shard
is a part of the utterances whose sums are kept apart, for intervals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Pair = tuple[int, int]


class Moments(NamedTuple):
    """Sums over the frames of S shards, of layers 0, 1, ...; float64."""

    count: np.ndarray
    """(S,) frames."""
    shift: tuple[np.ndarray, ...]
    """(D,) of each layer: what was subtracted from its columns."""
    sums: tuple[np.ndarray, ...]
    """(S, D) of each layer: sums of its shifted columns."""
    products: dict[Pair, np.ndarray]
    """(S, D, D2) of pairs of layers, the lower number first: products of shifted columns."""


class Covariances(NamedTuple):
    """Centred products of columns, divided by the number of frames."""

    own: tuple[np.ndarray, ...]
    """(D, D) of each layer with itself."""
    cross: dict[Pair, np.ndarray]
    """(D, D2) of pairs of different layers, the lower number first."""


def begin(first: Sequence[np.ndarray], pairs: Sequence[Pair], shards: int) -> Moments:
    """Nothing yet, of layers whose first chunk is `first`, each (N, D)."""
    width = [chunk.shape[1] for chunk in first]
    return Moments(
        np.zeros(shards),
        tuple(chunk.astype(np.float64).mean(0).astype(np.float32) for chunk in first),
        tuple(np.zeros((shards, d)) for d in width),
        {(i, j): np.zeros((shards, width[i], width[j])) for i, j in pairs},
    )


def add(moments: Moments, chunk: Sequence[np.ndarray], shard: int) -> Moments:
    """The same arrays, to which a chunk (N, D) of each layer was added, of one shard.

    Products of a layer with itself are taken in float64, those of different layers in float32 and
    summed in float64.
    """
    centred = [x - shift for x, shift in zip(chunk, moments.shift, strict=True)]
    moments.count[shard] += len(centred[0])
    for total, x in zip(moments.sums, centred, strict=True):
        total[shard] += x.sum(0, dtype=np.float64)
    for (i, j), total in moments.products.items():
        total[shard] += self_product(centred[i]) if i == j else product(centred[i], centred[j])
    return moments


def self_product(x: np.ndarray) -> np.ndarray:
    """`x^T x` (D, D) of x (N, D) in float64."""
    x = x.astype(np.float64)
    return x.T @ x


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`x^T y` (D, D2) of x (N, D) and y (N, D2), float32; on an accelerator where there is one."""
    if jax.default_backend() == "cpu":
        return x.T @ y
    return np.asarray(jnp.einsum("nd,ne->de", x, y, precision="highest"))


def merged(parts: Sequence[Moments]) -> Moments:
    """Moments of the same frames that were taken of different pairs in several passes."""
    products = {pair: total for part in parts for pair, total in part.products.items()}
    return parts[0]._replace(products=products)


def covariances(moments: Moments, weights: np.ndarray | None = None) -> Covariances:
    """Covariances of all frames, each shard counted as often as `weights` (S,) say; once if None.

    Raises `ValueError` where no frame is left.
    """
    weights = np.ones(len(moments.count)) if weights is None else np.asarray(weights, np.float64)
    n = float(weights @ moments.count)
    if n <= 0:
        raise ValueError("no frame to take covariances of")
    mean = [weights @ total / n for total in moments.sums]
    found = {
        (i, j): np.einsum("s,sde->de", weights, total) / n - np.outer(mean[i], mean[j])
        for (i, j), total in moments.products.items()
    }
    own = tuple(found[i, i] for i in range(len(mean)))
    return Covariances(own, {pair: c for pair, c in found.items() if pair[0] != pair[1]})


def pairs_of(layers: int) -> list[Pair]:
    """All pairs of different layers, the lower number first."""
    return [(i, j) for i in range(layers) for j in range(i + 1, layers)]


def passes_over(
    width: Sequence[int], pairs: Sequence[Pair], shards: int, budget: int
) -> list[list[Pair]]:
    """Pairs of different layers, and of every layer with itself, dealt to as few passes over the
    data as fit `budget` bytes of sums.

    Pairs of a layer with itself are in the first pass; each pass holds at least one pair.
    """
    pairs = [(i, i) for i in range(len(width))] + list(pairs)
    groups: list[list[Pair]] = [[]]
    held = 0
    for i, j in pairs:
        size = 8 * shards * width[i] * width[j]
        if groups[-1] and held + size > budget and (i != j):
            groups.append([])
            held = 0
        groups[-1].append((i, j))
        held += size
    return groups
