"""A stack of transformer layers: hidden states in, hidden states out, each layer's sown."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from sat_jax.config import Model
from sat_jax.model.attention.heads import TRACE, SelfAttention, kernel_init
from sat_jax.model.dropout import dropout
from sat_jax.model.products import Dense


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU written with erf, which XLA:CPU computes faster than the usual erfc."""
    return 0.5 * x * (1.0 + lax.erf(x * 2.0**-0.5))


def layer_norm(config: Model, name: str) -> nn.LayerNorm:
    """Layer normalisation in float32, whatever the matmul type."""
    return nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=jnp.float32, name=name)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with a residual; post-LN, or pre-LN by a flag."""

    config: Model

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        valid: jax.Array,
        gate: jax.Array | None,
        span: jax.Array | None,
        key: jax.Array | None,
    ) -> jax.Array:
        """One layer on `x` (B, T, D), valid (B, T), gate (H,), span (H,)."""
        config = self.config
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        attend = SelfAttention(config, name="attention")
        norms = (layer_norm(config, "norm_attention"), layer_norm(config, "norm_ffn"))
        if config.pre_ln:
            mixed = attend(norms[0](x), valid, gate, span, keys[0])
            x = x + dropout(keys[1], mixed, config.dropout)
            x = x + dropout(keys[2], self.feed_forward(norms[1](x)), config.dropout)
        else:
            mixed = attend(x, valid, gate, span, keys[0])
            x = norms[0](x + dropout(keys[1], mixed, config.dropout))
            x = norms[1](x + dropout(keys[2], self.feed_forward(x), config.dropout))
        if not self.is_initializing():
            self.sow(TRACE, "hidden", x)
        return x

    def feed_forward(self, x: jax.Array) -> jax.Array:
        """Position-wise GELU network, `x` (B, T, D)."""
        config = self.config
        dtype = jnp.dtype(config.compute_dtype)
        start = kernel_init(config.init_std)
        scale = config.residual_init_scale
        b, t, d = x.shape
        y = x.reshape(b * t, d)
        y = gelu(Dense(config.ffn, dtype=dtype, kernel_init=start, name="ffn_in")(y))
        y = Dense(d, dtype=dtype, kernel_init=lambda *args: start(*args) * scale, name="ffn_out")(y)
        return y.reshape(b, t, d)


class Encoder(nn.Module):
    """`config.layers` layers, unrolled or scanned, with the same numbers either way."""

    config: Model

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        valid: jax.Array,
        gate: jax.Array | None = None,
        span: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Encode `x` (B, T, D); gate (L, H); span a number or (L, H); key drives dropout."""
        config = self.config
        shape = (config.layers, config.heads)
        if span is not None:
            span = jnp.broadcast_to(jnp.asarray(span), shape)
        keys = None
        if key is not None:
            keys = jax.vmap(lambda layer: jax.random.fold_in(key, layer))(jnp.arange(shape[0]))
        layer = nn.remat(EncoderLayer) if config.remat else EncoderLayer
        if config.scan_layers:
            x, _ = nn.scan(
                lambda module, x, per_layer: (module(x, valid, *per_layer), None),
                variable_axes={"params": 0, TRACE: 0},
                split_rngs={"params": True},
                length=config.layers,
            )(layer(config, name="layers"), x, (gate, span, keys))
        else:
            for index in range(config.layers):
                per_layer = (None if a is None else a[index] for a in (gate, span, keys))
                x = layer(config, name=f"layer_{index}")(x, valid, *per_layer)
        return layer_norm(config, "norm")(x) if config.pre_ln else x
