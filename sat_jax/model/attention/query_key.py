"""Scaled dot-product attention: queries and keys in, maps out (Vaswani et al. 2017, eq. 1)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from sat_jax.config import model as settings
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.products import scores


class QueryKey(nn.Module):
    """Maps `softmax(q k^T / sqrt(K))`; the one family that the fused kernels compute."""

    config: settings.QueryKey
    heads: int
    longest: int

    PROJECTIONS: ClassVar[tuple[str, ...]] = ("query", "key")
    DOT_PRODUCT: ClassVar[bool] = True
    HEAD_AXES: ClassVar[Mapping[str, int]] = {}

    @staticmethod
    def start(kernels: jax.Array, config: settings.QueryKey) -> jax.Array:
        """Kernels (D, H, 2, K) of queries and keys at the start, from independent ones."""
        if config.tied:
            kernels = jnp.broadcast_to(kernels[:, :, :1], kernels.shape)
        return kernels * config.init_scale

    @staticmethod
    def flops(positions: int, pairs: int, width: int) -> int:
        """Operations of the logits of one head of `width` on so many pairs of positions."""
        return 2 * width * pairs

    def __call__(
        self,
        x: jax.Array,
        valid: jax.Array,
        allowed: jax.Array | None = None,
        side: Any = None,
        *,
        query: jax.Array,
        key: jax.Array,
    ) -> jax.Array:
        """Maps (B, H, T, S), float32, of projections (B, H, T, K); `x` and `side` are not used.

        valid (B, S); `allowed` (H, T, S), where given, are the keys that the softmax runs over.
        """
        del x, side
        return masked_softmax(scores(query * query.shape[-1] ** -0.5, key), valid, allowed)
