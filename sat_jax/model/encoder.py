"""A stack of transformer layers: hidden states in, hidden states out, each layer's sown.

Parameters have one canonical form, unrolled (`layer_0`, `layer_1`, ...). A model that scans its
layers holds them stacked; `stack_layers` and `unstack_layers` go between the two. Nothing outside
of this file knows under which names they stand.
"""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sat_jax.config import Model
from sat_jax.mesh import by_utterance
from sat_jax.model.attention.edit import NO_EDIT, HeadEdit
from sat_jax.model.attention.self_attention import (
    CONTEXTS,
    PROBS,
    TRACE,
    SelfAttention,
    kernel_init,
)
from sat_jax.model.dropout import dropout
from sat_jax.model.packing import Packing
from sat_jax.model.products import Dense

HIDDEN = "hidden"
"""Name of what is sown of states (B, T, D): by the encoder its input, by a layer its output."""
FFN = "ffn"
"""What a layer's feed-forward network adds (B, T, D)."""


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU written with erf, which XLA:CPU computes faster than the usual erfc."""
    return 0.5 * x * (1.0 + lax.erf(x * 2.0**-0.5))


def layer_norm(config: Model, name: str | None = None) -> nn.LayerNorm:
    """Layer normalisation in float32, whatever the matmul type."""
    return nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=jnp.float32, name=name)


KEPT = {"maps": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "layers": None}
"""What is kept of a layer for the backward pass, for each value of `model.remat`: products of dense
layers, which have no batch axes, or nothing."""


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with a residual; post-LN, or pre-LN by a flag.

    `attend` and `merge` are its two halves: what is costly about a set of heads, and what has to be
    done anew for each of its subsets.
    """

    config: Model
    heads: int
    longest: int
    spans: tuple[int | None, ...] = ()

    def setup(self) -> None:
        """Parameters of both sub-layers."""
        config = self.config
        dtype, start = jnp.dtype(config.compute_dtype), kernel_init(config.init_std)
        scale = config.residual_init_scale
        self.attention = SelfAttention(config, self.heads, self.longest, self.spans)
        self.norm_attention = layer_norm(config)
        self.norm_ffn = layer_norm(config)
        self.ffn_in = Dense(config.ffn, dtype=dtype, kernel_init=start)
        self.ffn_out = Dense(
            config.width, dtype=dtype, kernel_init=lambda *args: start(*args) * scale
        )

    def __call__(
        self,
        x: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        side: Any = None,
        number: Any = None,
    ) -> jax.Array:
        """One layer on `x` (B, T, D), valid (B, T); `key` turns dropout on; the rest: `attend`."""
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        x = by_utterance(x)
        contexts = self.attend(x, valid, edit, side, keys[0], number)
        merged = self.merge(x, contexts, edit.gate, keys[1:])
        if key is not None and self.config.layer_drop:
            kept = jax.random.bernoulli(jax.random.fold_in(key, 1), 1 - self.config.layer_drop)
            merged = jnp.where(kept, merged, x)
        x = by_utterance(merged)
        if not self.is_initializing():
            self.sow(TRACE, HIDDEN, x)
        return x

    def attend(
        self,
        x: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        side: Any = None,
        key: jax.Array | None = None,
        number: Any = None,
        packing: Packing | None = None,
    ) -> jax.Array | None:
        """Each head's mixture of values (B, T, H, K); None without any head.

        `side` is a tree of arrays (H, ...), the same for all utterances, that the model made once
        for every layer; `number` (H,) are the numbers of the heads before any was pruned, None for
        all of them. With a packing, of rows `x` (P, D) as rows (P, H, K).
        """
        y = self.norm_attention(x) if self.config.pre_ln else x
        return self.attention.contexts(y, valid, edit, key, side, number, packing)

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
        y = self.ffn_out(y).reshape(x.shape)
        if not self.is_initializing():
            self.sow(TRACE, FFN, y)
        return y


