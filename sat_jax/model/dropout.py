"""Dropout and dense initialisers: a key and an array in, an array out."""

import jax
import jax.numpy as jnp
from jax import lax


def _mix(x: jax.Array) -> jax.Array:
    """A bijective 32-bit integer hash (the `lowbias32` constants of C. Wellons)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def random_words(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uint32 words that are a hash of (key, index): one fused element-wise pass.

    A counter hash costs next to nothing where `jax.random.bits` on a CPU costs as much as the
    attention it drops, and it does not depend on how the array is sharded. It is meant for dropout,
    not for statistics: use `jax.random` for anything else.
    """
    words = jax.random.bits(key, (2,), jnp.uint32)
    index = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        index = index * jnp.uint32(size) + lax.broadcasted_iota(jnp.uint32, shape, axis)
    return _mix(_mix(index ^ words[0]) + words[1])


def dropout(key: jax.Array | None, x: jax.Array, rate: float) -> jax.Array:
    """`x` with each element zeroed with probability `rate` and the rest scaled by 1 / (1 - rate).

    `key=None` (evaluation) or `rate=0` returns `x` itself.
    """
    if key is None or rate == 0.0:
        return x
    kept = random_words(key, x.shape) >= jnp.uint32(round(rate * 2**32))
    return jnp.where(kept, x * (1.0 / (1.0 - rate)), jnp.zeros((), x.dtype))
