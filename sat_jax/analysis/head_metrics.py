"""Attention maps in, one number per head out: what a head does, measured on one utterance.

Source: Yang, Liu, Lee 2020 (arXiv:2006.03265), eq. 1-3; weight: Hao et al. 2020 (arXiv:2004.11207);
mass within a radius: Shim et al., ICLR 2022 (CAD). A measure is of one map of one utterance; means
over utterances are the caller's. Entropies are in nats, distances in positions, all in float32.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

RADII = (1, 2, 5, 10, 25)


def entropy(p: jax.Array) -> jax.Array:
    """Entropy in nats over the last axis, with 0 log 0 = 0."""
    return -(p * jnp.log(jnp.where(p > 0, p, 1.0))).sum(-1)


def valid_rows(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Maps (..., T, S) in float32 with the rows of padded queries set to 0; valid (..., T)."""
    return jnp.where(valid[..., :, None], probs.astype(jnp.float32), 0.0)


def length(valid: jax.Array) -> jax.Array:
    """Valid positions (...) of valid (..., T), at least 1 so that it can divide."""
    return jnp.maximum(valid.sum(-1), 1).astype(jnp.float32)


def globalness(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean entropy of the rows (eq. 1): log T for a uniform map, 0 for one key per query.

    probs (..., T, S), valid (..., T), both of one utterance; padding is not counted.
    """
    return entropy(valid_rows(probs, valid)).sum(-1) / length(valid)


def verticality(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Negative entropy of the mean row (eq. 2): 0 for one key attended by all, at least -log T.

    probs (..., T, S), valid (..., T); padding is not counted.
    """
    mean_row = valid_rows(probs, valid).sum(-2) / length(valid)[..., None]
    return -entropy(mean_row)


def weight(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Largest attention probability of the map (Hao et al. 2020); padding is not counted."""
    return valid_rows(probs, valid).max((-2, -1))


def offset_profile(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Share of the attention at each offset k - q from -(T - 1) to T - 1: (..., 2T - 1), sums to 1.

    probs (..., T, T), valid (..., T); padding is not counted. Everything that is said about the
    distance between query and key is a weighted sum of it.
    """
    rows = valid_rows(probs, valid)
    t = rows.shape[-1]
    lead = rows.shape[:-2]
    # Element (q, k) of rows padded to width 2T lies at q * 2T + (T - 1) + k; reading the same
    # memory with width 2T + 1 puts it into column (T - 1) + k - q: diagonals become columns.
    padded = jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(t - 1, 1)]).reshape(*lead, 2 * t * t)
    skewed = jnp.pad(padded, [(0, 0)] * len(lead) + [(0, t)]).reshape(*lead, t, 2 * t + 1)
    return skewed.sum(-2)[..., : 2 * t - 1] / length(valid)[..., None]


def offsets(profile: jax.Array) -> jax.Array:
    """The offsets (2T - 1,) that the entries of an `offset_profile` stand for, float32."""
    t = (profile.shape[-1] + 1) // 2
    return jnp.arange(1 - t, t, dtype=jnp.float32)


def diagonality(profile: jax.Array, valid: jax.Array) -> jax.Array:
    """Negative mean distance |q - k| as a share of the utterance (eq. 3): 0 for the identity.

    profile (..., 2T - 1) of `offset_profile`, valid (..., T).
    """
    return -(profile * jnp.abs(offsets(profile))).sum(-1) / length(valid)


def mean_offset(profile: jax.Array) -> jax.Array:
    """Mean of k - q in positions: above 0 if a head looks ahead."""
    return (profile * offsets(profile)).sum(-1)


def offset_spread(profile: jax.Array) -> jax.Array:
    """Standard deviation of k - q in positions."""
    centred = offsets(profile) - mean_offset(profile)[..., None]
    return jnp.sqrt((profile * centred**2).sum(-1))


def mass_within(profile: jax.Array, radius: int) -> jax.Array:
    """Share of the attention with |q - k| <= radius."""
    return jnp.where(jnp.abs(offsets(profile)) <= radius, profile, 0.0).sum(-1)


def measure_map(probs: jax.Array, valid: jax.Array) -> dict[str, jax.Array]:
    """Every measure of maps (..., T, T) with valid (..., T); each value has shape (...)."""
    profile = offset_profile(probs, valid)
    measured = {name: measure(probs, valid) for name, measure in MEASURES.items()}
    measured["diagonality"] = diagonality(profile, valid)
    measured["mean_offset"] = mean_offset(profile)
    measured["offset_spread"] = offset_spread(profile)
    for radius in RADII:
        measured[f"mass_within_{radius}"] = mass_within(profile, radius)
    return measured


def measure_heads(probs: jax.Array, valid: jax.Array) -> dict[str, jax.Array]:
    """Every measure of every head, (B, H), of maps (B, H, T, T) with valid (B, T).

    One head at a time: on a CPU, a head's maps of a batch stay in cache through all the measures,
    which is several times faster than one pass over all maps per measure. The batch axis is left
    alone, so that it may be sharded.
    """
    measured = lax.map(lambda maps: measure_map(maps, valid), probs.swapaxes(0, 1))
    return {name: values.T for name, values in measured.items()}


MEASURES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "globalness": globalness,
    "verticality": verticality,
    "weight": weight,
}
