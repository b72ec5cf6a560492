"""Rows in parts in, the centres of their clusters out: k-means that never holds all rows at once.

Lloyd's algorithm in its exact form: each pass sums the rows next to every centre over all parts, on
the devices, and moves the centres once. Where rows are split over devices, sums are theirs
together, so that the number of devices changes nothing but rounding.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.mesh import paced

Rows = tuple[jax.Array, jax.Array]
"""Rows (..., D) and which of them count (...) bool."""


class Clusters(NamedTuple):
    """What k-means has found."""

    centres: np.ndarray
    """(V, D) float32."""
    sizes: np.ndarray
    """(V,) rows next to each centre in the last pass."""
    spread: np.ndarray
    """(passes,) mean squared distance of rows to the centre next to them, before each move."""


class Sums(NamedTuple):
    """Of the rows next to each centre."""

    total: jax.Array
    """(V, D)."""
    sizes: jax.Array
    """(V,)."""
    distance: jax.Array
    """Sum of squared distances."""


def k_means(
    parts: Callable[[], Iterable[Rows]],
    sample: np.ndarray,
    count: int,
    passes: int,
    seed: int,
    moved: Callable[[int, float], None] = lambda number, spread: None,
) -> Clusters:
    """`count` clusters of all rows of `parts()`, which is called once for each pass.

    It begins with rows of `sample` (N, D) that lie far from each other (k-means++, Arthur and
    Vassilvitskii 2007). A centre without any rows stays where it is. `moved` hears of each pass.
    """
    centres = jnp.asarray(far_apart(sample, count, seed))
    sizes, spread = np.zeros(count), []
    for number in range(passes):
        sums = None
        for rows, counts in parts():
            own = summed(rows, counts, centres)
            sums = paced(own if sums is None else jax.tree.map(jnp.add, sums, own))
        sizes = np.asarray(sums.sizes)
        spread.append(float(sums.distance) / max(float(sizes.sum()), 1.0))
        centres = jnp.where(
            sums.sizes[:, None] > 0, sums.total / jnp.maximum(sums.sizes, 1)[:, None], centres
        )
        moved(number + 1, spread[-1])
    return Clusters(np.asarray(centres), sizes, np.array(spread))


def remembered(parts: Callable[[], Iterable[Rows]], most: int) -> Callable[[], Iterator[Rows]]:
    """The same parts; made once, and kept on the devices, where all take at most so many bytes."""
    kept: list[Rows] = []
    whole = False

    def again() -> Iterator[Rows]:
        nonlocal whole
        if whole:
            yield from kept
            return
        kept.clear()
        total = 0
        for part in parts():
            total += sum(array.nbytes for array in part)
            if total <= most:
                kept.append(part)
            else:
                kept.clear()
            yield part
        whole = total <= most

    return again


@jax.jit
def summed(rows: jax.Array, counts: jax.Array, centres: jax.Array) -> Sums:
    """Sums over rows (..., D), where they count (...), by the centre (V, D) next to each."""
    rows = rows.reshape(-1, rows.shape[-1]).astype(jnp.float32)
    weight = counts.reshape(-1).astype(jnp.float32)
    near = nearest(rows, centres)
    belongs = jax.nn.one_hot(near, len(centres)) * weight[:, None]
    distance = ((rows - centres[near]) ** 2).sum(-1)
    total = jnp.matmul(belongs.T, rows, precision=jax.lax.Precision.HIGHEST)
    return Sums(total, belongs.sum(0), (weight * distance).sum())


def nearest(rows: jax.Array, centres: jax.Array) -> jax.Array:
    """Number of the centre (V, D) next to each row (..., D), the first of equally near ones."""
    products = jnp.matmul(rows, centres.T, precision=jax.lax.Precision.HIGHEST)
    return ((centres**2).sum(-1) - 2 * products).argmin(-1)


def far_apart(sample: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` rows of `sample` (N, D), each drawn by its squared distance to those before it."""
    rng = np.random.default_rng(seed)
    sample = np.asarray(sample, np.float64)
    picked = [int(rng.integers(len(sample)))]
    distance = ((sample - sample[picked[0]]) ** 2).sum(-1)
    while len(picked) < count:
        # Where fewer rows differ than centres are asked for, some are drawn twice.
        share = distance / distance.sum() if distance.any() else None
        picked.append(int(rng.choice(len(sample), p=share)))
        distance = np.minimum(distance, ((sample - sample[picked[-1]]) ** 2).sum(-1))
    return sample[picked].astype(np.float32)
