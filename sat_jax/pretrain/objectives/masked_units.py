"""Clusters of positions in, how well those of masked positions are named out: HuBERT.

arXiv:2106.07447, section II. The clusters are made by `pretrain.units` before training.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from sat_jax.config import Config
from sat_jax.pretrain.masking import overlapping_spans
from sat_jax.pretrain.objectives.contrastive import affine, dense
from sat_jax.pretrain.objectives.objective import (
    OWN,
    Examples,
    Objective,
    Words,
    cosines,
    mean_over,
)


class UnitLosses(NamedTuple):
    """Losses of one batch."""

    loss: jax.Array
    """What is minimised: nats per masked position, those of others by their weight, penalty."""
    masked: jax.Array
    """Nats per masked position."""
    frequencies: jax.Array
    """The same for naming every position by how frequent units are in this batch."""
    accuracy: jax.Array
    """Share of masked positions that are named right."""
    unmasked_accuracy: jax.Array
    """The same of positions that the model hears; it may fall while the other one rises."""
    predicted_units: jax.Array
    """Clusters that are predicted for masked positions: the exponential of their entropy."""
    penalty: jax.Array
    """Mean square of what the convolutions give."""
    count: jax.Array
    """Masked positions."""

    @property
    def judged(self) -> jax.Array:
        """The nats."""
        return self.masked

    @property
    def baseline(self) -> jax.Array:
        """Naming by frequency."""
        return self.frequencies


def own_parameters(key: jax.Array, model: nn.Module, config: Config) -> Any:
    """The projection to the width at which positions and units are compared, and the units."""
    objective = config.objective
    keys = jax.random.split(key)
    shape = objective.units, objective.unit_width
    return {
        "contexts": dense(keys[0], config.model.width, objective.unit_width),
        # The published code draws from 0 to 1: then all point nearly the same way, and the first
        # hundreds of steps only part them.
        "units": jax.random.normal(keys[1], shape),
    }


def masked_units(
    model: nn.Module,
    config: Config,
    params: Any,
    examples: Examples,
    key: jax.Array,
    step: jax.Array | None,
) -> UnitLosses:
    """Cross-entropy of the units `examples.targets` (B, T), -1 for none, of masked positions.

    Masks and dropout follow from `key`; without a `step` there is no dropout. Padding is never
    masked and changes nothing.
    """
    objective, own = config.objective, params[OWN]
    mask_key, dropout_key = jax.random.split(key)
    inputs, valid, units = examples
    variables = {"params": params}
    masked = overlapping_spans(mask_key, valid, objective.mask_share, objective.mask_length)
    features, energy = model.apply(
        variables, inputs, objective.stem_gradient, method="local_features"
    )
    hidden = model.apply(
        variables,
        *(features, valid),
        key=None if step is None else dropout_key,
        masked=masked,
        method="encode_features",
    )
    scores = cosines(affine(own["contexts"], hidden), own["units"]) / objective.temperature
    known = valid & (units >= 0)
    wanted = jax.nn.one_hot(units, objective.units)
    nats = jax.nn.logsumexp(scores, -1) - (scores * wanted).sum(-1)
    named = scores.argmax(-1)
    right = (named == units).astype(jnp.float32)
    chosen = known & masked
    penalty = mean_over(energy, valid)
    loss = mean_over(nats, chosen)
    heard = objective.unmasked_weight * mean_over(nats, known & ~masked)
    return UnitLosses(
        loss + heard + objective.penalty_weight * penalty,
        loss,
        entropy(wanted, chosen),
        mean_over(right, chosen),
        mean_over(right, known & ~masked),
        jnp.exp(entropy(jax.nn.one_hot(named, objective.units), chosen)),
        penalty,
        chosen.sum(),
    )


def entropy(one_hot: jax.Array, chosen: jax.Array) -> jax.Array:
    """Nats of the frequencies of `one_hot` (B, T, V) over chosen (B, T) positions."""
    total = jnp.maximum(chosen.sum(), 1)
    share = jnp.where(chosen[:, :, None], one_hot, 0.0).sum((0, 1)) / total
    return -(share * jnp.log(jnp.maximum(share, 1e-12))).sum()


def alarm(numbers: dict[str, float], config: Config) -> str:
    """That every position gets the same name."""
    if numbers["predicted_units"] >= 1.5 or numbers["masked"] < numbers["frequencies"]:
        return ""
    return (
        "one cluster is predicted for all masked positions, no better than by frequency: nothing "
        "is learned. Begin anew in another --run-dir with a lower optim.peak-lr or a longer "
        "optim.warmup-share"
    )


MASKED_UNITS = Objective(
    masked_units,
    Words(
        "frequencies",
        "predicting clusters by their frequencies",
        (
            ("frequencies", "predicting clusters by their frequencies"),
            ("accuracy", "accuracy"),
            ("unmasked_accuracy", "accuracy where nothing is masked"),
        ),
        ("accuracy",),
    ),
    own=own_parameters,
    alarm=alarm,
)