class Encoder(nn.Module):
    """`config.layers` layers, unrolled or scanned, with the same numbers either way.

    `longest` are the most positions that it will meet.
    """

    config: Model
    longest: int

    def setup(self) -> None:
        """Parameters of the layers, and of what follows the last one in a pre-LN encoder."""
        config = self.config
        kind = EncoderLayer
        if config.remat != "none":
            kind = nn.remat(EncoderLayer, policy=KEPT[config.remat])
        if config.pre_ln:
            self.norm = layer_norm(config)
        if config.scan_layers:
            self.layers = kind(config, config.heads, self.longest)
            return
        for index in range(1 if config.share_layers else config.layers):
            heads, spans = len(config.unpruned_heads[index]), config.head_spans[index]
            setattr(self, layer_name(config, index), kind(config, heads, self.longest, spans))

    def __call__(
        self,
        x: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        side: Any = None,
    ) -> jax.Array:
        """Encode `x` (B, T, D) with every field of `edit` (L, H, ...); `key` drives dropout.

        `edit` and `side` (H, ...) go by the numbers of the heads before any was pruned; those that
        are pruned have no say in it.
        """
        config = self.config
        if not self.is_initializing():
            self.sow(TRACE, HIDDEN, x)
        keys = None
        if key is not None:
            keys = jax.vmap(lambda layer: jax.random.fold_in(key, layer))(jnp.arange(config.layers))
        if config.scan_layers:
            x, _ = nn.scan(
                lambda layer, x, per_layer: (layer(x, valid, *per_layer, side), None),
                variable_axes={"params": 0, TRACE: 0},
                split_rngs={"params": True},
                length=config.layers,
            )(self.layers, x, (edit, keys))
            return self.close(x)
        for index in range(config.layers):
            of_layer, of_key = jax.tree.map(operator.itemgetter(index), (edit, keys))
            of_side, heads = side, None
            if config.pruned_heads:
                heads = np.array(config.unpruned_heads[index], np.int32)
                of_layer, of_side = jax.tree.map(operator.itemgetter(heads), (of_layer, side))
            layer = getattr(self, layer_name(config, index))
            x = layer(x, valid, of_layer, of_key, of_side, heads)
        return self.close(x)

    def close(self, x: jax.Array) -> jax.Array:
        """What follows the last layer: normalisation in a pre-LN encoder, nothing in another."""
        return self.norm(x) if self.config.pre_ln else x


def layer_name(config: Model, index: int) -> str:
    """Under which name the parameters of a layer stand in those of its unrolled encoder."""
    return f"layer_{0 if config.share_layers else index}"


def layer_params(params: Any, config: Model, index: int) -> Any:
    """The parameters of one layer among those of a model with an unrolled `encoder`."""
    return params["encoder"][layer_name(config, index)]


def with_layer_params(params: Any, layers: Sequence[Any]) -> Any:
    """The parameters of a model with those of its layers replaced: one tree for each layer."""
    encoder = {k: v for k, v in params["encoder"].items() if not k.startswith("layer_")}
    encoder |= {f"layer_{index}": layer for index, layer in enumerate(layers)}
    return {**params, "encoder": encoder}


def stack_layers(params: Any, layers: int) -> Any:
    """Parameters of an unrolled model in the form that a scanned one holds: leaves (L, ...)."""
    encoder = dict(params["encoder"])
    each = [encoder.pop(f"layer_{index}") for index in range(layers)]
    encoder["layers"] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    return {**params, "encoder": encoder}


def unstack_layers(params: Any, layers: int) -> Any:
    """The inverse of `stack_layers`."""
    encoder = dict(params["encoder"])
    stacked = encoder.pop("layers")
    for index in range(layers):
        encoder[f"layer_{index}"] = jax.tree.map(lambda leaf, i=index: leaf[i], stacked)
    return {**params, "encoder": encoder}


def unrolled(model: nn.Module, params: Any) -> tuple[nn.Module, Any]:
    """The same model with unrolled layers, so that each layer's maps are reduced on their own."""
    if not model.config.scan_layers:
        return model, params
    config = dataclasses.replace(model.config, scan_layers=False)
    return model.clone(config=config), unstack_layers(params, config.layers)


class Sown(NamedTuple):
    """What an unrolled encoder has sown; layers that share their parameters have one entry each."""

    hidden: tuple[jax.Array, ...]
    """L + 1 states (B, T, D): the input of the first layer, then every layer's output."""
    probs: tuple[jax.Array | None, ...]
    """Each layer's maps (B, H, T, S) of the heads that it has; None for a layer without any."""
    contexts: tuple[jax.Array | None, ...]
    """Each layer's mixtures of values (B, T, H, K) in the same way."""
    ffn: tuple[jax.Array, ...]
    """What each layer's feed-forward network adds (B, T, D)."""


def collect(sown: Any, config: Model) -> Sown:
    """What a model with an unrolled `encoder` has sown, from its collection `TRACE`."""
    encoder = sown["encoder"]

    def of_layer(index: int, name: str) -> Any:
        layer = encoder[layer_name(config, index)]
        found = layer if name in (HIDDEN, FFN) else layer.get("attention", {})
        return found[name][index if config.share_layers else 0] if name in found else None

    names = (HIDDEN, PROBS, CONTEXTS, FFN)
    hidden, *others = (
        tuple(of_layer(index, name) for index in range(config.layers)) for name in names
    )
    return Sown((encoder[HIDDEN][0], *hidden), *others)
