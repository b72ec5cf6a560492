"""Scaled dot-product attention: queries and keys in, maps out (Vaswani et al. 2017, eq. 1)."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from sat_jax.config import attention as settings
from sat_jax.mesh import platform
from sat_jax.model.attention.kernels import fused_context
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.softmax import masked_softmax
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
    def start(kernels: jax.Array, config: settings.QueryKey) -> jax.Array:
        """Kernels (D, H, 2, K) of queries and keys at the start, from independent ones."""
        if config.tied:
            kernels = jnp.broadcast_to(kernels[:, :, :1], kernels.shape)
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
