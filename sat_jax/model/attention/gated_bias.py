"""Attention with a gated bias of relative positions (WavLM, arXiv:2110.13900, section III-B)."""

import math
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.config import Model
from sat_jax.config import attention as settings
from sat_jax.model.attention.query_key import QueryKey
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.products import scores


def bucket_of(distance: np.ndarray, config: settings.GatedBias) -> np.ndarray:
    """Which of `buckets` a distance key - query falls into (Raffel et al. 2020): half of them for
    keys behind and half for keys ahead; near distances have one each, far ones share them."""
    half = config.buckets // 2
    exact, size = half // 2, np.abs(distance)
    ratio = np.log(np.maximum(size, 1) / exact, dtype=np.float32)
    ratio /= np.float32(math.log(config.max_distance / exact))
    far = np.minimum(exact + (ratio * (half - exact)).astype(np.int64), half - 1)
    return np.where(distance > 0, half, 0) + np.where(size < exact, size, far)


def position_bias(table: jax.Array, length: int, config: settings.GatedBias) -> jax.Array:
    """The bias (H, T, S) of every pair of `length` positions, before any gate; table (G, H)."""
    # A bias per distance first: pairs of positions repeat it along the diagonals.
    distance = np.arange(-(length - 1), length)
    of_distance = table[bucket_of(distance, config)].T
    pairs = np.arange(length)[None, :] - np.arange(length)[:, None] + length - 1
    return of_distance[:, pairs]


class GatedBias(QueryKey):
    """Maps `softmax(q k^T / sqrt(K) + g b)`: the bias b is shared by all layers, and each query
    opens or closes it by a gate g that it computes from the layer's input."""

    config: settings.GatedBias

    DOT_PRODUCT: ClassVar[bool] = False
    HEAD_AXES: ClassVar[Mapping[str, int]] = {"constant": 0}

    @staticmethod
    def start(kernels: jax.Array, model: Model) -> jax.Array:
        """Kernels (D, H, 2, K) as they are."""
        del model
        return kernels

    @nn.compact
    def __call__(
        self, x: jax.Array, scope: Scope, *, query: jax.Array, key: jax.Array
    ) -> jax.Array:
        """Maps (B, H, T, S), float32, of projections (B, H, T, K) of `x` (B, T, D)."""
        logits = scores(query * query.shape[-1] ** -0.5, key)
        gate = self.gate(x, scope, query.shape[-1])
        return masked_softmax(logits + gate * scope.side, scope.valid, scope.allowed)

    def gate(self, x: jax.Array, scope: Scope, width: int) -> jax.Array:
        """How far each query opens the bias (B, H, T, 1)."""
        kernel = self.param("gate_kernel", nn.initializers.normal(0.02), (width, 8))
        bias = self.param("gate_bias", nn.initializers.zeros_init(), (8,))
        constant = self.param("constant", nn.initializers.ones_init(), (self.heads,))
        of_head = x.reshape(*x.shape[:2], self.total, width)[:, :, scope.numbers(self.total)]
        found = of_head.astype(jnp.float32) @ kernel + bias
        opened, reset = jnp.moveaxis(
            nn.sigmoid(found.reshape(*found.shape[:-1], 2, 4).sum(-1)), -1, 0
        )
        gate = opened * (reset * constant - 1.0) + 2.0
        return gate.transpose(0, 2, 1)[..., None]

    def mix(
        self, x: jax.Array, scope: Scope, value: jax.Array, *, query: jax.Array, key: jax.Array
    ) -> None:
        """None: the bias differs from query to query."""
        del x, scope, value, query, key
