"""Per-utterance measures in; means, ranks, categories and their bootstrap intervals out.

Source: arXiv:2006.03265, section 4 (categories by rank); bootstrap over utterances is ours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.analysis.bootstrap import bootstrap_weights, drawn_means, interval
from sat_jax.analysis.head_mask import PRUNED, in_place, nothing_pruned

# Best rank wins; on a tie the larger gap to the median, then this order.
CATEGORY_OF = {"globalness": "global", "verticality": "vertical", "diagonality": "diagonal"}
RANKED = (*CATEGORY_OF, "weight")


class HeadSummary(NamedTuple):
    """What is known about every head of one model on one corpus; arrays are (L, H).

    Numbers of a head that is gone are NaN.
    """

    metrics: dict[str, np.ndarray]
    """Mean over utterances."""
    low: dict[str, np.ndarray]
    """2.5th percentile of the bootstrap means."""
    high: dict[str, np.ndarray]
    """97.5th percentile."""
    ranks: dict[str, np.ndarray]
    """1 is the highest value of the heads that are left; for globalness, verticality, diagonality
    and weight."""
    rank_low: dict[str, np.ndarray]
    rank_high: dict[str, np.ndarray]
    category: np.ndarray
    """global, vertical, diagonal, or gone."""
    category_share: np.ndarray
    """Share of bootstrap draws with the same category."""
    shares: dict[str, tuple[float, float, float]]
    """Share of the heads that are left in each category, with its 95 % interval."""


def ranks(values: jax.Array) -> jax.Array:
    """Rank of each of the last axis' values, 1 for the highest; equal values in order of index."""
    order = jnp.argsort(-values, axis=-1, stable=True)
    return jnp.argsort(order, axis=-1) + 1


def categories(values: jax.Array) -> jax.Array:
    """Index into `CATEGORY_OF` per head, (..., heads), from its three means (3, ..., heads).

    A head belongs to the metric in whose list its rank is best. A tie goes to the larger gap to
    that metric's median, relative to the median's size, then to the order of `CATEGORY_OF`.
    """
    rank = ranks(values)
    median = jnp.median(values, axis=-1, keepdims=True)
    gap = (values - median) / jnp.maximum(jnp.abs(median), jnp.finfo(jnp.float32).tiny)
    tied = rank == rank.min(0)
    return jnp.argmax(jnp.where(tied, gap, -jnp.inf), axis=0)


def summarise(
    per_utterance: dict[str, np.ndarray],
    draws: int = 1000,
    seed: int = 0,
    left: np.ndarray | None = None,
) -> HeadSummary:
    """Means over utterances with 95 % bootstrap intervals of `per_utterance`, name to (U, L, H).

    Each draw picks as many utterances as there are, with replacement, the same for every measure,
    rank and category. Heads that are not in `left` (L, H; all by default) are gone: their values
    are not looked at, the others are ranked among themselves.
    """
    names = list(per_utterance)
    utterances, *shape = per_utterance[names[0]].shape
    left = nothing_pruned(tuple(shape)) if left is None else left
    flat = jnp.stack([jnp.asarray(per_utterance[name][:, left], jnp.float32) for name in names])
    weights = bootstrap_weights(jax.random.key(seed), utterances, draws)
    drawn = jnp.stack([drawn_means(weights, measure) for measure in flat])
    means = flat.mean(1)

    def table(values: jax.Array) -> np.ndarray:
        return in_place(np.asarray(values), left)

    def bounds_of(values: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        low, high = interval(values)
        return table(low), table(high)

    bounds = {name: bounds_of(drawn[i]) for i, name in enumerate(names)}
    ranked = {name: names.index(name) for name in RANKED}
    rank_bounds = {name: bounds_of(ranks(drawn[i])) for name, i in ranked.items()}
    decisive = jnp.array([ranked[name] for name in CATEGORY_OF])
    category, drawn_category = categories(means[decisive]), categories(drawn[decisive])
    labels = np.full(left.shape, PRUNED, dtype="U8")
    labels[left] = np.array(list(CATEGORY_OF.values()))[np.asarray(category)]
    shares = {}
    for i, label in enumerate(CATEGORY_OF.values()):
        low, high = interval((drawn_category == i).mean(-1))
        shares[label] = (float((category == i).mean()), float(low), float(high))
    return HeadSummary(
        metrics={name: table(means[i]) for i, name in enumerate(names)},
        low={name: low for name, (low, _) in bounds.items()},
        high={name: high for name, (_, high) in bounds.items()},
        ranks={name: table(ranks(means[i])) for name, i in ranked.items()},
        rank_low={name: np.rint(low) for name, (low, _) in rank_bounds.items()},
        rank_high={name: np.rint(high) for name, (_, high) in rank_bounds.items()},
        category=labels,
        category_share=table((drawn_category == category).mean(0)),
        shares=shares,
    )
