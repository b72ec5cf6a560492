"""Multi-head self-attention around any algorithm: hidden states in, mixed states out, maps sown.

What an algorithm offers stands in `attention.scope`. Everything that all algorithms share is here:
the fused projection, span, gate, replaced maps, sowing, dropout and W_O.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from sat_jax.config import Attention, Model
from sat_jax.config import attention as settings
from sat_jax.model.attention import hashed, input_independent, sparse, synthesizer
from sat_jax.model.attention.edit import (
    NO_EDIT,
    HeadEdit,
    joint_span,
    limit_span,
    replace_maps,
    within,
)
from sat_jax.model.attention.gated_bias import GatedBias
from sat_jax.model.attention.kernels import banded_context
from sat_jax.model.attention.query_key import QueryKey
from sat_jax.model.attention.routing import Routing
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.shared_query import SharedQuery
from sat_jax.model.dropout import dropout
from sat_jax.model.packing import Packing, pack, unpack
from sat_jax.model.products import Dense, mixture

TRACE = "trace"
"""The collection that is sown when it is asked for."""
PROBS = "probs"
"""Name of what a layer sows of its maps (B, H, T, S): after the softmax, before dropout and gate;
before the span too, unless that limits the softmax itself."""
CONTEXTS = "contexts"
"""The heads' mixtures of values (B, T, H, K), before the gate."""

Initializer = Callable[..., jax.Array]


def kernel_init(std: float | None) -> Initializer:
    """Normal with standard deviation `std`, or 1/sqrt(fan in) if it is None."""
    if std is not None:
        return nn.initializers.normal(std)
    return lambda key, shape, dtype=jnp.float32: (
        jax.random.normal(key, shape, dtype) * shape[0] ** -0.5
    )


def fused_init(heads: int, config: Model, projections: int) -> Initializer:
    """Start of the fused projection, laid out (D, H, projections + 1, K) with the values last."""
    start = algorithm_of(config.attention).start

    def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        kernel = kernel_init(config.init_std)(key, shape, dtype)
        kernel = kernel.reshape(shape[0], heads, projections + 1, -1)
        select = start(kernel[:, :, :projections], config)
        return jnp.concatenate([select, kernel[:, :, projections:]], axis=2).reshape(shape)

    return init


class Bias(nn.Module):
    """What is left of an output projection without heads: its bias."""

    width: int

    @nn.compact
    def __call__(self, rows: int) -> jax.Array:
        """The bias, `rows` times: (rows, D)."""
        bias = self.param("bias", nn.initializers.zeros_init(), (self.width,))
        return jnp.broadcast_to(bias, (rows, self.width))


