"""Models and utterances in; the states of all of their layers at the same times out.

Where positions of models lie differently in time they are taken on the coarsest grid: of a finer
model, the position whose centre is nearest.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax.features import batches, buckets
from sat_jax.grid import Grid
from sat_jax.mesh import by_device, place_batch, replicated
from sat_jax.model.build import Spec
from sat_jax.study.passes import BUDGET
from sat_jax.trace.capture import capture


class Heard(NamedTuple):
    """One of the models that are compared."""

    name: str
    module: Any
    params: Any
    spec: Spec

    @property
    def layers(self) -> int:
        """Its states: the first layer's input, and every layer's output."""
        return self.spec.layers + 1


def states_of(
    models: Sequence[Heard], split: Any, grid: Grid, size: int, devices: DeviceMesh
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Utterance by utterance its number and the states (T, D) of all layers at the same times."""
    longest = min(model.spec.grid.samples(model.spec.longest) for model in models)
    most = int(grid.positions(longest)) * grid.frames
    edges = buckets.bucket_edges(np.asarray(split.lengths), most, 2, grid)
    positions = max(model.spec.grid.positions(grid.frame_samples(edges[-1])) for model in models)
    width = sum(model.layers * model.spec.width for model in models)
    fit = max(BUDGET // (4 * width * int(positions)), 1)
    size = max(min(size, fit // devices.size * devices.size), devices.size)
    traces = [states_fn(model.module, devices) for model in models]
    quiet = {"skip_short": True, "say": lambda _: None}
    for batch in batches.eval_batches(split, edges, size, grid, **quiet):
        placed = place_batch((batch.audio, batch.lengths), devices)
        states = [
            [np.asarray(each) for each in trace(model.params, *placed)]
            for model, trace in zip(models, traces, strict=True)
        ]
        for row, number in enumerate(batch.index):
            if number < 0:
                continue
            count = min(
                int(grid.positions(batch.lengths[row])),
                *(shared_positions(grid, m.spec.grid, batch.lengths[row]) for m in models),
            )
            if count:
                yield (
                    int(number),
                    [
                        each[row, nearest(grid, model.spec.grid, count)]
                        for model, layers in zip(models, states, strict=True)
                        for each in layers
                    ],
                )


def states_fn(module: Any, devices: DeviceMesh) -> Any:
    """A jitted function of params, audio (B, N) and lengths (B,) to all states (B, T, D)."""
    prepare = by_device(module.prepare, devices)

    def states(params: Any, audio: jax.Array, lengths: jax.Array) -> tuple[jax.Array, ...]:
        return capture(module, params, *prepare(audio, lengths)).hidden

    return jax.jit(states, out_shardings=replicated(devices))


def nearest(coarse: Grid, fine: Grid, count: int) -> np.ndarray:
    """The positions of `fine` whose centres are nearest to the first `count` ones of `coarse`."""
    centres = coarse.centre(np.arange(count))
    found = np.rint((centres - fine.centre(0)) / fine.stride).astype(np.int64)
    return np.maximum(found, 0)


def shared_positions(coarse: Grid, fine: Grid, samples: int) -> int:
    """How many of the first positions of `coarse` have a nearest one of `fine` in such audio."""
    count = int(coarse.positions(int(samples)))
    return int((nearest(coarse, fine, count) < fine.positions(int(samples))).sum())
