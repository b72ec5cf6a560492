"""A model, clean features and a key in, a loss and its companions out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from sat_jax.config import Config, Ctc, MaskedReconstruction, Objective
from sat_jax.errors import InputError
from sat_jax.model.mockingjay import unstack_frames
from sat_jax.pretrain.corrupt import choose_spans, corrupt, interpolate
from sat_jax.pretrain.ctc import ctc


class Losses(NamedTuple):
    """Scalars of one batch, float32."""

    loss: jax.Array
    """What is minimised."""
    mean_frame: jax.Array
    """The same loss for predicting each utterance's mean frame: the least a model has to beat."""
    interpolation: jax.Array
    """The same loss for straight lines across the masked gaps: the number to beat."""

    @property
    def baseline(self) -> jax.Array:
        """The least that a model has to beat."""
        return self.mean_frame


class Examples(NamedTuple):
    """What a model's `prepare` and `targets` give for a batch."""

    inputs: jax.Array
    """(B, T, F), padding 0."""
    valid: jax.Array
    """(B, T) bool."""
    targets: jax.Array
    """(B, T, F2), padding 0; of CTC units (B, U), -1 behind the last."""


Loss = Callable[[nn.Module, Config, Any, Examples, jax.Array, bool], Any]


class Words(NamedTuple):
    """How the losses of an objective are spoken of."""

    baseline: str
    """Name of the baseline among the numbers of a step."""
    baseline_is: str
    """What it does."""
    others: tuple[tuple[str, str], ...]
    """Names of evaluated numbers beside the loss, and words for them."""


def examples_of(
    model: nn.Module, audio: jax.Array, lengths: jax.Array, units: jax.Array | None = None
) -> Examples:
    """Inputs and targets of audio (B, N) int16 with lengths (B,) in samples; units (B, U) are the
    targets where they are given."""
    targets = model.targets(audio, lengths) if units is None else units
    return Examples(*model.prepare(audio, lengths), targets)


def masked_l1(prediction: jax.Array, target: jax.Array, chosen: jax.Array) -> jax.Array:
    """Mean |prediction - target| over the chosen frames of the whole batch; 0 if none is chosen.

    prediction, target (B, T, F); chosen (B, T) bool.
    """
    error = jnp.abs(prediction - target).sum(-1)
    count = chosen.sum() * target.shape[-1]
    return jnp.where(chosen, error, 0.0).sum() / jnp.maximum(count, 1)


def mean_frame(target: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean over valid frames (B, 1, F) of `target` (B, T, F)."""
    total = jnp.where(valid[:, :, None], target, 0.0).sum(1, keepdims=True)
    return total / jnp.maximum(valid.sum(1), 1)[:, None, None]


def masked_reconstruction(
    model: nn.Module,
    config: Config,
    params: Any,
    examples: Examples,
    key: jax.Array,
    train: bool,
) -> Losses:
    """L1 between prediction and clean target on masked frames (Mockingjay, section 2.2).

    Masks, replacements, position offsets and dropout all follow from `key`; without `train` there
    is neither dropout nor offset. Padded and unmasked frames carry no loss.
    """
    stack, objective = model.grid.frames, config.objective
    span_key, corrupt_key, offset_key, dropout_key = jax.random.split(key, 4)
    inputs, valid, targets = examples
    chosen = choose_spans(span_key, valid, objective.mask_share, objective.c_num // stack)
    corrupted = corrupt(
        corrupt_key, inputs, valid, chosen, objective.zero_share, objective.replace_share
    )
    offset = None
    if train and objective.position_offset:
        shape = (inputs.shape[0],)
        offset = jax.random.randint(offset_key, shape, 0, objective.position_offset + 1)
    prediction = model.apply(
        {"params": params}, corrupted, valid, offset=offset, key=dropout_key if train else None
    )
    frames = unstack_frames(targets, stack)
    frame_valid, frame_chosen = (jnp.repeat(a, stack, axis=1) for a in (valid, chosen))
    drawn = interpolate(frames, frame_chosen, frame_valid)
    return Losses(
        loss=masked_l1(prediction, targets, chosen),
        mean_frame=masked_l1(mean_frame(frames, frame_valid), frames, frame_chosen),
        interpolation=masked_l1(drawn, frames, frame_chosen),
    )


def loss_of(objective: Objective) -> Loss:
    """The loss that the fields of a config are for; raises `InputError` where it has none."""
    if type(objective) not in LOSSES:
        raise InputError(
            "objective is none, so there is nothing to train for: give --objective "
            "masked_reconstruction, ctc, or another that the model can learn"
        )
    return LOSSES[type(objective)]


def words_of(objective: Objective) -> Words:
    """How the losses of an objective are spoken of."""
    return WORDS[type(objective)]


LOSSES: dict[type[Objective], Loss] = {MaskedReconstruction: masked_reconstruction, Ctc: ctc}
WORDS: dict[type[Objective], Words] = {
    MaskedReconstruction: Words(
        "mean_frame",
        "predicting the mean frame",
        (
            ("mean_frame", "mean frame"),
            ("interpolation", "the number to beat, linear interpolation:"),
        ),
    ),
    Ctc: Words(
        "uniform",
        "guessing all letters alike",
        (("uniform", "guessing all letters alike"), ("error_rate", "error rate")),
    ),
}
