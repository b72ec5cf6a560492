"""Predicted classes in, accuracy and macro-F1 with intervals over utterances and seeds out.

Everything is a function of counts per utterance and class, so that no draw sees a prediction again.
Counts carry the axes (..., U, P, 3), the last one `COUNTED`.

A value's interval: `drawn` with `bootstrap_weights` of utterances, `seed_means` with those of
seeds, `bootstrap.interval`. That of a whole curve: the mean over settings between the last two.
"""

import jax
import jax.numpy as jnp
from jax import lax

COUNTED = ("hits", "predictions", "references")


def confusion(
    predicted: jax.Array, labels: jax.Array, utterance: jax.Array, utterances: int, classes: int
) -> jax.Array:
    """Frames of each utterance and class that are hits, predictions, references: (U, P, 3) int32.

    predicted (n,) is the class of a row, labels (n, R) those of its frames, utterance (n,) where it
    is from, in [0, utterances). Frames of label -1 count nowhere, not as predictions either.
    """
    labelled = labels >= 0
    right = labelled & (labels == predicted[:, None])

    def summed(where: jax.Array, classes_of: jax.Array, amount: jax.Array) -> jax.Array:
        empty = jnp.zeros((utterances, classes), jnp.int32)
        return empty.at[where, classes_of].add(amount.astype(jnp.int32))

    hits = summed(utterance, predicted, right.sum(1))
    predictions = summed(utterance, predicted, labelled.sum(1))
    # Where there is no label, nothing is added to class 0.
    references = summed(utterance[:, None], jnp.maximum(labels, 0), labelled)
    return jnp.stack([hits, predictions, references], axis=-1)


def accuracy(counts: jax.Array) -> jax.Array:
    """Share of the frames that are hits, from counts (..., P, 3); NaN without references."""
    return counts[..., 0].sum(-1) / counts[..., 2].sum(-1)


def macro_f1(counts: jax.Array) -> jax.Array:
    """Mean over classes of F1 from counts (..., P, 3): every class weighs the same.

    Classes without a reference in the tested utterances are left out, though frames predicted as
    one of them are still missing from their own class. NaN where no class has a reference.
    """
    hits, predictions, references = (counts[..., i] for i in range(3))
    present = references > 0
    f1 = 2 * hits / jnp.where(present, predictions + references, 1)
    return jnp.where(present, f1, 0).sum(-1) / present.sum(-1)


def drawn(weights: jax.Array, counts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`accuracy` and `macro_f1`, each (G, ...), of resampled utterances.

    weights (G, U) come from `bootstrap_weights`, counts are (..., U, P, 3). A class that a draw
    leaves without a reference is left out of its macro-F1. One of the leading elements at a time:
    memory stays at (G, P, 3).
    """

    def scores(each: jax.Array) -> tuple[jax.Array, jax.Array]:
        summed = jnp.einsum("gu,upc->gpc", weights, each, precision="highest")
        return accuracy(summed), macro_f1(summed)

    front = counts.shape[:-3]
    flat = counts.reshape(-1, *counts.shape[-3:]).astype(jnp.float32)
    found = lax.map(scores, flat)
    return tuple(jnp.moveaxis(part, -1, 0).reshape(-1, *front) for part in found)


def seed_means(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Means over resampled seeds of values (G, ..., S) that were drawn already: (G, ...).

    weights (G, S) come from `bootstrap_weights`, drawn apart from those of the utterances. So every
    draw picks both, the same for all settings. Resampling S seeds sees (S - 1) / S of the variance
    between seeds: of one seed, nothing.
    """
    return jnp.einsum("g...s,gs->g...", values, weights, precision="highest")
