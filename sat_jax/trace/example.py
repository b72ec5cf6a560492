"""One utterance and a model in, everything that a figure of it needs out."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh as DeviceMesh

from sat_jax.config import Model
from sat_jax.errors import InputError
from sat_jax.grid import SAMPLE_RATE
from sat_jax.mesh import place_batch, replicated
from sat_jax.trace.capture import capture
from sat_jax.trace.store import Sample


def pick_utterance(split: Any, wanted: str) -> int:
    """Index in a split of the utterance asked for, or of the one closest to three seconds."""
    if not wanted:
        return int(np.argmin(np.abs(split.lengths - 3 * SAMPLE_RATE)))
    if wanted not in split.ids:
        some = ", ".join(split.ids[:3])
        raise InputError(f"utterance {wanted} is not in the {split.name} split: try {some}")
    return split.ids.index(wanted)


def trace_utterance(
    model: nn.Module,
    checkpoints: Sequence[Any],
    utterance: Any,
    samples: int,
    spectrogram: Callable[[jax.Array, jax.Array], jax.Array],
    mesh: DeviceMesh,
) -> list[Sample]:
    """The raw maps of the first `samples` samples of an utterance for each of several parameters.

    `samples` are whole frames, of which the last may fill no position, so that there is no padding.
    `spectrogram` gives (1, T, F), what a reader sees.
    """
    audio = utterance.audio[:samples]

    def run(params: Any, audio: jax.Array, lengths: jax.Array) -> tuple[Any, jax.Array]:
        trace = capture(model, params, *model.prepare(audio, lengths))
        return [None if maps is None else maps[0] for maps in trace.probs], spectrogram(
            audio, lengths
        )[0]

    # One copy per device, as the rows of a batch are split over devices.
    copies = len(mesh.local_devices)
    batch = (np.tile(audio, (copies, 1)), np.full(copies, len(audio), np.int32))
    step = jax.jit(run, out_shardings=replicated(mesh))
    placed = place_batch(batch, mesh)
    return [
        Sample(
            id=utterance.id,
            maps=in_place(probs, model.config),
            spectrogram=np.asarray(spectrum),
            audio=audio,
            phones=utterance.phones,
        )
        for probs, spectrum in (step(params, *placed) for params in checkpoints)
    ]


def in_place(probs: Sequence[jax.Array | None], config: Model) -> np.ndarray:
    """Maps (L, H, T, T) of each layer's maps (N, T, T) of the heads that it has; NaN for others."""
    length = next(maps for maps in probs if maps is not None).shape[-1]
    placed = np.full((config.layers, config.heads, length, length), np.nan, np.float32)
    for layer, (maps, heads) in enumerate(zip(probs, config.unpruned_heads, strict=True)):
        if maps is not None:
            placed[layer, list(heads)] = maps
    return placed
