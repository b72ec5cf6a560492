"""Multi-head self-attention around any algorithm: hidden states in, mixed states out, maps sown.

An algorithm is a linen module with `STREAMS`, the projections of the input that it needs beside the
values, and a call `(x, **streams) -> logits (B, H, T, S)`. Everything that all algorithms share is
here: the fused projection, the masked float32 softmax, span, dropout, gate and W_O.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from sat_jax.config import Model
from sat_jax.errors import InputError
from sat_jax.model.attention.query_key import QueryKey
from sat_jax.model.dropout import dropout
from sat_jax.model.products import Dense, mixture

TRACE = "trace"
# Finite, so that a row without any valid key stays finite. It absorbs any logit that it is added
# to, and exp of it is exactly 0 beside any other.
MASKED = -1e30

Initializer = Callable[..., jax.Array]


def kernel_init(std: float | None) -> Initializer:
    """Normal with standard deviation `std`, or 1/sqrt(fan in) if it is None."""
    if std is not None:
        return nn.initializers.normal(std)
    return lambda key, shape, dtype=jnp.float32: (
        jax.random.normal(key, shape, dtype) * shape[0] ** -0.5
    )


def fused_init(config: Model, streams: int) -> Initializer:
    """Start of the fused projection, laid out (D, H, streams + 1, K) with the values last.

    `tied_query_key` gives every stream but the values the kernel of the first one.
    """

    def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        kernel = kernel_init(config.init_std)(key, shape, dtype)
        kernel = kernel.reshape(shape[0], config.heads, streams + 1, -1)
        select = kernel[:, :, :streams]
        if config.tied_query_key:
            select = jnp.broadcast_to(select[:, :, :1], select.shape)
        select = select * config.query_key_init_scale
        return jnp.concatenate([select, kernel[:, :, streams:]], axis=2).reshape(shape)

    return init


def masked_softmax(logits: jax.Array, valid: jax.Array) -> jax.Array:
    """Float32 softmax over keys: logits (..., T, S), valid (..., S); padded keys get exactly 0."""
    # Added, not selected: the same numbers, and XLA:CPU turns a sum into vector instructions.
    mask = jnp.where(valid, 0.0, MASKED)[..., None, :]
    return jax.nn.softmax(logits.astype(jnp.float32) + mask, axis=-1)


def limit_span(probs: jax.Array, span: jax.Array) -> jax.Array:
    """Maps (B, H, T, S) set to 0 where |q - k| > span (H,); rows are not re-normalised."""
    query = jnp.arange(probs.shape[-2])[:, None]
    key = jnp.arange(probs.shape[-1])[None, :]
    return jnp.where(jnp.abs(query - key) <= span[:, None, None], probs, 0.0)


def fused_context(
    query: jax.Array, key: jax.Array, value: jax.Array, valid: jax.Array
) -> jax.Array:
    """Dot-product attention (B, H, T, K) without maps in memory: cuDNN where it can, else XLA.

    `valid` (B, S) has to be a prefix of each row. An utterance without any valid key attends to its
    first one, as cuDNN gives NaN for none.
    """
    lengths = jnp.maximum(valid.sum(-1, dtype=jnp.int32), 1)
    cudnn = (
        jax.default_backend() == "gpu"
        and query.dtype == jnp.bfloat16
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 128
    )
    context = jax.nn.dot_product_attention(
        query.transpose(0, 2, 1, 3),
        key.transpose(0, 2, 1, 3),
        value.transpose(0, 2, 1, 3),
        key_value_seq_lengths=lengths,
        implementation="cudnn" if cudnn else "xla",
    )
    return context.transpose(0, 2, 1, 3)


class SelfAttention(nn.Module):
    """Multi-head self-attention with traced gate and span, its maps sown as `trace/probs`."""

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
        """Mix `x` (B, T, D) over positions; padded keys (valid (B, T) False) get probability 0.

        gate: (H,), multiplies each head's contribution; span: (H,) positions; key: dropout.
        What is sown is the softmax before span, dropout and gate, float32 (B, H, T, S).
        """
        config = self.config
        dtype = jnp.dtype(config.compute_dtype)
        algorithm = algorithm_of(config.attention)
        streams = (*algorithm.STREAMS, "value")
        b, t, d = x.shape
        projected = Dense(
            len(streams) * d,
            dtype=dtype,
            kernel_init=fused_init(config, len(algorithm.STREAMS)),
            name="streams",
        )(x.reshape(b * t, d))
        projected = projected.reshape(b, t, config.heads, len(streams), d // config.heads)
        # Split before the transpose, so that the gradient is a concatenation and not a sum of
        # padded arrays.
        parts = {
            name: part.squeeze(3).transpose(0, 2, 1, 3)
            for name, part in zip(
                streams, lax.split(projected, (1,) * len(streams), axis=3), strict=True
            )
        }
        value = parts.pop("value")

        traced = self.is_mutable_collection(TRACE) and not self.is_initializing()
        dropped = key is not None and config.dropout > 0
        fused = algorithm.DOT_PRODUCT and jax.default_backend() != "cpu"
        if fused and span is None and not traced and not dropped:
            context = fused_context(parts["query"], parts["key"], value, valid)
        else:
            logits = algorithm(name=config.attention)(x, **parts)
            probs = masked_softmax(logits, valid[:, None])
            if traced:
                self.sow(TRACE, "probs", probs)
            if span is not None:
                probs = limit_span(probs, span)
            probs = dropout(key, probs, config.dropout).astype(dtype)
            context = mixture(probs, value)
        if gate is not None:
            context = context * gate.astype(dtype)[:, None, None]
        context = context.transpose(0, 2, 1, 3).reshape(b * t, d)
        scale = config.residual_init_scale
        start = kernel_init(config.init_std)
        out = Dense(
            d,
            dtype=dtype,
            kernel_init=lambda *args: start(*args) * scale,
            name="out",
        )(context)
        return out.reshape(b, t, d)


def algorithm_of(name: str) -> type[nn.Module]:
    """The algorithm of a config; raises `InputError` with the known names for any other."""
    if name not in ATTENTION:
        raise InputError(f"model.attention is {name!r}: give one of {', '.join(ATTENTION)}")
    return ATTENTION[name]


ATTENTION = {"qk": QueryKey}
