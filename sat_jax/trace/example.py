"""One utterance and a model in, everything that a figure of it needs out."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh as DeviceMesh

from sat_jax.errors import InputError
from sat_jax.mesh import place_batch, replicated
from sat_jax.model.mockingjay import stack_frames
from sat_jax.shapes import SAMPLE_RATE
from sat_jax.trace.capture import capture
from sat_jax.trace.reduce import Featurize
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
    featurize: Featurize,
    spectrogram: Callable[[jax.Array, jax.Array], jax.Array],
    mesh: DeviceMesh,
) -> list[Sample]:
    """The raw maps of the first `samples` samples of an utterance for each of several parameters.

    `samples` are whole positions, so that there is no padding. `featurize` gives what the model
    hears, `spectrogram` (1, T, F) what a reader sees.
    """
    stack = model.config.stack
    audio = utterance.audio[:samples]

    def run(params: Any, audio: jax.Array, lengths: jax.Array) -> tuple[Any, jax.Array]:
        inputs, _, frames = featurize(audio, lengths)
        trace = capture(model, params, *stack_frames(inputs, frames, stack))
        return [probs[0] for probs in trace.probs], spectrogram(audio, lengths)[0]

    # One copy per device, as the rows of a batch are split over devices.
    copies = len(mesh.local_devices)
    batch = (np.tile(audio, (copies, 1)), np.full(copies, len(audio), np.int32))
    step = jax.jit(run, out_shardings=replicated(mesh))
    placed = place_batch(batch, mesh)
    return [
        Sample(
            id=utterance.id,
            maps=np.stack([np.asarray(layer) for layer in probs]),
            spectrogram=np.asarray(seen),
            audio=audio,
            phones=utterance.phones,
        )
        for probs, seen in (step(params, *placed) for params in checkpoints)
    ]
