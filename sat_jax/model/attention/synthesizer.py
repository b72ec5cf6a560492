"""Logits that each frame makes by itself (Tay et al. 2021, arXiv:2005.00743, "Dense")."""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from sat_jax.config import Model
from sat_jax.config import attention as settings
from sat_jax.errors import InputError
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.softmax import masked_softmax


def side_of(positions: int, longest: int) -> int:
    """Positions that a learned map covers: those of the config, 0 for all that may come."""
    return min(positions, longest) if positions else longest


def check_length(t: int, side: int) -> None:
    """Raise `InputError` for more positions than a learned map covers."""
    if t > side:
        raise InputError(
            f"{t} positions are over the learned maps of this model, which cover {side}: crop the "
            "utterances, or train with a larger model.attention.positions"
        )


class SynDense(nn.Module):
    """Logits `W_2 relu(W_1 x_h)` of the head's part x_h of the frame, cropped to the length.

    W_1 leads to `bottleneck` units, W_2 to as many positions as the map covers.
    """

    config: settings.SynDense
    heads: int
    total: int
    longest: int

    PROJECTIONS: ClassVar[tuple[str, ...]] = ()
    DOT_PRODUCT: ClassVar[bool] = False
    DROPS: ClassVar[bool] = False
    HEAD_AXES: ClassVar[Mapping[str, int]] = {"inner": 0, "outer": 0}

    @staticmethod
    def start(kernels: jax.Array, model: Model) -> jax.Array:
        """There are no projections."""
        del model
        return kernels

    @staticmethod
    def flops(positions: int, pairs: int, width: int, config: settings.SynDense) -> int:
        """Both maps and the mixture."""
        return 2 * config.bottleneck * (positions * width + pairs) + 2 * width * pairs

    @nn.compact
    def __call__(self, x: jax.Array, scope: Scope) -> jax.Array:
        """Maps (B, H, T, S), float32, of the layer's input x (B, T, D)."""
        b, t, d = x.shape
        side = side_of(self.config.positions, self.longest)
        check_length(t, side)
        k, hidden = d // self.total, self.config.bottleneck
        begin = nn.initializers.variance_scaling(1.0, "fan_in", "normal", batch_axis=0)
        inner = self.param("inner", begin, (self.heads, k, hidden)).astype(x.dtype)
        outer = self.param("outer", begin, (self.heads, hidden, side)).astype(x.dtype)
        parts = x.reshape(b, t, self.total, k)[:, :, jnp.asarray(scope.numbers(self.heads))]
        middle = nn.relu(jnp.einsum("bthk,hkm->bhtm", parts, inner))
        logits = jnp.einsum("bhtm,hms->bhts", middle, outer[..., :t])
        return masked_softmax(logits, scope.valid, scope.allowed)

    @nn.nowrap
    def mix(self, x: jax.Array, scope: Scope, value: jax.Array) -> None:
        """None: each frame has a row of its own."""
        del x, scope, value


class SynDenseShared(nn.Module):
    """As `SynDense` with one map for all heads, which the whole frame makes."""

    config: settings.SynDenseShared
    heads: int
    total: int
    longest: int

    PROJECTIONS: ClassVar[tuple[str, ...]] = ()
    DOT_PRODUCT: ClassVar[bool] = False
    DROPS: ClassVar[bool] = False
    HEAD_AXES: ClassVar[Mapping[str, int]] = {}

    @staticmethod
    def start(kernels: jax.Array, model: Model) -> jax.Array:
        """There are no projections."""
        del model
        return kernels

    @staticmethod
    def flops(positions: int, pairs: int, width: int, config: settings.SynDenseShared) -> int:
        """One head's share of the map, and the mixture."""
        return 2 * config.bottleneck * positions * width + 2 * width * pairs

    def setup(self) -> None:
        """Parameters of the one map."""
        hidden, side = self.config.bottleneck, side_of(self.config.positions, self.longest)
        self.inner = nn.Dense(hidden, use_bias=False)
        self.rows = self.param("rows", nn.initializers.lecun_normal(), (hidden, side))

    def shared(self, x: jax.Array, scope: Scope, allowed: jax.Array | None = None) -> jax.Array:
        """The one map (B, 1, T, S), or (B, H, T, S) where heads are allowed other keys."""
        t = x.shape[1]
        check_length(t, self.rows.shape[1])
        middle = nn.relu(self.inner(x))
        logits = (middle @ self.rows[:, :t].astype(x.dtype))[:, None]
        return masked_softmax(logits, scope.valid, allowed)

    def __call__(self, x: jax.Array, scope: Scope) -> jax.Array:
        """Maps (B, H, T, S), float32, of the layer's input x (B, T, D)."""
        probs = self.shared(x, scope, scope.allowed)
        return jnp.broadcast_to(probs, (len(x), self.heads, *probs.shape[2:]))

    def mix(self, x: jax.Array, scope: Scope, value: jax.Array) -> jax.Array:
        """Mixtures (B, H, T, K) as one product per utterance for all heads."""
        probs = self.shared(x, scope)[:, 0].astype(value.dtype)
        return jnp.einsum("bts,bhsk->bhtk", probs, value)
