"""A config and its corpus in, what a step gets beside audio out: letters, units or nothing."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax.config import Config, Ctc, MaskedUnits
from sat_jax.features.batches import Batch, FrameLabels
from sat_jax.grid import Grid
from sat_jax.pretrain import units
from sat_jax.pretrain.objectives.ctc import letter_of_phones
from sat_jax.pretrain.spelling import (
    require_transcripts,
    spelled_rows,
    spells_words,
    uncropped,
)


class Labels(NamedTuple):
    """What batches are read with, and what a step gets of them."""

    phones: bool
    """Whether batches bring phones along."""
    texts: bool
    """Whether batches bring transcripts along."""
    frames: dict[str, FrameLabels]
    """Labels of all frames of each split, by its name; empty where there are none."""
    width: Callable[[int], int]
    """Labels of a row of so many frames; 0 for none."""
    of: Callable[[Batch], tuple[np.ndarray, ...]]
    """A batch to its labels (B, width), or to nothing."""


def labelled_whole(
    config: Config, grid: Grid, splits: dict[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The train and valid splits without what has no labels when cropped, told to `say`."""
    if not (isinstance(config.objective, Ctc) and spells_words(config.model.letters)):
        return splits
    return uncropped(splits, grid, config.batches.max_frames, say)


def open_labels(
    config: Config,
    grid: Grid,
    splits: dict[str, Any],
    devices: DeviceMesh,
    where: str,
    say: Callable[[str], None],
) -> Labels:
    """What the objective of a config needs of the train and valid splits of the corpus `where`.

    Raises `InputError` where the corpus cannot give it.
    """
    width = label_width(config, grid)
    if isinstance(config.objective, MaskedUnits):
        found = units.labels_of(config, grid, splits, devices, say)
        return Labels(False, False, found, width, lambda batch: (at_positions(batch.labels, grid),))
    if not isinstance(config.objective, Ctc):
        return Labels(False, False, {}, width, lambda batch: ())
    if spells_words(config.model.letters):
        numbers = {letter: number for number, letter in enumerate(config.model.letters)}
        del numbers[config.model.letters[config.model.blank]]
        require_transcripts(splits["train"], numbers, where, say)

        def spelled(batch: Batch) -> tuple[np.ndarray, ...]:
            frames = grid.frame_count(batch.audio.shape[1])
            return (spelled_rows(batch.texts, numbers, width(int(frames))),)

        return Labels(False, True, {}, width, spelled)
    letters = letter_of_phones(splits["train"].phone_names, config.model.letters, where)

    def spoken(batch: Batch) -> tuple[np.ndarray, ...]:
        return (batch.spoken(letters, width(batch.labels.shape[1])),)

    return Labels(True, False, {}, width, spoken)


def label_width(config: Config, grid: Grid) -> Callable[[int], int]:
    """How many labels a row of so many frames has: one for each position, or none at all."""
    labelled = isinstance(config.objective, MaskedUnits | Ctc)
    return lambda frames: frames // grid.frames * labelled


def at_positions(labels: np.ndarray, grid: Grid) -> np.ndarray:
    """Labels of frames (B, T * frames) read at the middle frame of each position: (B, T)."""
    positions = labels.shape[1] // grid.frames
    return np.ascontiguousarray(labels[:, grid.frames // 2 :: grid.frames][:, :positions])
