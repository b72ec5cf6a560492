"""Passes over speech that tune and count phone boundaries for many candidates at once.

A candidate is a source of feature rows: a head's attention, a layer's states, MFCC, log-mel. Each
gets the same search: alpha over multiples of its own mean distance and beta over the same values,
then once more around the best; the best R-value on the tuning utterances wins.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sat_jax.analysis import segmentation
from sat_jax.analysis.segment_score import (
    half_frame_times,
    reference_boundaries,
    score,
    targets,
)
from sat_jax.features import frontend
from sat_jax.grid import Grid
from sat_jax.mesh import by_device
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.passes import run_pass
from sat_jax.trace import reduce
from sat_jax.trace.capture import Trace

ALPHAS = 2.0 ** np.linspace(-3.0, 2.0, 4)
"""Multiples of the mean distance that alpha is searched over."""
BETAS = np.linspace(0.5, 1.35, 6)
FINE_ALPHAS = 2.0 ** np.linspace(-0.9, 0.9, len(ALPHAS))
"""Multiples of the best alpha, and below, additions to the best beta, in the second search."""
FINE_BETAS = np.linspace(-0.12, 0.12, len(BETAS))
CURVE = 2.0 ** np.linspace(-1.0, 0.6, 25)
"""Multiples of the tuned beta along a precision-recall curve."""
SPECTRAL = {
    "MFCC": {"input": "mfcc", "normalize": False},
    "MFCC, CMVN": {"input": "mfcc", "normalize": True},
    "log-mel": {"input": "log_mel", "normalize": False},
    "log-mel, CMVN": {"input": "log_mel", "normalize": True},
}
"""Spectral candidates, as changes of the run's features."""


class Source(NamedTuple):
    """Where candidates' rows come from."""

    trace_fn: reduce.TraceFn
    rows: Callable[[Any], tuple[Sequence[jax.Array], jax.Array]]
    """What is seen to rows, a list of (B, C, T, F), and valid (B, T)."""
    grid: Grid
    """Where rows lie in audio."""
    frames: Callable[[int], int]
    """How many frames its rows stand for in so many samples."""


class Chosen(NamedTuple):
    """One candidate of a source: which group of rows, and which of the group."""

    group: int
    member: int


class Tuned(NamedTuple):
    """The parameters that fit each of C candidates best."""

    alpha: np.ndarray
    beta: np.ndarray
    r: np.ndarray
    """R-value on the tuning utterances."""


def plain_source(loaded: LoadedRun) -> Source:
    """Attention rows of all unpruned heads, layer by layer, then the hidden states 0 to L."""
    grid = loaded.model.spec.grid
    return Source(loaded.passes.trace_fn, rows_of_trace, grid, grid.whole_frames)


def rows_of_trace(trace: Trace) -> tuple[list[jax.Array], jax.Array]:
    """Maps (B, C, T, T) of every layer's C heads, 0 of them where all were pruned; then states.

    States are (B, 1, T, D); beside both valid (B, T).
    """
    b, t = trace.valid.shape
    maps = [jnp.zeros((b, 0, t, t)) if each is None else each for each in trace.probs]
    return [*maps, *(states[:, None] for states in trace.hidden)], trace.valid


def model_source(loaded: LoadedRun) -> Source:
    """The candidates of `plain_source` as the analysis wants their rows."""
    grid, layers = loaded.model.spec.grid, loaded.model.spec.layers
    plain = plain_source(loaded)

    def rows(trace: Trace) -> tuple[list[jax.Array], jax.Array]:
        groups, valid = plain.rows(trace)
        if loaded.analysis.segment_rows == "sqrt":
            groups = [*(jnp.sqrt(maps) for maps in groups[:layers]), *groups[layers:]]
        return groups, valid

    if not loaded.analysis.segment_shifts or grid.frames == 1:
        return Source(loaded.passes.trace_fn, rows, grid, grid.whole_frames)
    return Source(
        shifted(loaded),
        lambda traces: interleaved([rows(t) for t in traces]),
        Grid(grid.hop, grid.window, reach=grid.reach),
        grid.whole_frames,
    )


