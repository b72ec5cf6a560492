"""Per-utterance measures in; means, ranks, categories and their bootstrap intervals out.

Source: arXiv:2006.03265, section 4 (categories by rank); bootstrap over utterances is ours.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.analysis.bootstrap import bootstrap_weights, drawn_means, interval
from sat_jax.analysis.head_mask import flat_heads, in_place
from sat_jax.records.check import PRUNED
from sat_jax.records.heads import CATEGORY_OF, RANKED, HeadTable


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
    head_mask: np.ndarray | None = None,
    name: str = "model",
) -> HeadTable:
    """Means over utterances with 95 % bootstrap intervals of `per_utterance`, name to (U, L, H).

    Each draw picks as many utterances as there are, with replacement, the same for every measure,
    rank and category. Of a model with pruned heads give values (U, N) of the heads that are not
    pruned, and `head_mask` (L, H), where these are: they are ranked among themselves. `name` is
    what stands over figures.
    """
    names = list(per_utterance)
    flat = [flat_heads(np.asarray(per_utterance[each]), head_mask) for each in names]
    head_mask = flat[0][1]
    flat = jnp.stack([jnp.asarray(values, jnp.float32) for values, _ in flat])
    utterances = flat.shape[1]
    weights = bootstrap_weights(jax.random.key(seed), utterances, draws)
    drawn = jnp.stack([drawn_means(weights, measure) for measure in flat])
    means = flat.mean(1)

    def table(values: jax.Array) -> np.ndarray:
        return in_place(np.asarray(values), head_mask)

    def bounds_of(values: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        low, high = interval(values)
        return table(low), table(high)

    bounds = {name: bounds_of(drawn[i]) for i, name in enumerate(names)}
    ranked = {name: names.index(name) for name in RANKED}
    rank_bounds = {name: bounds_of(ranks(drawn[i])) for name, i in ranked.items()}
    decisive = jnp.array([ranked[name] for name in CATEGORY_OF])
    category, drawn_category = categories(means[decisive]), categories(drawn[decisive])
    labels = np.full(head_mask.shape, PRUNED, dtype="U8")
    labels[head_mask] = np.array(list(CATEGORY_OF.values()))[np.asarray(category)]
    shares = {}
    for i, label in enumerate(CATEGORY_OF.values()):
        low, high = interval((drawn_category == i).mean(-1))
        shares[label] = (float((category == i).mean()), float(low), float(high))
    return HeadTable(
        name=name,
        metrics={name: table(means[i]) for i, name in enumerate(names)},
        low={name: low for name, (low, _) in bounds.items()},
        high={name: high for name, (_, high) in bounds.items()},
        ranks={name: table(ranks(means[i])) for name, i in ranked.items()},
        rank_low={name: np.rint(low) for name, (low, _) in rank_bounds.items()},
        rank_high={name: np.rint(high) for name, (_, high) in rank_bounds.items()},
        category=labels,
        category_share=table((drawn_category == category).mean(0)),
        utterances=utterances,
        shares=shares,
    )
