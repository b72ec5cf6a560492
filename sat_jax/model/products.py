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

from sat_jax.mesh import on_every_device, platform

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
    return lax.optimization_barrier(x.T) if platform() == "cpu" else x.T


@jax.custom_vjp
def rows_by_whole_kernel(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The same, with the whole kernel on every device, whatever of it each one keeps.

    For kernels that `mesh.model` does not split: XLA would fetch their parts by a detour over the
    devices that share a layer.
    """
    return x @ on_every_device(kernel)


def _rows_by_whole_kernel_gradients(saved: Pair, change: jax.Array) -> Pair:
    x, kernel = saved
    return _rows_by_kernel_gradients((x, on_every_device(kernel)), change)


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
rows_by_whole_kernel.defvjp(
    lambda x, kernel: (rows_by_whole_kernel(x, kernel), (x, kernel)),
    _rows_by_whole_kernel_gradients,
)
scores.defvjp(lambda query, key: (scores(query, key), (query, key)), _scores_gradients)
mixture.defvjp(lambda probs, value: (mixture(probs, value), (probs, value)), _mixture_gradients)


def _dot_general(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """What `nn.Dense` calls on inputs of two axes."""
    return rows_by_kernel(x, kernel)


def _whole_dot_general(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    return rows_by_whole_kernel(x, kernel)


Dense = functools.partial(nn.Dense, dot_general=_dot_general)
WholeDense = functools.partial(nn.Dense, dot_general=_whole_dot_general)
"""One whose kernel every device has whole for its rows."""
