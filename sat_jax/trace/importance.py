"""A model and a batch in, what its heads are worth by gradient and their mean maps out."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from sat_jax.model.attention.edit import HeadEdit
from sat_jax.trace.capture import capture


def reconstruction_error(prediction: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean |prediction - target| of each utterance over its valid positions: (B,).

    prediction, target (B, T, F), valid (B, T); 0 for an utterance without any.
    """
    error = jnp.where(valid[..., None], jnp.abs(prediction - target), 0.0).sum((1, 2))
    return error / (jnp.maximum(valid.sum(1), 1) * target.shape[-1])


def gate_gradients(
    model: nn.Module, params: Any, inputs: jax.Array, target: jax.Array, valid: jax.Array
) -> jax.Array:
    """|dL / d gate| (B, L, H) of every utterance at the intact model (Michel et al. 2019).

    L is the utterance's reconstruction error; inputs (B, T, F), target (B, T, F2), valid (B, T).
    """
    shape = model.config.layers, model.config.heads

    def of_utterance(inputs: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
        def error(gate: jax.Array) -> jax.Array:
            edit = HeadEdit(gate)
            predicted = model.apply({"params": params}, inputs[None], valid[None], edit)
            return reconstruction_error(predicted, target[None], valid[None])[0]

        return jnp.abs(jax.grad(error)(jnp.ones(shape)))

    return jax.lax.map(lambda each: of_utterance(*each), (inputs, target, valid))


def layer_normalised(importance: jax.Array) -> jax.Array:
    """Importance (L, H) divided by the Euclidean norm of each layer; 0 where a layer has none."""
    norm = jnp.sqrt((importance**2).sum(-1, keepdims=True))
    return jnp.where(norm > 0, importance / jnp.where(norm > 0, norm, 1.0), 0.0)


def summed_maps(
    model: nn.Module, params: Any, inputs: jax.Array, valid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Sums of the maps of all utterances (L, H, T, S), and of how many are valid there (T, S)."""
    trace = capture(model, params, inputs, valid)
    pairs = valid[:, :, None] & valid[:, None, :]
    sums = jnp.stack([jnp.einsum("bhts,bts->hts", probs, pairs) for probs in trace.probs])
    return sums, pairs.sum(0)
