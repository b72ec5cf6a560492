"""A model and one batch in, its attention maps and hidden states as plain arrays out."""

import dataclasses
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from sat_jax.model.attention.heads import TRACE
from sat_jax.model.mockingjay import unstack_layers


class Trace(NamedTuple):
    """What one forward pass of an intact or gated model shows."""

    prediction: jax.Array
    """(B, T, F)."""
    probs: tuple[jax.Array, ...]
    """One map per layer, (B, H, T, S) float32, after the softmax, before span and gate."""
    hidden: tuple[jax.Array, ...]
    """L + 1 states (B, T, D): 0 is the input of the first layer, -1 the last layer's output."""
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
    layers = [sown[TRACE]["encoder"][f"layer_{i}"] for i in range(model.config.layers)]
    return Trace(
        prediction=prediction,
        probs=tuple(layer["attention"]["probs"][0] for layer in layers),
        hidden=(sown[TRACE]["hidden"][0], *(layer["hidden"][0] for layer in layers)),
        valid=valid,
    )
