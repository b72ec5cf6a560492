"""A model and one batch in, its attention maps and hidden states as plain arrays out."""

from typing import Any, NamedTuple

import jax
from flax import linen as nn

from sat_jax.model.attention.edit import whole_edit
from sat_jax.model.attention.self_attention import TRACE
from sat_jax.model.encoder import collect


class Trace(NamedTuple):
    """What one forward pass of an intact or edited model shows."""

    output: jax.Array
    """(B, T, F) predictions, or the encoder's output of a model that predicts nothing."""
    probs: tuple[jax.Array | None, ...]
    """One map per layer, (B, H, T, S) float32, after the softmax, before span and gate.

    H are the heads that the layer has: of a pruned model fewer than it had. None without any.
    """
    hidden: tuple[jax.Array, ...]
    """L + 1 states (B, T, D): 0 is the input of the first layer, -1 the last layer's output. They
    are what the model computes with the heads that it has and the spans that it keeps."""
    valid: jax.Array
    """(B, T) bool; rows of padded queries mean nothing, padded keys have probability 0."""
    contexts: tuple[jax.Array | None, ...] = ()
    """Each layer's mixtures of values (B, T, H, K), before the gate; only where they are asked
    for."""
    ffn: tuple[jax.Array, ...] = ()
    """What each layer's feed-forward network adds (B, T, D); only where it is asked for."""


def capture(
    model: nn.Module,
    params: Any,
    inputs: jax.Array,
    valid: jax.Array,
    gate: jax.Array | None = None,
    span: jax.Array | int | None = None,
    everything: bool = False,
) -> Trace:
    """Run an unrolled `model` on `inputs` and collect what it sows, without dropout.

    inputs and valid (B, T) as the model's `prepare` gives them; gate (L, H) and span (a number or
    (L, H)) as in `HeadEdit`; `everything` also asks for contexts and feed-forward outputs. Under
    jit, maps that the caller reduces layer by layer are freed layer by layer.
    """
    config = model.config
    edit = whole_edit(config.layers, config.heads, gate, span)
    output, sown = model.apply({"params": params}, inputs, valid, edit, mutable=[TRACE])
    found = collect(sown[TRACE], config)
    more = (found.contexts, found.ffn) if everything else ()
    return Trace(output, found.probs, found.hidden, valid, *more)
