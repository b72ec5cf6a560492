"""Multi-head self-attention around any algorithm: hidden states in, mixed states out, maps sown.

An algorithm is a linen module with `STREAMS`, the projections of the input that it needs beside the
values, and a call `(x, **streams) -> logits (B, H, T, S)`. Everything that all algorithms share is
here: the fused projection, the masked float32 softmax, span, dropout, gate and W_O.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from sat_jax.config import Model
from sat_jax.errors import InputError
from sat_jax.model.attention.query_key import QueryKey
from sat_jax.model.banded import MASKED, banded_context
from sat_jax.model.dropout import dropout
from sat_jax.model.packing import Packing, pack, unpack
from sat_jax.model.products import Dense, mixture

TRACE = "trace"
NO_SPAN = 2**30

Initializer = Callable[..., jax.Array]


def kernel_init(std: float | None) -> Initializer:
    """Normal with standard deviation `std`, or 1/sqrt(fan in) if it is None."""
    if std is not None:
        return nn.initializers.normal(std)
    return lambda key, shape, dtype=jnp.float32: (
        jax.random.normal(key, shape, dtype) * shape[0] ** -0.5
    )


def fused_init(heads: int, config: Model, streams: int) -> Initializer:
    """Start of the fused projection, laid out (D, H, streams + 1, K) with the values last.

    `tied_query_key` gives every stream but the values the kernel of the first one.
    """

    def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        kernel = kernel_init(config.init_std)(key, shape, dtype)
        kernel = kernel.reshape(shape[0], heads, streams + 1, -1)
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
    """Maps (..., H, T, S) set to 0 where |q - k| > span (H,); rows are not re-normalised."""
    return jnp.where(within(probs.shape[-2:], span), probs, 0.0)


def within(shape: tuple[int, int], span: jax.Array) -> jax.Array:
    """Whether |q - k| <= span (H,), as (H, T, S) for `shape` = (T, S)."""
    query, key = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])[None, :]
    return jnp.abs(query - key) <= span[:, None, None]


def banded_softmax(logits: jax.Array, valid: jax.Array, span: jax.Array) -> jax.Array:
    """Float32 softmax over valid keys within span (H,): logits (B, H, T, S), valid (B, S).

    All other keys get exactly 0; a padded query may have no key at all.
    """
    allowed = valid[:, None, None, :] & within(logits.shape[-2:], span)
    logits = jnp.where(allowed, logits.astype(jnp.float32), MASKED)
    return jnp.where(allowed, jax.nn.softmax(logits, axis=-1), 0.0)


def joint_span(own: tuple[int, ...], span: jax.Array | None) -> jax.Array | None:
    """(H,) the shorter of each head's own span (-1 is no limit) and `span` (H,); None for none."""
    if all(each < 0 for each in own):
        return span
    limits = jnp.array([each if each >= 0 else NO_SPAN for each in own])
    return limits if span is None else jnp.minimum(limits, span)


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


