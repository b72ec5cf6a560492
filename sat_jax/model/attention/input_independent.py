"""Trained maps that are the same for every utterance (arXiv:2006.05174; Tay et al. 2021, "Random").

There are no queries and no keys. Weights exp(R) are made once per layer for a whole batch; what an
utterance attends to is one product per head of these weights and the values of all utterances,
divided by what of each row's weight falls on the utterance's valid keys.
"""

from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.config import Model
from sat_jax.config import attention as settings
from sat_jax.model.attention.patterns import handcrafted
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.attention.synthesizer import check_length, side_of
from sat_jax.model.dropout import dropout

ELSEWHERE = 0.05
"""Weight that all keys outside of a pattern get together at the start, so that they can grow."""


class SynRandom(nn.Module):
    """Logits R (H, P, P), a parameter, cropped to the length; normal(0, 1) at the start."""

    config: settings.SynRandom
    heads: int
    total: int
    longest: int

    PROJECTIONS: ClassVar[tuple[str, ...]] = ()
    DOT_PRODUCT: ClassVar[bool] = False
    DROPS: ClassVar[bool] = True
    HEAD_AXES: ClassVar[Mapping[str, int]] = {"maps": 0}

    @staticmethod
    def start(kernels: jax.Array, model: Model) -> jax.Array:
        """There are no projections."""
        del model
        return kernels

    @staticmethod
    def flops(positions: int, pairs: int, width: int, config: settings.SynRandom) -> int:
        """The mixture, and the sum of the weights on valid keys."""
        del positions, config
        return 2 * (width + 1) * pairs

    def setup(self) -> None:
        """The logits."""
        side = side_of(self.config.positions, self.longest)
        self.maps = self.param("maps", self.begin, (self.heads, side, side))

    def begin(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Logits (H, P, P) at the start."""
        return jax.random.normal(key, shape)

    def cropped(self, t: int) -> jax.Array:
        """Logits (H, T, T), float32; of a frozen model weights."""
        check_length(t, self.maps.shape[-1])
        return self.maps[:, :t, :t].astype(jnp.float32)

    def __call__(self, x: jax.Array, scope: Scope) -> jax.Array:
        """Maps (B, H, T, S), float32; of x (B, T, D) only the shape counts."""
        logits = self.cropped(x.shape[1])
        if self.config.frozen:
            logits = jnp.log(jnp.maximum(logits, jnp.finfo(jnp.float32).tiny))
        shape = (len(x), *logits.shape)
        return masked_softmax(jnp.broadcast_to(logits, shape), scope.valid, scope.allowed)

    def mix(self, x: jax.Array, scope: Scope, value: jax.Array) -> jax.Array:
        """Mixtures (B, H, T, K) of the values (B, H, S, K), in the type of these.

        Dropout, where the scope has a key for it, takes the same weights from all utterances.
        """
        maps = self.cropped(x.shape[1])
        return mixed_by(maps if self.config.frozen else weights_of(maps), value, scope)


class SynHandcrafted(SynRandom):
    """As `SynRandom`; the first seven heads start from the patterns of `handcrafted`.

    Their probabilities at the start are the patterns but for a share `ELSEWHERE` of every row that
    is spread evenly. `faithful`: the normalised pattern is itself the logit, as in the authors'
    modules, so that no row has a peak.
    """

    def begin(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Logits (H, P, P) at the start."""
        patterns = handcrafted(shape[-1])[: shape[0]]
        spread = ELSEWHERE / shape[-1]
        logits = patterns if self.config.faithful else np.log(patterns + spread)
        random = jax.random.normal(key, shape)
        return random.at[: len(patterns)].set(logits.astype(np.float32))


def weights_of(logits: jax.Array) -> jax.Array:
    """exp(R) (..., T, S) of logits, scaled so that the largest of each row is 1."""
    return jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))


def mixed_by(weights: jax.Array, value: jax.Array, scope: Scope) -> jax.Array:
    """Mixtures (B, H, T, K) of values (B, H, S, K) by weights (H, T, S) that need no row sum of 1.

    Each row is normalised over the valid keys of its utterance. A row whose valid keys all weigh
    less than 1e-30 of its largest weight gets 0.
    """
    b, h, s, k = value.shape
    kind = value.dtype
    valid = scope.valid.astype(jnp.float32)
    share = jnp.einsum("hts,bs->hbt", weights, valid)
    dropped = dropout(scope.rng, weights, scope.dropout).astype(kind)
    # One product per head: the keys are summed over, utterances stand beside features.
    columns = (value * valid[:, None, :, None].astype(kind)).transpose(1, 2, 0, 3)
    mixed = jnp.einsum("hts,hsc->htc", dropped, columns.reshape(h, s, b * k))
    mixed = mixed.reshape(h, -1, b, k).transpose(2, 0, 1, 3)
    scale = jnp.where(share > 1e-30, 1 / jnp.maximum(share, 1e-30), 0.0).transpose(1, 0, 2)
    return mixed * scale[..., None].astype(kind)
