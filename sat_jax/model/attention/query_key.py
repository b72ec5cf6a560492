"""Scaled dot-product attention: queries and keys in, logits out (Vaswani et al. 2017, eq. 1)."""

from typing import ClassVar

import flax.linen as nn
import jax

from sat_jax.model.products import scores


class QueryKey(nn.Module):
    """Logits `q k^T / sqrt(K)`; the one family that the fused kernels compute."""

    STREAMS: ClassVar[tuple[str, ...]] = ("query", "key")
    DOT_PRODUCT: ClassVar[bool] = True

    def __call__(self, x: jax.Array, query: jax.Array, key: jax.Array) -> jax.Array:
        """Logits (B, H, T, S) in float32 of projections (B, H, T, K); `x` (B, T, D) is not used."""
        del x
        return scores(query * query.shape[-1] ** -0.5, key)