def replace_maps(probs: jax.Array, swap: jax.Array, maps: jax.Array, valid: jax.Array) -> jax.Array:
    """Maps (B, H, T, S) with those of the heads in `swap` (H,) replaced by `maps` (H, T, S).

    What replaces is cut to the valid keys (B, S) of each utterance, and each row is scaled to sum
    to 1, as a softmax over these keys does (Hassid et al. 2022, PAPA).
    """
    fixed = jnp.where(valid[:, None, None, :], maps, 0.0)
    fixed = fixed / jnp.maximum(fixed.sum(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return jnp.where(swap[:, None, None], fixed, probs)


class HeadEdit(NamedTuple):
    """What is done to the heads of one layer, or of all with a leading axis L; None is nothing."""

    gate: jax.Array | None = None
    """(H,) multiplies each head's contribution: 1 keeps it, 0 prunes it."""
    span: jax.Array | None = None
    """(H,) positions that a head may look away; what is beyond gets 0, and nothing is re-normalised
    unless `span_softmax` of the model is band."""
    swap: jax.Array | None = None
    """(H,) bool: heads whose maps are replaced by `maps`."""
    maps: jax.Array | None = None
    """(H, T, S) maps that stand in for those of the heads in `swap`."""


NO_EDIT = HeadEdit()


class Bias(nn.Module):
    """What is left of an output projection without heads: its bias."""

    width: int

    @nn.compact
    def __call__(self, rows: int) -> jax.Array:
        """The bias, `rows` times: (rows, D)."""
        bias = self.param("bias", nn.initializers.zeros_init(), (self.width,))
        return jnp.broadcast_to(bias, (rows, self.width))


class SelfAttention(nn.Module):
    """Multi-head self-attention with traced cuts, its maps sown as `trace/probs`.

    It has `heads` heads of width `config.width / config.heads`: fewer than `config.heads` where
    some were removed. `spans` are how far each of them may look, -1 for no limit, empty for none of
    them limited. `contexts` and `project` are its two halves.
    """

    config: Model
    heads: int
    spans: tuple[int, ...] = ()

    def setup(self) -> None:
        """Parameters: the fused projection `streams` and the output projection `out`."""
        config = self.config
        if not self.heads:
            self.out = Bias(config.width)
            return
        dtype = jnp.dtype(config.compute_dtype)
        algorithm = algorithm_of(config.attention)
        streams = len(algorithm.STREAMS)
        scale, start = config.residual_init_scale, kernel_init(config.init_std)
        self.streams = Dense(
            (streams + 1) * self.heads * (config.width // config.heads),
            dtype=dtype,
            kernel_init=fused_init(self.heads, config, streams),
        )
        self.logits = algorithm()
        self.out = Dense(config.width, dtype=dtype, kernel_init=lambda *args: start(*args) * scale)

    def __call__(
        self, x: jax.Array, valid: jax.Array, cut: HeadEdit = NO_EDIT, key: jax.Array | None = None
    ) -> jax.Array:
        """Mix `x` (B, T, D) over positions; padded keys (valid (B, T) False) get probability 0.

        `key` turns dropout on. What is sown is the softmax before dropout and gate, float32
        (B, H, T, S); before the span too, unless that limits the softmax itself.
        """
        return self.project(self.contexts(x, valid, cut, key), x.shape, cut.gate)

    def contexts(
        self,
        x: jax.Array,
        valid: jax.Array,
        cut: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        packing: Packing | None = None,
    ) -> jax.Array | None:
        """Each head's mixture of values (B, T, H, K), before the gate; None without any head.

        With a packing, `x` is rows (P, D) of the valid positions (B, T), and so is what comes out,
        (P, H, K).
        """
        if not self.heads:
            return None
        names = (*self.logits.STREAMS, "value")
        d = x.shape[-1]
        projected = self.streams(x.reshape(-1, d))
        if packing is None:
            projected = projected.reshape(*valid.shape, -1)
        else:
            projected, x = unpack(projected, packing), unpack(x, packing)
        projected = projected.reshape(*valid.shape, self.heads, len(names), -1)
        # Split before the transpose, so that the gradient is a concatenation and not a sum of
        # padded arrays.
        streams = {
            name: part.squeeze(3).transpose(0, 2, 1, 3)
            for name, part in zip(
                names, lax.split(projected, (1,) * len(names), axis=3), strict=True
            )
        }
        mixed = self.mix(x, streams, valid, cut, key).transpose(0, 2, 1, 3)
        return mixed if packing is None else pack(mixed, packing)

    def mix(
        self,
        x: jax.Array,
        streams: dict[str, jax.Array],
        valid: jax.Array,
        cut: HeadEdit,
        key: jax.Array | None,
    ) -> jax.Array:
        """Mixtures (B, H, T, K) of the values among `streams` (B, H, T, K), projections of `x`."""
        config = self.config
        value = streams.pop("value")
        traced = self.is_mutable_collection(TRACE) and not self.is_initializing()
        dropped = key is not None and config.dropout > 0
        span = joint_span(self.spans, cut.span)
        band = span is not None and config.span_softmax == "band"
        unseen = self.logits.DOT_PRODUCT and cut.swap is None and not traced
        if unseen and span is None and not dropped and jax.default_backend() != "cpu":
            return fused_context(streams["query"], streams["key"], value, valid)
        if unseen and band and cut.span is None:
            own = (streams["query"], streams["key"], value, valid, self.spans)
            return banded_context(*own, key, config.dropout)
        logits = self.logits(x, **streams)
        if band:
            probs = banded_softmax(logits, valid, span)
        else:
            probs = masked_softmax(logits, valid[:, None])
        if traced:
            self.sow(TRACE, "probs", probs)
        if cut.swap is not None:
            maps = limit_span(cut.maps, span) if band else cut.maps
            probs = replace_maps(probs, cut.swap, maps, valid)
        if span is not None:
            probs = limit_span(probs, span)
        probs = dropout(key, probs, config.dropout).astype(jnp.dtype(config.compute_dtype))
        return mixture(probs, value)

    def project(
        self, context: jax.Array | None, shape: tuple[int, ...], gate: jax.Array | None = None
    ) -> jax.Array:
        """Contexts (..., H, K), times the gate (..., H), through W_O: (..., D) = `shape`."""
        rows = math.prod(shape[:-1])
        if context is None:
            return self.out(rows).reshape(shape)
        if gate is not None:
            context = context * gate.astype(context.dtype)[..., None]
        return self.out(context.reshape(rows, -1)).reshape(shape)


def algorithm_of(name: str) -> type[nn.Module]:
    """The algorithm of a config; raises `InputError` with the known names for any other."""
    if name not in ATTENTION:
        raise InputError(f"model.attention is {name!r}: give one of {', '.join(ATTENTION)}")
    return ATTENTION[name]


ATTENTION = {"qk": QueryKey}
