"""Clean spectra in, L1 errors of what a model makes of altered ones out: Mockingjay and TERA."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from sat_jax.config import Config
from sat_jax.model.mockingjay import unstack_frames
from sat_jax.pretrain.masking import (
    choose_bands,
    choose_spans,
    corrupt,
    interpolate,
    overlapping_spans,
)
from sat_jax.pretrain.objectives.objective import Examples, Objective, Words


class Reconstruction(NamedTuple):
    """Losses of one batch."""

    loss: jax.Array
    """L1 on masked frames."""
    mean_frame: jax.Array
    """The same loss for predicting each utterance's mean frame: the least a model has to beat."""
    interpolation: jax.Array
    """The same loss for straight lines across the masked gaps: the number to beat."""
    count: jax.Array
    """Masked values."""

    @property
    def judged(self) -> jax.Array:
        """The whole loss."""
        return self.loss

    @property
    def baseline(self) -> jax.Array:
        """Predicting the mean frame."""
        return self.mean_frame


class TeraLosses(NamedTuple):
    """Losses of one batch."""

    loss: jax.Array
    """L1 on all hidden values."""
    mean_frame: jax.Array
    """The same loss for predicting each utterance's mean frame."""
    time: jax.Array
    """The loss on masked frames alone."""
    interpolation: jax.Array
    """That of straight lines across them: the number to beat."""
    channel: jax.Array
    """The loss on hidden bands alone."""
    count: jax.Array
    """Hidden values."""

    @property
    def judged(self) -> jax.Array:
        """The whole loss."""
        return self.loss

    @property
    def baseline(self) -> jax.Array:
        """Predicting the mean frame."""
        return self.mean_frame


def masked_l1(prediction: jax.Array, target: jax.Array, chosen: jax.Array) -> jax.Array:
    """Mean |prediction - target| over the chosen values of the whole batch; 0 if none is chosen.

    prediction, target (B, T, F); chosen bool, (B, T) for whole frames or (B, T, F).
    """
    if chosen.ndim == 2:
        error = jnp.abs(prediction - target).sum(-1)
        count = chosen.sum() * target.shape[-1]
    else:
        error, count = jnp.abs(prediction - target), chosen.sum()
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
    step: jax.Array | None,
) -> Reconstruction:
    """L1 between prediction and clean target on masked frames (Mockingjay, section 2.2).

    Masks, replacements, position offsets and dropout all follow from `key`; without a `step` there
    is neither dropout nor offset. Padded and unmasked frames carry no loss.
    """
    stack, objective = model.grid.frames, config.objective
    span_key, corrupt_key, offset_key, dropout_key = jax.random.split(key, 4)
    inputs, valid, targets = examples
    chosen = choose_spans(span_key, valid, objective.mask_share, objective.c_num // stack)
    corrupted = corrupt(
        corrupt_key, inputs, valid, chosen, objective.zero_share, objective.replace_share
    )
    offset = None if step is None else drawn_offset(offset_key, config, len(valid))
    key = None if step is None else dropout_key
    prediction = model.apply({"params": params}, corrupted, valid, offset=offset, key=key)
    frames = unstack_frames(targets, stack)
    frame_valid, frame_chosen = (jnp.repeat(a, stack, axis=1) for a in (valid, chosen))
    drawn = interpolate(frames, frame_chosen, frame_valid)
    return Reconstruction(
        loss=masked_l1(prediction, targets, chosen),
        mean_frame=masked_l1(mean_frame(frames, frame_valid), frames, frame_chosen),
        interpolation=masked_l1(drawn, frames, frame_chosen),
        count=chosen.sum() * targets.shape[-1],
    )


def tera(
    model: nn.Module,
    config: Config,
    params: Any,
    examples: Examples,
    key: jax.Array,
    step: jax.Array | None,
) -> TeraLosses:
    """L1 on what was hidden: masked frames and bands of channels (TERA, section 3.1).

    Noise on a whole batch is to be removed as far as it lies under what is hidden. Everything that
    is drawn follows from `key`; without a `step` there is neither dropout nor offset. Padding
    carries no loss.
    """
    stack, objective = model.grid.frames, config.objective
    span_key, corrupt_key, band_key, noise_key, offset_key, dropout_key = jax.random.split(key, 6)
    inputs, valid, targets = examples
    share, span = objective.mask_share, objective.c_num // stack
    masked = overlapping_spans(span_key, valid, share, span)
    altered = corrupt(
        corrupt_key, inputs, valid, masked, objective.zero_share, objective.replace_share
    )
    bins = inputs.shape[-1] // stack
    band = jnp.tile(choose_bands(band_key, len(valid), bins, objective.channel_share), (1, stack))
    hidden_bins = valid[:, :, None] & band[:, None]
    altered = jnp.where(hidden_bins, 0.0, altered)
    dice_key, noise_key = jax.random.split(noise_key)
    loud = jax.random.bernoulli(dice_key, objective.magnitude_share)
    noise = objective.magnitude_std * jax.random.normal(noise_key, inputs.shape)
    altered += jnp.where(loud & valid[:, :, None], noise, 0.0)
    offset = None if step is None else drawn_offset(offset_key, config, len(valid))
    key = None if step is None else dropout_key
    prediction = model.apply({"params": params}, altered, valid, offset=offset, key=key)
    frames = unstack_frames(targets, stack)
    frame_valid, frame_masked = (jnp.repeat(a, stack, axis=1) for a in (valid, masked))
    cells = masked[:, :, None] | hidden_bins
    mean = jnp.tile(mean_frame(frames, frame_valid), (1, 1, stack))
    drawn = interpolate(frames, frame_masked, frame_valid)
    return TeraLosses(
        loss=masked_l1(prediction, targets, cells),
        mean_frame=masked_l1(mean, targets, cells),
        time=masked_l1(prediction, targets, masked),
        interpolation=masked_l1(drawn, frames, frame_masked),
        channel=masked_l1(prediction, targets, hidden_bins),
        count=cells.sum(),
    )


def drawn_offset(key: jax.Array, config: Config, rows: int) -> jax.Array | None:
    """Position of each utterance's first frame in training (B,), or None where that is fixed."""
    most = config.objective.position_offset
    return jax.random.randint(key, (rows,), 0, most + 1) if most else None


MASKED_RECONSTRUCTION = Objective(
    masked_reconstruction,
    Words(
        "mean_frame",
        "predicting the mean frame",
        (
            ("mean_frame", "mean frame"),
            ("interpolation", "the number to beat, linear interpolation:"),
        ),
    ),
    spectra=True,
)
TERA = Objective(
    tera,
    Words(
        "mean_frame",
        "predicting the mean frame",
        (
            ("mean_frame", "mean frame"),
            ("time", "masked frames alone"),
            ("interpolation", "the number to beat there, linear interpolation:"),
        ),
        ("time", "interpolation", "channel"),
    ),
    spectra=True,
)
