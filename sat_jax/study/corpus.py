"""A run's config and what to analyse in, the utterances to analyse out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from sat_jax.address import in_one_store, origin_of, shown
from sat_jax.audio import dataset
from sat_jax.audio.corpora import CORPORA
from sat_jax.audio.prepared import open_split, spread, take
from sat_jax.config import Analysis, Config, Corpus
from sat_jax.errors import InputError
from sat_jax.grid import Grid


class AnalysedCorpus(NamedTuple):
    """Utterances of one corpus."""

    split: Any
    """Those that are analysed."""
    tuning: Any
    """Labelled ones, apart from these, on which parameters may be tuned; None if none."""


def open_corpus(
    run: Path, config: Config, analysis: Analysis, say: Callable[[str], None]
) -> tuple[AnalysedCorpus, Path]:
    """What is analysed, prepared where it was not yet, and the directory for the results."""
    corpus, out = chosen_corpus(run, config, analysis)
    if jax.process_index() == 0:
        dataset.prepare(corpus, say)
    multihost_utils.sync_global_devices("data")
    split = spread(open_split(dataset.receive(corpus), analysis.split), analysis.max_utterances)
    say(f"{run}: the {split.name} split, {len(split)} utterances")
    return AnalysedCorpus(split, open_tuning(config, split, analysis.tune_utterances)), out


def chosen_corpus(run: Path, config: Config, analysis: Analysis) -> tuple[Corpus, Path]:
    """The corpus that is asked for, or the run's own, and the directory for the results."""
    corpus, out = analysis.corpus, analysis.out
    if not corpus.kind:
        if corpus.path is not None:
            raise InputError(
                f"corpus.path is {corpus.path}: say how to read it with --corpus.kind, one of "
                f"{', '.join(kind for kind in CORPORA if kind != 'talker')}"
            )
        require_own_directory(run, config.corpus, analysis.corpus.data_dir)
        return config.corpus, out or run
    name = corpus.path.resolve().name if corpus.path else corpus.kind
    return corpus, out or run / f"on-{name}"


def require_own_directory(run: Path, corpus: Corpus, given: Path) -> None:
    """Raise `InputError` where a run's config would have a corpus prepared where it pleases.

    The run may be somebody else's. A corpus that is prepared there is read, and fetched from the
    bucket that the run was fetched from; to prepare it there, the directory has to be `given`.
    """
    prepared = (dataset.directory_of(corpus) / "corpus.json").exists()
    if not prepared and in_one_store(origin_of(run), corpus.data_dir):
        prepared = dataset.fetch(corpus)
    if not prepared and corpus.data_dir.resolve() != given.resolve():
        had = shown(corpus.data_dir)
        raise InputError(
            f"{run}/config.json: its corpus is not prepared in {had}, where the run had it: give "
            f"--corpus.data-dir {had} to prepare it there"
        )


def long_enough(grid: Grid, split: Any) -> Any:
    """The utterances of a split that fill at least one position."""
    return take(split, np.flatnonzero(grid.positions(split.lengths.astype(np.int64)) > 0))


def open_tuning(config: Config, split: Any, most: int) -> Any:
    """Utterances with phones to tune parameters on before they are tested on `split`.

    The validation split of the corpus that is analysed, where its test split is; else that of the
    corpus that the model was trained on. None where there is neither.
    """
    own = dataset.directory_of(config.corpus)
    if not split.phone_names:
        return None
    if split.name == "test":
        return spread(open_split(split.directory, "valid"), most)
    if split.directory == own or not (own / "corpus.json").exists():
        return None
    tuning = open_split(own, "valid")
    return spread(tuning, most) if tuning.phone_names else None
