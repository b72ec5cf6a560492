"""Attention maps in, one number per head out: what a head does, measured on one utterance.

Source: Yang, Liu, Lee 2020 (arXiv:2006.03265), eq. 1-3; weight: Hao et al. 2020 (arXiv:2004.11207);
mass within a radius: Shim et al., ICLR 2022 (CAD). A measure is of one map of one utterance; means
over utterances are the caller's. Entropies are in nats, distances in positions, all in float32.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

RADII = (1, 2, 5, 10, 25)
CAD = "cumulative_diagonality"
REACH = 100
"""Positions up to which the curve CAD is measured."""


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


def diagonality(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Negative mean distance |q - k| as a share of the utterance (eq. 3): 0 for the identity.

    probs (..., T, T), valid (..., T); padding is not counted.
    """
    profile = offset_profile(probs, valid)
    return -(profile * jnp.abs(offsets(profile))).sum(-1) / length(valid)


def mean_offset(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of k - q in positions, above 0 if a head looks ahead; padding is not counted."""
    profile = offset_profile(probs, valid)
    return (profile * offsets(profile)).sum(-1)


def offset_spread(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Standard deviation of k - q in positions; padding is not counted."""
    profile = offset_profile(probs, valid)
    centred = offsets(profile) - mean_offset(probs, valid)[..., None]
    return jnp.sqrt((profile * centred**2).sum(-1))


def modal_offset(probs: jax.Array, valid: jax.Array) -> jax.Array:
    """The offset k - q in positions with the largest share of the attention; padding as above."""
    profile = offset_profile(probs, valid)
    return offsets(profile)[jnp.argmax(profile, axis=-1)]


def cumulative_diagonality(probs: jax.Array, valid: jax.Array, reach: int) -> jax.Array:
    """Share of the attention with |q - k| <= r for r = 0 .. reach positions: (..., reach + 1).

    The curve CAD(r) of Shim et al., ICLR 2022, over r in positions; 1 beyond the utterance.
    """
    profile = offset_profile(probs, valid)
    t = (profile.shape[-1] + 1) // 2
    after, before = profile[..., t - 1 :], profile[..., t - 1 :: -1]
    folded = (after + before).at[..., 0].set(after[..., 0])
    within = folded.cumsum(-1)
    return within[..., jnp.minimum(jnp.arange(reach + 1), t - 1)]


def mass_within(radius: int, probs: jax.Array, valid: jax.Array) -> jax.Array:
    """Share of the attention with |q - k| <= radius positions; padding is not counted."""
    profile = offset_profile(probs, valid)
    return jnp.where(jnp.abs(offsets(profile)) <= radius, profile, 0.0).sum(-1)


def measure_heads(probs: jax.Array, valid: jax.Array) -> dict[str, jax.Array]:
    """Every measure of every head, (B, H), and the curve CAD (B, H, REACH + 1).

    probs (B, H, T, T), valid (B, T).

    To be called under jit, which computes what the measures share once. One head at a time: on a
    CPU, a head's maps of a batch stay in cache through all the measures, which is
    faster than a pass over all maps per measure. The batch axis is left alone, so that it may be
    sharded.
    """

    def measure(maps: jax.Array) -> dict[str, jax.Array]:
        values = {name: measure(maps, valid) for name, measure in MEASURES.items()}
        return values | {CAD: cumulative_diagonality(maps, valid, REACH)}

    measured = lax.map(measure, probs.swapaxes(0, 1))
    return {name: values.swapaxes(0, 1) for name, values in measured.items()}


MEASURES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "globalness": globalness,
    "verticality": verticality,
    "diagonality": diagonality,
    "weight": weight,
    "mean_offset": mean_offset,
    "offset_spread": offset_spread,
    "modal_offset": modal_offset,
    **{f"mass_within_{radius}": functools.partial(mass_within, radius) for radius in RADII},
}
