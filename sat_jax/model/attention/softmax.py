"""Logits in, maps out: the softmax over keys that attention algorithms share."""

import jax
import jax.numpy as jnp

# Finite: a row without any valid key stays finite.
MASKED = -1e30


def masked_softmax(
    logits: jax.Array, valid: jax.Array, allowed: jax.Array | None = None
) -> jax.Array:
    """Float32 softmax over keys: logits (B, H, T, S), valid (B, S); padded keys get exactly 0.

    With `allowed` (H, T, S) bool it runs over these keys alone and all others get exactly 0; a
    padded query may then have no key at all.
    """
    logits = logits.astype(jnp.float32)
    if allowed is None:
        # Added, not selected: the same numbers, and XLA:CPU turns a sum into vector instructions.
        return jax.nn.softmax(logits + jnp.where(valid, 0.0, MASKED)[:, None, None, :], axis=-1)
    allowed = valid[:, None, None, :] & allowed
    return jnp.where(allowed, jax.nn.softmax(jnp.where(allowed, logits, MASKED), axis=-1), 0.0)
