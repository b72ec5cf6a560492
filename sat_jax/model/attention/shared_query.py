"""Attention with one projection for queries and keys (arXiv:2006.05174, "Q attention")."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax

from sat_jax.config import Model
from sat_jax.config import attention as settings
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.products import scores


def shared_logits(query: jax.Array) -> jax.Array:
    """Logits `q q^T / sqrt(K)` (B, H, T, T), float32, of the projection (B, H, T, K)."""
    return scores(query * query.shape[-1] ** -0.5, query)


class SharedQuery(nn.Module):
    """Maps `softmax(q q^T / sqrt(K))`: symmetric logits, half the projections of query and key."""

    config: settings.SharedQuery
    heads: int
    total: int
    longest: int

    PROJECTIONS: ClassVar[tuple[str, ...]] = ("query",)
    DOT_PRODUCT: ClassVar[bool] = False
    DROPS: ClassVar[bool] = False
    HEAD_AXES: ClassVar[Mapping[str, int]] = {}

    @staticmethod
    def start(kernels: jax.Array, model: Model) -> jax.Array:
        """Kernels (D, H, 1, K) at the start."""
        return kernels * model.attention.init_scale

    @staticmethod
    def flops(positions: int, pairs: int, width: int, config: settings.SharedQuery) -> int:
        """Logits and mixture of all pairs."""
        del positions, config
        return 4 * width * pairs

    def __call__(self, x: jax.Array, scope: Scope, *, query: jax.Array) -> jax.Array:
        """Maps (B, H, T, S), float32, of the projection (B, H, T, K); `x` is not used."""
        del x
        return masked_softmax(shared_logits(query), scope.valid, scope.allowed)

    def mix(self, x: jax.Array, scope: Scope, value: jax.Array, *, query: jax.Array) -> None:
        """None: every pair of positions has a logit of its own."""
        del x, scope, value, query
