"""A model and one batch in, its attention maps and hidden states as plain arrays out."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from sat_jax.model.attention.self_attention import TRACE
from sat_jax.model.mockingjay import unstack_layers


class Trace(NamedTuple):
    """What one forward pass of an intact or gated model shows."""

    prediction: jax.Array
    """(B, T, F)."""
    probs: tuple[jax.Array, ...]
    """One map per layer, (B, H, T, S) float32, after the softmax, before span and gate.

    Heads keep the places that they had before any was removed; the map of one that is gone is NaN.
    """
    hidden: tuple[jax.Array, ...]
    """L + 1 states (B, T, D): 0 is the input of the first layer, -1 the last layer's output. They
    are what the model computes with the heads that it has left and the spans that it keeps."""
    valid: jax.Array
    """(B, T) bool; rows of padded queries mean nothing, padded keys have probability 0."""


def traceable(model: nn.Module, params: Any) -> tuple[nn.Module, Any]:
    """The same model with unrolled layers, so that each layer's maps are reduced on their own."""
    if not model.config.scan_layers:
        return model, params
    config = dataclasses.replace(model.config, scan_layers=False)
    return model.clone(config=config), unstack_layers(params, config.layers)


def capture(
    model: nn.Module,
    params: Any,
    inputs: jax.Array,
    valid: jax.Array,
    gate: jax.Array | None = None,
    span: jax.Array | None = None,
) -> Trace:
    """Run an unrolled `model` on `inputs` (B, T, F) and collect what it sows, without dropout.

    gate (L, H) and span (a number or (L, H)) as in the model's call. Under jit, maps that the
    caller reduces layer by layer are freed layer by layer.
    """
    prediction, sown = model.apply(
        {"params": params}, inputs, valid, gate=gate, span=span, mutable=[TRACE]
    )
    config = model.config
    layers = [sown[TRACE]["encoder"][f"layer_{i}"] for i in range(config.layers)]
    if config.kept:
        maps = [
            in_place(layer, left, config.heads, valid)
            for layer, left in zip(layers, config.kept, strict=True)
        ]
    else:
        maps = [layer["attention"]["probs"][0] for layer in layers]
    return Trace(
        prediction=prediction,
        probs=tuple(maps),
        hidden=(sown[TRACE]["hidden"][0], *(layer["hidden"][0] for layer in layers)),
        valid=valid,
    )


def in_place(sown: Any, left: tuple[int, ...], heads: int, valid: jax.Array) -> jax.Array:
    """Maps (B, H, T, S) of what a layer with the heads `left` has sown; NaN for all others."""
    gone = jnp.full((*valid.shape, valid.shape[1]), jnp.nan)
    maps = sown["attention"]["probs"][0] if left else None
    each = [maps[:, left.index(head)] if head in left else gone for head in range(heads)]
    return jnp.stack(each, axis=1)