class SelfAttention(nn.Module):
    """Multi-head self-attention with traced edits of its heads.

    It has `heads` heads of width `config.width / config.heads`: fewer than `config.heads` where
    some were pruned. `spans` are how far each of them may look, None for no limit; empty: none is
    limited. `longest` are the most positions that it will meet. `contexts` and `project` are
    its two halves.
    """

    config: Model
    heads: int
    longest: int
    spans: tuple[int | None, ...] = ()

    def setup(self) -> None:
        """Parameters: the fused projection `streams`, the algorithm's own, and W_O in `out`."""
        config = self.config
        if not self.heads:
            self.out = Bias(config.width)
            return
        dtype = jnp.dtype(config.compute_dtype)
        algorithm = algorithm_of(config.attention)
        projections = len(algorithm.PROJECTIONS)
        scale, start = config.residual_init_scale, kernel_init(config.init_std)
        self.streams = Dense(
            (projections + 1) * self.heads * (config.width // config.heads),
            dtype=dtype,
            kernel_init=fused_init(self.heads, config, projections),
        )
        self.algorithm = algorithm(config.attention, self.heads, config.heads, self.longest)
        self.out = Dense(config.width, dtype=dtype, kernel_init=lambda *args: start(*args) * scale)

    def __call__(
        self,
        x: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        side: Any = None,
        number: Any = None,
    ) -> jax.Array:
        """Mix `x` (B, T, D) over positions; padded keys (valid (B, T) False) get probability 0.

        `key` turns dropout on; `side` (H, ...) is what the model hands to every layer; `number`
        (H,) are the numbers of the heads before any was pruned, None for all of them.
        """
        return self.project(self.contexts(x, valid, edit, key, side, number), x.shape, edit.gate)

    def contexts(
        self,
        x: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        side: Any = None,
        number: Any = None,
        packing: Packing | None = None,
    ) -> jax.Array | None:
        """Each head's mixture of values (B, T, H, K), before the gate; None without any head.

        With a packing, `x` is rows (P, D) of the valid positions (B, T), and so is what comes out,
        (P, H, K).
        """
        if not self.heads:
            return None
        names = (*self.algorithm.PROJECTIONS, "value")
        d = x.shape[-1]
        projected = self.streams(x.reshape(-1, d))
        if packing is None:
            projected = projected.reshape(*valid.shape, -1)
        else:
            projected, x = unpack(projected, packing), unpack(x, packing)
        projected = projected.reshape(*valid.shape, self.heads, len(names), -1)
        # Split before the transpose, so that the gradient is a concatenation and not a sum of
        # padded arrays.
        parts = lax.split(projected, (1,) * len(names), axis=3)
        streams = {
            name: part.squeeze(3).transpose(0, 2, 1, 3)
            for name, part in zip(names, parts, strict=True)
        }
        scope = Scope(valid, None, side, number, key, self.config.dropout)
        mixed = self.mix(x, streams, scope, edit).transpose(0, 2, 1, 3)
        if self.traced:
            self.sow(TRACE, CONTEXTS, mixed)
        return mixed if packing is None else pack(mixed, packing)

    @property
    def traced(self) -> bool:
        """Whether what is sown is asked for."""
        return self.is_mutable_collection(TRACE) and not self.is_initializing()

    def mix(
        self, x: jax.Array, streams: dict[str, jax.Array], scope: Scope, edit: HeadEdit
    ) -> jax.Array:
        """Mixtures (B, H, T, K) of the values among `streams` (B, H, T, K), projections of `x`."""
        config, valid, key = self.config, scope.valid, scope.rng
        value = streams.pop("value")
        dropped = key is not None and config.dropout > 0
        span = joint_span(self.spans, edit.span)
        band = span is not None and config.span_softmax == "band"
        if edit.swap is None and not self.traced:
            if span is None and (self.algorithm.DROPS or not dropped):
                mixed = self.algorithm.mix(x, scope, value, **streams)
                if mixed is not None:
                    return mixed
            if self.algorithm.DOT_PRODUCT and band and edit.span is None:
                own = (streams["query"], streams["key"], value, valid, self.spans)
                return banded_context(*own, key, config.dropout)
        if band:
            scope = scope._replace(allowed=within((x.shape[1], x.shape[1]), span))
        probs = self.algorithm(x, scope, **streams)
        if self.traced:
            self.sow(TRACE, PROBS, probs)
        if edit.swap is not None:
            maps = limit_span(edit.maps, span) if band else edit.maps
            probs = replace_maps(probs, edit.swap, maps, valid)
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


def algorithm_of(attention: Attention) -> type[nn.Module]:
    """The algorithm that the fields of a config are for."""
    return ATTENTION[type(attention)]


ATTENTION: dict[type[Attention], type[nn.Module]] = {
    settings.QueryKey: QueryKey,
    settings.GatedBias: GatedBias,
    settings.SharedQuery: SharedQuery,
    settings.SparseStrided: sparse.SparseStrided,
    settings.SparseFixed: sparse.SparseFixed,
    settings.SignAlsh: hashed.SignAlsh,
    settings.Xbox: hashed.Xbox,
    settings.XboxQnf: hashed.XboxQnf,
    settings.Simple: hashed.Simple,
    settings.SimpleAlsh: hashed.SimpleAlsh,
    settings.Routing: Routing,
    settings.SynDense: synthesizer.SynDense,
    settings.SynDenseShared: synthesizer.SynDenseShared,
    settings.SynRandom: input_independent.SynRandom,
    settings.SynHandcrafted: input_independent.SynHandcrafted,
}