def shifted(loaded: LoadedRun) -> reduce.TraceFn:
    """Traces of the same audio, each one frame later than the one before, as many as a position."""
    hop, stack = loaded.model.spec.grid.hop, loaded.model.spec.grid.frames

    def trace_fn(params: Any, audio: jax.Array, lengths: jax.Array) -> list[Trace]:
        later = [
            (jnp.pad(audio[:, shift * hop :], ((0, 0), (0, shift * hop))), shift * hop)
            for shift in range(stack)
        ]
        return [
            loaded.passes.trace_fn(params, shifted, jnp.maximum(lengths - samples, 0))
            for shifted, samples in later
        ]

    return jax.jit(trace_fn)


def interleaved(
    passes: Sequence[tuple[list[jax.Array], jax.Array]],
) -> tuple[list[jax.Array], jax.Array]:
    """Rows of shifted passes in turn, (B, C, T * passes, F), and which are real.

    A later pass has as many positions as an earlier one or one less, so that real rows come first.
    """
    groups = [jnp.stack(group, 3) for group in zip(*(rows for rows, _ in passes), strict=True)]
    joined = [group.reshape(*group.shape[:2], -1, group.shape[-1]) for group in groups]
    valid = jnp.stack([valid for _, valid in passes], -1)
    return joined, valid.reshape(len(valid), -1)


def only(source: Source, chosen: Sequence[Chosen]) -> Source:
    """A source of a few of its candidates."""

    def rows(seen: Any) -> tuple[list[jax.Array], jax.Array]:
        groups, valid = source.rows(seen)
        return [groups[g][:, m : m + 1] for g, m in chosen], valid

    return source._replace(rows=rows)


