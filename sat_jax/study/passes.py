"""A model and a corpus in, passes over the corpus with the same few compilations out."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh as DeviceMesh
from rich.console import Console
from rich.progress import track

from sat_jax.config import Analysis
from sat_jax.features import batches, buckets
from sat_jax.grid import Grid
from sat_jax.model.build import Spec
from sat_jax.study.corpus import AnalysedCorpus
from sat_jax.study.loaded_model import LoadedModel
from sat_jax.trace import reduce

BUDGET = 2**30
"""Bytes that the maps of all layers of one batch, and what follows from them, may take."""


class Passes(NamedTuple):
    """What all passes share, and with it their compilations."""

    grid: Grid
    edges: tuple[int, ...]
    """Static lengths in frames."""
    size: int
    """Utterances at a time."""
    devices: DeviceMesh
    trace_fn: reduce.TraceFn
    """Parameters and a batch to its trace; for `reduce.reducer`."""


def open_passes(
    model: LoadedModel, corpus: AnalysedCorpus, analysis: Analysis, devices: DeviceMesh
) -> Passes:
    """Passes over a corpus in batches whose maps fit `BUDGET`."""
    spec = model.spec
    edges = edges_of(spec, corpus.split, corpus.tuning, analysis.buckets)
    size = rows_within(spec, analysis, edges[-1], devices.size)
    return Passes(spec.grid, edges, size, devices, reduce.make_trace_fn(model.module, devices))


def edges_of(spec: Spec, split: Any, tuning: Any, most: int) -> tuple[int, ...]:
    """At most `most` static lengths in frames, up to what the positions of training cover."""
    lengths = [each.lengths for each in (split, tuning) if each is not None]
    return buckets.bucket_edges(np.concatenate(lengths), spec.frames, most, spec.grid)


def rows_within(spec: Spec, analysis: Analysis, frames: int, devices: int) -> int:
    """Utterances at a time so that all maps, and one more array of their size, fit `BUDGET`.

    At most the analysis's batch size, at least one for every device.
    """
    maps = 2 * (spec.layers * spec.heads + spec.layers + 1)
    if analysis.segment_shifts:
        maps *= spec.grid.frames**2
    fit = BUDGET // (4 * maps * (frames // spec.grid.frames) ** 2)
    return max(min(analysis.batch_size, fit // devices * devices), devices)


def run_pass(
    passes: Passes,
    title: str,
    step: reduce.Reduce,
    params: Any,
    split: Any,
    settings: Any = None,
    rows_of: Callable[[Any], tuple[np.ndarray, ...]] = lambda batch: (),
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[reduce.Part]:
    """One pass of `step` over a split with a progress bar; parts as `reduce.stream` yields them."""
    read = batches.eval_batches(
        split,
        passes.edges,
        passes.size,
        passes.grid,
        jax.process_index(),
        jax.process_count(),
        skip_short=True,
        say=say,
    )
    console = Console(stderr=True)
    return track(
        reduce.stream(step, params, read, passes.devices, settings, rows_of),
        description=title,
        total=-(-len(split) // passes.size),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
