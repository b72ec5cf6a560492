"""A run and a few utterances in, the maps of every head on them out, with the boundaries found."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sat_jax.analysis import segmentation
from sat_jax.analysis.head_mask import in_place
from sat_jax.grid import SAMPLE_RATE
from sat_jax.mesh import by_device
from sat_jax.study.head_mask import joined_unpruned_maps
from sat_jax.study.loaded_model import Checkpoint
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.passes import run_pass
from sat_jax.trace import reduce
from sat_jax.trace.capture import Trace


class HeadBoundaries(NamedTuple):
    """How every head that is not pruned finds phone boundaries, as tuned by the segments study."""

    alpha: np.ndarray
    """(N,)."""
    beta: np.ndarray
    """(N,)."""
    roots: bool
    """Whether rows are square roots of attention."""


class UtteranceMaps(NamedTuple):
    """What one model does with one utterance."""

    maps: np.ndarray
    """(L, H, T, T) float16, NaN for pruned heads."""
    boundaries: list[np.ndarray] | None
    """Of the N heads that are not pruned, boundaries in seconds."""


def trace_maps(
    loaded: LoadedRun, checkpoint: Checkpoint, split: Any, tuned: HeadBoundaries | None
) -> dict[int, UtteranceMaps]:
    """The maps of a checkpoint on every utterance of a split that fills a position, by its index.

    An utterance that is longer than what the model's positions cover is cut at its end.
    """
    spec, devices = loaded.model.spec, loaded.passes.devices

    def measure_trace(trace: Trace, settings: Any) -> dict[str, jax.Array]:
        maps = joined_unpruned_maps(trace.probs)
        # Half precision keeps three digits, more than a byte on a log scale does.
        seen = {"maps": maps.astype(jnp.float16)}
        if settings is None:
            return seen
        rows = jnp.sqrt(maps) if tuned.roots else maps
        local = by_device(
            lambda s, *each: boundaries(*each, *s, spec.grid.frames), devices, whole=1
        )
        found, twice = local(settings, rows, trace.valid)
        return {**seen, "found": found, "twice": twice}

    settings = None if tuned is None else tuple(np.asarray(v, np.float32) for v in tuned[:2])
    step = reduce.reducer(loaded.passes.trace_fn, measure_trace, devices)
    parts = run_pass(
        loaded.passes, f"{checkpoint.name}: maps", step, checkpoint.params, split, settings
    )
    traced = {}
    for index, values in parts:
        for row, utterance in enumerate(index.tolist()):
            positions = min(spec.grid.positions(int(split.lengths[utterance])), spec.longest)
            maps = values["maps"][row, :, :positions, :positions]
            times = None
            if tuned is not None:
                frames = positions * spec.grid.frames
                times = [
                    seconds_of(loaded, each[:frames], place[:frames])
                    for each, place in zip(values["found"][row], values["twice"][row], strict=True)
                ]
            reduce.require_finite(
                checkpoint.name, {"attention": maps[None]}, [split.ids[utterance]], spec.head_mask
            )
            traced[utterance] = UtteranceMaps(in_place(maps, spec.head_mask), times)
    return traced


def boundaries(
    rows: jax.Array, valid: jax.Array, alpha: jax.Array, beta: jax.Array, stack: int
) -> tuple[jax.Array, jax.Array]:
    """Minima of the score S (B, N, frames) of rows (B, N, T, F), bool, and twice their frames.

    alpha and beta (N,); valid (B, T).
    """

    def head(of: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        row, real, a, b = of
        distance = segmentation.distances(row, real)
        mean = segmentation.mean_similarity(distance, real, a)
        limit = jnp.where(real, -a * jnp.log(b * mean), 0.0)[None]
        left, right = segmentation.nearest(distance, limit)
        return segmentation.minima(segmentation.overlap(left[0], right[0], stack))

    def utterance(of: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        maps, real = of
        return lax.map(head, (maps, jnp.broadcast_to(real, (len(maps), len(real))), alpha, beta))

    return lax.map(utterance, (rows, valid))


def seconds_of(loaded: LoadedRun, found: np.ndarray, twice: np.ndarray) -> np.ndarray:
    """Times of minima `found` at half of `twice` frames, both (frames,)."""
    grid = loaded.model.spec.grid
    first = grid.frame_window / 2 - grid.reach
    return (first + twice[found] * grid.hop / 2) / SAMPLE_RATE
