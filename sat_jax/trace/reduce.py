"""A model, batches and a measure of maps in, one small array per utterance out.

Maps never leave the device: 12 x 12 heads at 1500 positions are 1.3 GB per utterance.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh as DeviceMesh

from sat_jax.errors import InputError
from sat_jax.mesh import by_device, place_batch, replicated
from sat_jax.model.mockingjay import stack_frames
from sat_jax.trace.capture import capture

Featurise = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]
MeasureMaps = Callable[[jax.Array, jax.Array], Mapping[str, jax.Array]]
Reduce = Callable[[Any, jax.Array, jax.Array, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]


def reduce_maps(
    model: nn.Module, featurise: Featurise, measure: MeasureMaps, mesh: DeviceMesh
) -> Reduce:
    """A jitted function of params, audio (B, N), lengths (B,) in samples and indices (B,).

    `measure` maps one layer's probs (B, H, T, T) and valid (B, T) to named arrays (B, H); the
    result stacks them over layers, (B, L, H), on every device, behind the indices of all rows.
    """
    hear = by_device(featurise, mesh)

    def step(
        params: Any, audio: jax.Array, lengths: jax.Array, index: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        inputs, _, frames = hear(audio, lengths)
        stacked, valid = stack_frames(inputs, frames, model.config.stack)
        trace = capture(model, params, stacked, valid)
        layers = [measure(probs, valid) for probs in trace.probs]
        names = layers[0].keys()
        return index, {name: jnp.stack([layer[name] for layer in layers], 1) for name in names}

    return jax.jit(step, out_shardings=replicated(mesh))


def stream(
    step: Reduce,
    params: Any,
    batches: Iterable[Any],
    mesh: DeviceMesh,
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Utterance indices (B,) and reduced arrays (B, ...) batch by batch; filler rows are dropped.

    Batches have `audio` (B, N), `lengths` (B,) and `index` (B,), -1 in a filler row. With several
    processes each brings its own rows and gets those of all.
    """
    for batch in batches:
        placed = place_batch((batch.audio, batch.lengths, batch.index), mesh)
        rows, reduced = step(params, *placed)
        index = np.asarray(rows)
        kept = index >= 0
        yield index[kept], {name: np.asarray(values)[kept] for name, values in reduced.items()}


def require_finite(name: str, values: Mapping[str, np.ndarray], ids: Sequence[str]) -> None:
    """Raise `InputError` naming model, measure, utterance and head where a value is not finite."""
    for measure, array in values.items():
        if not np.isfinite(array).all():
            utterance, layer, head = np.argwhere(~np.isfinite(array))[0]
            raise InputError(
                f"{name}: {measure} of utterance {ids[utterance]} is not finite at layer "
                f"{layer + 1}, head {head + 1}: the checkpoint has diverged; give another --step"
            )


def collect(
    parts: Iterable[tuple[np.ndarray, dict[str, np.ndarray]]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All parts of a stream as one, in the order of the utterances: (U,) and name to (U, ...)."""
    indices, values = zip(*parts, strict=True)
    index = np.concatenate(indices)
    order = np.argsort(index)
    return index[order], {
        name: np.concatenate([part[name] for part in values])[order] for name in values[0]
    }
