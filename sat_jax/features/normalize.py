"""Features `(B, T, F)` and their valid frames in, features normalised per utterance and bin out."""

import jax.numpy as jnp
from jax import Array

CONSTANT = 1e-4


def cmvn(features: Array, valid: Array, sample: bool = False, eps: float = 0.0) -> Array:
    """Zero mean and unit variance of each utterance and bin over its valid frames (CMVN).

    `features` `(B, T, F)` float32, `valid` `(B, T)` bool; the same shape comes back. The variance
    is the mean square of the centred values (two passes: no cancellation). Padded frames change
    nothing and come out as exactly 0.

    A bin counts as constant when its standard deviation is at most 1e-4 of its root mean square:
    that is rounding, and dividing by it would turn rounding into signal. Such a bin comes out as 0.

    The variance is that of the values themselves; as a `sample`, of what they are drawn from (a
    frame less is divided by). `eps` is added to the standard deviation.
    """
    mask = valid[:, :, None]
    frames = jnp.maximum(mask.sum(axis=1, keepdims=True), 1).astype(features.dtype)
    real = jnp.where(mask, features, 0)
    mean = real.sum(axis=1, keepdims=True) / frames
    centred = jnp.where(mask, features - mean, 0)
    variance = (centred**2).sum(axis=1, keepdims=True) / jnp.maximum(frames - sample, 1)
    varies = variance > CONSTANT**2 * (variance + mean**2)
    deviation = jnp.sqrt(jnp.where(varies, variance, 1)) + eps
    return jnp.where(varies & mask, centred / deviation, 0)
