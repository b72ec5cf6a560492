"""Scaled dot-product attention: queries and keys in, maps out (Vaswani et al. 2017, eq. 1)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.config import Model
from sat_jax.config import attention as settings
from sat_jax.mesh import platform
from sat_jax.model.attention.kernels import fused_context
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.positions import sinusoid_rates
from sat_jax.model.products import scores


class QueryKey(nn.Module):
    """Maps `softmax(q k^T / sqrt(K))`; the one family that the fused kernels compute."""

    config: settings.QueryKey
    heads: int
    total: int
    longest: int

    PROJECTIONS: ClassVar[tuple[str, ...]] = ("query", "key")
    DOT_PRODUCT: ClassVar[bool] = True
    DROPS: ClassVar[bool] = False
    HEAD_AXES: ClassVar[Mapping[str, int]] = {}

    @staticmethod
    def start(kernels: jax.Array, model: Model) -> jax.Array:
        """Kernels (D, H, 2, K) of queries and keys at the start, from independent ones."""
        config = model.attention
        if config.tied or config.neighbours:
            kernels = jnp.broadcast_to(kernels[:, :, :1], kernels.shape)
        if config.neighbours:
            base = model.frontend.position_base
            found = neighbour_kernels(*kernels[:, :, 0].shape, config.neighbours, base)
            kernels = jnp.concatenate([found, kernels[..., found.shape[-1] :]], axis=-1)
        return kernels * config.init_scale

    @staticmethod
    def flops(positions: int, pairs: int, width: int, config: settings.QueryKey) -> int:
        """Logits and mixture of all pairs."""
        del positions, config
        return 4 * width * pairs

    def __call__(
        self, x: jax.Array, scope: Scope, *, query: jax.Array, key: jax.Array
    ) -> jax.Array:
        """Maps (B, H, T, S), float32, of projections (B, H, T, K); `x` is not used."""
        del x
        logits = scores(query * query.shape[-1] ** -0.5, key)
        return masked_softmax(logits, scope.valid, scope.allowed)

    def mix(
        self, x: jax.Array, scope: Scope, value: jax.Array, *, query: jax.Array, key: jax.Array
    ) -> jax.Array | None:
        """Mixtures (B, H, T, K) by a fused kernel; None on a CPU, which has none."""
        del x
        if platform() == "cpu":
            return None
        return fused_context(query, key, value, scope.valid)


def neighbour_kernels(
    width: int, heads: int, size: int, neighbours: Sequence[int], base: float
) -> jax.Array:
    """Kernels (D, H, 2, K) with which head h looks `neighbours[h % n]` positions away.

    A head takes `size // 2` pairs of sinusoids, every second one from the fastest on, and keys
    are turned by its distance d. Of bare positions, logits are a sum over its pairs of
    cos(rate (t + d - s)), largest at s = t + d. An odd last column is left to the caller.
    """
    every = min(2, heads)
    first = np.arange(heads)[:, None] % every
    pair = np.arange(size // 2)[None] * every + first
    turn = np.asarray(neighbours)[np.arange(heads) % len(neighbours)][:, None]
    angle = sinusoid_rates(width, base)[pair] * turn
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    kernels = jnp.zeros((width, heads, 2, 2 * (size // 2)))
    head, column = np.arange(heads)[:, None], 2 * np.arange(size // 2)[None]
    kernels = kernels.at[2 * pair, head, 0, column].set(1.0)
    kernels = kernels.at[2 * pair + 1, head, 0, column + 1].set(1.0)
    # The sinusoids of s - d, from those of s.
    kernels = kernels.at[2 * pair, head, 1, column].set(cosine)
    kernels = kernels.at[2 * pair + 1, head, 1, column].set(-sine)
    kernels = kernels.at[2 * pair, head, 1, column + 1].set(sine)
    return kernels.at[2 * pair + 1, head, 1, column + 1].set(cosine)
