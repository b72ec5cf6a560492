"""A run directory and what to analyse in; its checkpoints, corpus and batches out."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh as DeviceMesh
from rich.console import Console
from rich.progress import track

from sat_jax import mesh
from sat_jax.audio import dataset
from sat_jax.config import Analysis, Config, Mesh
from sat_jax.config.json import read_config
from sat_jax.errors import InputError
from sat_jax.features import batches, buckets
from sat_jax.model.build import Spec, build_model, spec_of
from sat_jax.shapes import SAMPLE_RATE, Grid
from sat_jax.trace import reduce
from sat_jax.trace.load import load_model

BUDGET = 2**30
"""Bytes that the maps of all layers of one batch, and what follows from them, may take."""


class Checkpoint(NamedTuple):
    """Parameters of a run at one step."""

    name: str
    """As it stands over figures."""
    end: str
    """What its file names end with: nothing for the trained model."""
    params: Any


class LoadedRun(NamedTuple):
    """A run, opened to be analysed."""

    run: Path
    out: Path
    """Where results go."""
    config: Config
    spec: Spec
    """What studies know of the model."""
    analysis: Analysis
    module: Any
    """The model with unrolled layers."""
    checkpoints: tuple[Checkpoint, ...]
    """The trained model, then the untrained one."""
    split: Any
    """The utterances that are analysed."""
    tuning: Any
    """Labelled utterances, apart from these, on which parameters may be tuned; None if none."""
    edges: tuple[int, ...]
    """Static lengths in frames that all passes share, and with them their compilations."""
    size: int
    """Utterances at a time, in all passes."""
    devices: DeviceMesh
    trace_fn: reduce.TraceFn
    """What a checkpoint shows of a batch; for `reduce.reducer`."""
    say: Callable[[str], None]

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return jax.process_index() == 0


def open_run(run: Path, analysis: Analysis) -> LoadedRun:
    """Everything about a run that a study needs; raises `InputError` for what is not there."""
    config = read_config(run / "config.json")
    rows = jax.device_count()
    analysis = dataclasses.replace(analysis, batch_size=-(-analysis.batch_size // rows) * rows)
    devices = mesh.build_mesh(Mesh(), analysis.batch_size)
    say = print if jax.process_index() == 0 else lambda *_: None
    module, checkpoints = load(run, config, analysis.step, devices)
    split, out = open_corpus(run, config, analysis, say)
    tuning = open_tuning(config, split, analysis.tune_utterances)
    spec = spec_of(config)
    if not spec.head_mask.any():
        raise InputError(f"{run}: all of its heads are pruned, so there is nothing to analyse")
    edges = edges_of(spec, split, tuning, analysis.buckets)
    size = rows_within(spec, analysis, edges[-1], devices.size)
    trace_fn = reduce.make_trace_fn(module, devices)
    return LoadedRun(
        run,
        out,
        config,
        spec,
        analysis,
        module,
        checkpoints,
        split,
        tuning,
        edges,
        size,
        devices,
        trace_fn,
        say,
    )


def load(
    run: Path, config: Config, step: int | None, devices: DeviceMesh
) -> tuple[Any, tuple[Checkpoint, ...]]:
    """The model, and its parameters at `step` (None: the latest) and at step 0."""
    module = build_model(config)
    found, unrolled, trained = load_model(run / "ckpt", step, module, devices)
    _, _, untrained = load_model(run / "ckpt", 0, module, devices)
    return unrolled, (
        Checkpoint(f"{config.name} (step {found})", "", trained),
        Checkpoint(f"{config.name} untrained", "_untrained", untrained),
    )


def open_corpus(
    run: Path, config: Config, analysis: Analysis, say: Callable[[str], None]
) -> tuple[Any, Path]:
    """The split that is analysed and the directory for its results."""
    corpus, out = analysis.corpus, analysis.out
    if not corpus.kind:
        if corpus.path is not None:
            raise InputError(
                f"corpus.path is {corpus.path}: say how to read it with --corpus.kind, one of "
                "librispeech, timit, folder"
            )
        corpus, out = config.corpus, out or run
    elif out is None:
        name = corpus.path.resolve().name if corpus.path else corpus.kind
        out = run / f"on-{name}"
    if jax.process_index() == 0:
        dataset.prepare(corpus, say)
    multihost_utils.sync_global_devices("data")
    split = spread(
        dataset.open_split(dataset.directory_of(corpus), analysis.split), analysis.max_utterances
    )
    say(f"{run}: the {split.name} split, {len(split)} utterances")
    return split, out


def spread(split: Any, most: int) -> Any:
    """At most so many utterances of a split, evenly spread over it; 0 is all."""
    if not 0 < most < len(split):
        return split
    return dataset.take(split, np.linspace(0, len(split) - 1, most).round().astype(int))


def long_enough(grid: Grid, split: Any) -> Any:
    """The utterances of a split that fill at least one position."""
    return dataset.take(split, np.flatnonzero(grid.positions(split.lengths.astype(np.int64)) > 0))


def open_tuning(config: Config, split: Any, most: int) -> Any:
    """Utterances with phones to tune parameters on before they are tested on `split`.

    The validation split of the corpus that is analysed, where its test split is; else that of the
    corpus that the model was trained on. None where there is neither.
    """
    own = dataset.directory_of(config.corpus)
    if not split.phone_names:
        return None
    if split.name == "test":
        return spread(dataset.open_split(split.directory, "valid"), most)
    if split.directory == own or not (own / "corpus.json").exists():
        return None
    tuning = dataset.open_split(own, "valid")
    return spread(tuning, most) if tuning.phone_names else None


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


def passed(
    loaded: LoadedRun,
    title: str,
    step: reduce.Reduce,
    params: Any,
    split: Any,
    settings: Any = None,
    rows_of: Callable[[Any], tuple[np.ndarray, ...]] = lambda batch: (),
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[reduce.Part]:
    """One pass of `step` over a split with a progress bar; parts as `reduce.stream` yields them."""
    size = loaded.size
    process = jax.process_index(), jax.process_count()
    read = batches.eval_batches(
        split,
        loaded.edges,
        size,
        loaded.spec.grid,
        *process,
        skip_short=True,
        say=say,
    )
    console = Console(stderr=True)
    return track(
        reduce.stream(step, params, read, loaded.devices, settings, rows_of),
        description=title,
        total=-(-len(split) // size),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def describe(loaded: LoadedRun) -> str:
    """What was trained, and what it was analysed on, for the head of the report."""
    spec, split = loaded.spec, loaded.split
    hours = split.lengths.sum() / SAMPLE_RATE / 3600
    spacing = f"{spec.grid.frames} frames per position"
    if spec.grid.frames == 1:
        spacing = f"a position every {1000 * spec.grid.seconds:g} ms"
    phones = f"; phones: {split.phone_source}" if split.phone_source else ""
    return (
        f"{loaded.config.name}: {spec.layers} layers of {spec.heads} heads, width {spec.width}, "
        f"{spacing}{', ' * bool(spec.trained_for)}{spec.trained_for}. "
        f"Analysed on {len(split)} utterances ({hours:.2f} h) of the {split.name} split of "
        f"{split.directory.name}{phones}."
    )
