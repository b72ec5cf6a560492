"""A stack of transformer layers: hidden states in, hidden states out, each layer's sown."""

import operator
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sat_jax.config import Model
from sat_jax.model.attention.self_attention import (
    NO_EDIT,
    TRACE,
    HeadEdit,
    SelfAttention,
    kernel_init,
)
from sat_jax.model.dropout import dropout
from sat_jax.model.packing import Packing
from sat_jax.model.products import Dense


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU written with erf, which XLA:CPU computes faster than the usual erfc."""
    return 0.5 * x * (1.0 + lax.erf(x * 2.0**-0.5))


def layer_norm(config: Model, name: str | None = None) -> nn.LayerNorm:
    """Layer normalisation in float32, whatever the matmul type."""
    return nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=jnp.float32, name=name)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with a residual; post-LN, or pre-LN by a flag.

    `attend` and `merge` are its two halves: what is costly about a set of heads, and what has to be
    done anew for each of its subsets.
    """

    config: Model
    heads: int
    spans: tuple[int, ...] = ()

    def setup(self) -> None:
        """Parameters of both sub-layers."""
        config = self.config
        dtype, start = jnp.dtype(config.compute_dtype), kernel_init(config.init_std)
        scale = config.residual_init_scale
        self.attention = SelfAttention(config, self.heads, self.spans)
        self.norm_attention = layer_norm(config)
        self.norm_ffn = layer_norm(config)
        self.ffn_in = Dense(config.ffn, dtype=dtype, kernel_init=start)
        self.ffn_out = Dense(
            config.width, dtype=dtype, kernel_init=lambda *args: start(*args) * scale
        )

    def __call__(
        self, x: jax.Array, valid: jax.Array, cut: HeadEdit = NO_EDIT, key: jax.Array | None = None
    ) -> jax.Array:
        """One layer on `x` (B, T, D), valid (B, T); `key` turns dropout on."""
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        x = self.merge(x, self.attend(x, valid, cut, keys[0]), cut.gate, keys[1:])
        if not self.is_initializing():
            self.sow(TRACE, "hidden", x)
        return x

    def attend(
        self,
        x: jax.Array,
        valid: jax.Array,
        cut: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        packing: Packing | None = None,
    ) -> jax.Array | None:
        """Each head's mixture of values (B, T, H, K); None without any head.

        With a packing, of rows `x` (P, D) as rows (P, H, K).
        """
        y = self.norm_attention(x) if self.config.pre_ln else x
        return self.attention.contexts(y, valid, cut, key, packing)

    def merge(
        self,
        x: jax.Array,
        context: jax.Array | None,
        gate: jax.Array | None = None,
        keys: Sequence[jax.Array | None] = (None, None),
    ) -> jax.Array:
        """The layer's output (..., D) from its input and its heads' contexts (..., H, K).

        gate is (..., H) or (H,).
        """
        rate = self.config.dropout
        mixed = self.attention.project(context, x.shape, gate)
        x = x + dropout(keys[0], mixed, rate)
        if self.config.pre_ln:
            return x + dropout(keys[1], self.feed_forward(self.norm_ffn(x)), rate)
        x = self.norm_attention(x)
        return self.norm_ffn(x + dropout(keys[1], self.feed_forward(x), rate))

    def feed_forward(self, x: jax.Array) -> jax.Array:
        """Position-wise GELU network, `x` (..., D)."""
        y = gelu(self.ffn_in(x.reshape(-1, x.shape[-1])))
        return self.ffn_out(y).reshape(x.shape)


class Encoder(nn.Module):
    """`config.layers` layers, unrolled or scanned, with the same numbers either way."""

    config: Model

    @nn.compact
    def __call__(
        self, x: jax.Array, valid: jax.Array, cut: HeadEdit = NO_EDIT, key: jax.Array | None = None
    ) -> jax.Array:
        """Encode `x` (B, T, D) with every field of `cut` (L, H, ...); `key` drives dropout.

        `cut` goes by the numbers of the heads before any was removed; those that are gone have no
        say in it.
        """
        config = self.config
        keys = None
        if key is not None:
            keys = jax.vmap(lambda layer: jax.random.fold_in(key, layer))(jnp.arange(config.layers))
        layer = nn.remat(EncoderLayer) if config.remat else EncoderLayer
        if config.scan_layers:
            x, _ = nn.scan(
                lambda module, x, per_layer: (module(x, valid, *per_layer), None),
                variable_axes={"params": 0, TRACE: 0},
                split_rngs={"params": True},
                length=config.layers,
            )(layer(config, config.heads, name="layers"), x, (cut, keys))
        else:
            for index in range(config.layers):
                of_layer, of_key = jax.tree.map(operator.itemgetter(index), (cut, keys))
                if config.kept:
                    left = np.array(config.kept[index], np.int32)
                    of_layer = jax.tree.map(operator.itemgetter(left), of_layer)
                heads, spans = len(config.head_mask[index]), config.spans_left[index]
                module = layer(config, heads, spans, name=f"layer_{index}")
                x = module(x, valid, of_layer, of_key)
        return layer_norm(config, "norm")(x) if config.pre_ln else x
