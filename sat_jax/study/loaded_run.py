"""A run directory and what to analyse in; its model, its corpus and the passes over it out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from sat_jax import exchange, mesh
from sat_jax.config import Analysis, Config, Mesh
from sat_jax.config.json import read_config
from sat_jax.figures import style
from sat_jax.grid import SAMPLE_RATE
from sat_jax.study.corpus import AnalysedCorpus, open_corpus
from sat_jax.study.loaded_model import LoadedModel, on_devices, open_model
from sat_jax.study.passes import Passes, open_passes


class LoadedRun(NamedTuple):
    """A run, opened to be analysed."""

    directory: Path
    out: Path
    """Where results go."""
    config: Config
    analysis: Analysis
    model: LoadedModel
    corpus: AnalysedCorpus
    passes: Passes
    say: Callable[[str], None]
    save_figure: Callable[..., Any] = style.save
    """What saves a figure, called as `style.save` is."""

    @property
    def is_leader(self) -> bool:
        """Whether this process is the one that writes."""
        return jax.process_index() == 0


def open_run(run: Path, analysis: Analysis) -> LoadedRun:
    """Everything about a run that a study needs; raises `InputError` for what is not there."""
    config = exchange.from_leader(lambda: read_config(run / "config.json"))
    rows = jax.device_count()
    analysis = dataclasses.replace(analysis, batch_size=-(-analysis.batch_size // rows) * rows)
    devices = mesh.build_mesh(Mesh(), analysis.batch_size)
    say = print if jax.process_index() == 0 else lambda *_: None
    model = open_model(run, config, analysis.step, devices)
    corpus, out = open_corpus(run, config, analysis, say)
    passes = open_passes(model, corpus, analysis, devices)
    return LoadedRun(run, out, config, analysis, model, corpus, passes, say)


def alone(loaded: LoadedRun) -> LoadedRun:
    """The same run on the devices of this process only; nothing is computed or copied.

    For studies whose work processes share out, each computing its part without the others.
    """
    if jax.process_count() == 1:
        return loaded
    devices = mesh.own_devices()
    model = on_devices(loaded.model, devices)
    passes = open_passes(model, loaded.corpus, loaded.analysis, devices)
    return loaded._replace(model=model, passes=passes)


def describe(loaded: LoadedRun) -> str:
    """What was trained, and what it was analysed on, for the head of the report."""
    spec, split = loaded.model.spec, loaded.corpus.split
    hours = split.lengths.sum() / SAMPLE_RATE / 3600
    spacing = f"{spec.grid.frames} frames per position"
    if spec.grid.frames == 1:
        spacing = f"a position every {1000 * spec.grid.seconds:g} ms"
    phones = f"; phones: {split.phone_source}" if split.phone_source else ""
    return (
        f"{loaded.model.name}: {spec.layers} layers of {spec.heads} heads, width {spec.width}, "
        f"{spacing}{', ' * bool(spec.trained_for)}{spec.trained_for}. "
        f"Analysed on {len(split)} utterances ({hours:.2f} h) of the {split.name} split of "
        f"{split.directory.name}{phones}."
    )