def spectral_source(loaded: LoadedRun) -> Source:
    """The features of `SPECTRAL`, frame by frame, on what the model's positions cover as well."""
    features, covered = loaded.config.features, loaded.model.spec.grid.covered
    grid = frontend.frame_grid(features)
    kinds = [dataclasses.replace(features, deltas=0, **change) for change in SPECTRAL.values()]

    def featurized(audio: jax.Array, lengths: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        spectra = [frontend.featurize(audio, lengths, kind) for kind in kinds]
        total = grid.positions(covered(audio.shape[1]))
        valid = grid.valid(covered(lengths), total)
        return [rows[:, None, :total] for rows, *_ in spectra], valid

    local = by_device(featurized, loaded.passes.devices)
    trace_fn = jax.jit(lambda _, audio, lengths: local(audio, lengths))
    return Source(
        trace_fn, lambda seen: seen, grid, lambda samples: grid.positions(covered(samples))
    )


class Segmenter(NamedTuple):
    """The two compiled passes of a source."""

    source: Source
    distances: reduce.Reduce
    counts: reduce.Reduce


def segmenter(source: Source, loaded: LoadedRun) -> Segmenter:
    """Passes that give mean distances (B, C), and counts (B, C, A, G, 2) for settings.

    The settings of the second are alpha (C, A) and beta (C, A, G), its further row the targets.
    """
    devices = loaded.passes.devices

    def distances(rows: Sequence[jax.Array], valid: jax.Array) -> jax.Array:
        """(C, B, T, T), one map after the other, which on a CPU keeps it in cache."""

        def candidate(maps: jax.Array) -> jax.Array:
            return lax.map(lambda each: segmentation.distances(*each), (maps, valid))

        return jnp.concatenate([lax.map(candidate, group.swapaxes(0, 1)) for group in rows])

    def means(rows: Sequence[jax.Array], valid: jax.Array) -> jax.Array:
        mean = jax.vmap(jax.vmap(segmentation.mean_distance), (0, None))
        return mean(distances(rows, valid), valid).T

    def counts(
        settings: tuple[jax.Array, jax.Array],
        rows: Sequence[jax.Array],
        valid: jax.Array,
        target: jax.Array,
    ) -> jax.Array:
        def candidate(of: tuple[jax.Array, ...]) -> jax.Array:
            apart, alpha, beta = of
            return lax.map(
                lambda row: segmentation.boundary_counts(*row, alpha, beta, source.grid.frames),
                (apart, valid, target),
            )

        return lax.map(candidate, (distances(rows, valid), *settings)).swapaxes(0, 1)

    def measure_distances(seen: Any, _: Any) -> dict[str, jax.Array]:
        return {"distance": by_device(means, devices)(*source.rows(seen))}

    def measure_counts(seen: Any, settings: Any, target: jax.Array) -> dict[str, jax.Array]:
        local = by_device(counts, devices, whole=1)
        return {"counts": local(settings, *source.rows(seen), target)}

    return Segmenter(
        source,
        reduce.reducer(source.trace_fn, measure_distances, devices),
        reduce.reducer(source.trace_fn, measure_counts, devices),
    )


def references(loaded: LoadedRun, split: Any) -> list[np.ndarray]:
    """Reference boundaries of every utterance within the frames that are analysed, in samples."""
    spec = loaded.model.spec
    known = []
    for i, samples in enumerate(split.lengths.tolist()):
        end = min(spec.grid.covered(samples), spec.grid.samples(spec.longest))
        boundaries = reference_boundaries(split[i].phones, samples, split.ids[i])
        known.append(boundaries[boundaries < end])
    return known


def first_time(source: Source) -> float:
    """Samples from the start of an utterance to the centre of the first frame of a source."""
    return source.grid.frame_window / 2 - source.grid.reach


def target_rows(
    source: Source, known: Sequence[np.ndarray]
) -> Callable[[Any], tuple[np.ndarray, ...]]:
    """For every row of a batch, the reference that a boundary at each half frame would hit."""

    def rows(batch: Any) -> tuple[np.ndarray, ...]:
        frames = source.frames(batch.audio.shape[1])
        times = half_frame_times(frames, first_time(source), source.grid.hop)
        none = np.zeros(0, np.int32)
        return (np.stack([targets(known[i] if i >= 0 else none, times) for i in batch.index]),)

    return rows


def tune(
    loaded: LoadedRun, title: str, segment: Segmenter, params: Any, split: Any, known: Sequence
) -> Tuned:
    """Alpha and beta of the best R-value of every candidate on a split, by two searches."""
    total = sum(len(boundaries) for boundaries in known)
    rows = target_rows(segment.source, known)
    parts = run_pass(loaded.passes, f"{title}: distances", segment.distances, params, split)
    scale = reduce.collect(parts)[1]["distance"].mean(0)
    alpha = np.maximum(scale, np.finfo(np.float32).tiny)[:, None] * ALPHAS
    beta = np.broadcast_to(BETAS, (*alpha.shape, len(BETAS)))
    for name in ("first search", "second search"):
        settings = alpha.astype(np.float32), beta.astype(np.float32)
        parts = run_pass(
            loaded.passes, f"{title}: {name}", segment.counts, params, split, settings, rows
        )
        counts = sum(values["counts"].sum(0, dtype=np.int64) for _, values in parts)
        r = score(counts[..., 0], counts[..., 1], total)["r"]
        flat = r.reshape(len(r), -1)
        place = np.unravel_index(flat.argmax(1), r.shape[1:])
        every = np.arange(len(r))
        best = Tuned(alpha[every, place[0]], beta[every, *place], flat.max(1))
        alpha = best.alpha[:, None] * FINE_ALPHAS
        beta = np.broadcast_to(
            (best.beta[:, None] + FINE_BETAS)[:, None], (*alpha.shape, len(FINE_BETAS))
        )
    return best


def count_boundaries(
    loaded: LoadedRun,
    title: str,
    segment: Segmenter,
    params: Any,
    split: Any,
    known: Sequence[np.ndarray],
    tuned: Tuned,
    curve: Sequence[float] = (1.0,),
) -> np.ndarray:
    """Hits and predictions (U, C, G, 2) with the tuned beta multiplied by each of `curve` (G,)."""
    beta = tuned.beta[:, None, None] * np.asarray(curve)
    parts = run_pass(
        loaded.passes,
        title,
        segment.counts,
        params,
        split,
        (tuned.alpha[:, None].astype(np.float32), beta.astype(np.float32)),
        target_rows(segment.source, known),
    )
    return reduce.collect(parts)[1]["counts"][:, :, 0]
