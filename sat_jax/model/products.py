"""Matrices in, matrix products out whose gradients are taken in the order that is fastest.

JAX takes the gradient of a product's right-hand side as a product and a transpose. XLA:CPU carries
that transpose into whatever reads the gradient next: clipping and AdamW take three times as long on
a transposed kernel.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Pair = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def rows_by_kernel(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x` (N, D) times `kernel` (D, F)."""
    return x @ kernel


def _rows_by_kernel_gradients(saved: Pair, change: jax.Array) -> Pair:
    x, kernel = saved
    return jnp.einsum("nf,df->nd", change, kernel), _written_transpose(x) @ change


def _written_transpose(x: jax.Array) -> jax.Array:
    """`x` (N, D) as (D, N). XLA:CPU would fold the transpose into the product that reads it, and
    its kernel for that takes up to twice as long as a copy and a plain product."""
    return lax.optimization_barrier(x.T) if jax.default_backend() == "cpu" else x.T


@jax.custom_vjp
def scores(query: jax.Array, key: jax.Array) -> jax.Array:
    """Dot products (B, H, T, S) in float32 of `query` (B, H, T, K) and `key` (B, H, S, K)."""
    return jnp.einsum("bhtk,bhsk->bhts", query, key, preferred_element_type=jnp.float32)


def _scores_gradients(saved: Pair, change: jax.Array) -> Pair:
    query, key = saved
    change = change.astype(query.dtype)
    to_key = jnp.einsum("bhtk,bhts->bhks", query, change).swapaxes(-1, -2)
    return jnp.einsum("bhts,bhsk->bhtk", change, key), to_key


@jax.custom_vjp
def mixture(probs: jax.Array, value: jax.Array) -> jax.Array:
    """Sums (B, H, T, K) of `value` (B, H, S, K), weighted by `probs` (B, H, T, S)."""
    return jnp.einsum("bhts,bhsk->bhtk", probs, value)


def _mixture_gradients(saved: Pair, change: jax.Array) -> Pair:
    probs, value = saved
    to_value = jnp.einsum("bhtk,bhts->bhks", change, probs).swapaxes(-1, -2)
    return jnp.einsum("bhtk,bhsk->bhts", change, value), to_value


rows_by_kernel.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _rows_by_kernel_gradients)
scores.defvjp(lambda query, key: (scores(query, key), (query, key)), _scores_gradients)
mixture.defvjp(lambda probs, value: (mixture(probs, value), (probs, value)), _mixture_gradients)


def _dot_general(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """What `nn.Dense` calls on inputs of two axes."""
    return rows_by_kernel(x, kernel)


Dense = functools.partial(nn.Dense, dot_general=_dot_general)
