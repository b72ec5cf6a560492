"""See and measure the heads of a run: load, trace, measure, draw, report.

python analyze.py runs/toy
python analyze.py runs/toy --split all --corpus.kind folder --corpus.path recordings

Writes analysis/heads.csv, figures/*.png and *.pdf, trace/*.npz and report.html into the run.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from sat_jax.command_line import guarded, parse
from sat_jax.config import Analysis, Config, Mesh
from sat_jax.errors import InputError
from sat_jax.launch import relaunch


def parse_arguments() -> tuple[tuple[Path, ...], Analysis]:
    """The runs and what to do with them, as the command line says."""
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
        """Run directories that train.py made."""
        analysis: Annotated[Analysis, tyro.conf.arg(name="")] = dataclasses.field(
            default_factory=Analysis
        )

    arguments = parse(lambda: tyro.cli(Arguments, description=__doc__))
    if not arguments.runs:
        raise InputError("no run given: python analyze.py runs/toy")
    return arguments.runs, arguments.analysis


class Model(NamedTuple):
    """A run's model, ready to be traced, trained and untrained."""

    module: Any
    names: tuple[str, ...]
    checkpoints: tuple[Any, ...]


def main() -> None:
    """Analyse every run that was asked for."""
    runs, analysis = parse_arguments()

    from sat_jax import mesh

    mesh.join_cluster(analysis.distributed)
    for run in runs:
        analyse(run, analysis)


def analyse(run: Path, analysis: Analysis) -> None:
    """One run, from the first part to the last."""
    import jax

    from sat_jax import mesh
    from sat_jax.config_json import read_config
    from sat_jax.figures import head_report, heads, maps, report, style, tables
    from sat_jax.figures.utterance import example_of
    from sat_jax.pretrain.log import read_metrics
    from sat_jax.trace import example, store

    # --- Load: the config, the trained and the untrained checkpoint, the corpus -----------------
    config = read_config(run / "config.json")
    rows = jax.device_count()
    analysis = dataclasses.replace(analysis, batch_size=-(-analysis.batch_size // rows) * rows)
    devices = mesh.build_mesh(Mesh(), analysis.batch_size)
    leader = jax.process_index() == 0
    say = print if leader else lambda *_: None
    model = load(run, config, analysis.step, devices)
    split, out = open_corpus(run, config, analysis, say)

    # --- Trace and measure: maps are reduced on the devices, one number per head is kept --------
    tables_of = measure(model, config, split, analysis, devices, say)
    shown = example.pick_utterance(split, analysis.utterance)
    samples = trace_shown(model, config, split[shown], devices)
    if not leader:
        return

    # --- Draw: every figure of the trained model beside that of the untrained one ---------------
    for end, table, sample in zip(("", "_untrained"), tables_of, samples, strict=True):
        drawn = example_of(*sample, split.phone_names, config.features.hop, config.model.stack)
        store.save_sample(out / "trace" / f"{sample.id.replace('/', '_')}{end}.npz", sample)
        tables.write_heads(out / "analysis" / f"heads{end}.csv", table)
        style.save(maps.gallery(drawn, table), out / "figures", f"gallery{end}")
        style.save(maps.all_heads(drawn, table), out / "figures", f"all_heads{end}")
        style.save(heads.rank_intervals(table), out / "figures", f"rank_intervals{end}")
    style.save(heads.head_distribution(tables_of), out / "figures", "head_distribution")
    style.save(heads.head_scatter(tables_of), out / "figures", "head_scatter")

    # --- Report ---------------------------------------------------------------------------------
    trained = head_report.training_summary(read_metrics(run / "metrics.jsonl"))
    summary = f"{describe(config, split)}\n\n{trained}"
    sections = head_report.sections(out, tables_of, summary, samples[0].audio)
    manifest = json.loads((run / "manifest.json").read_text())
    title = f"Heads of {config.name}"
    report.write_report(out / "report.html", title, sections, tables_of[0], manifest)
    say(f"report: {out / 'report.html'}")


def load(run: Path, config: Config, step: int | None, devices: Any) -> Model:
    """The checkpoint of `step` (None: the latest) and that of step 0, named for the figures."""
    from sat_jax.features.frontend import feature_width, target_width
    from sat_jax.model.mockingjay import build_model
    from sat_jax.trace.load import load_model

    features = config.features
    module, width = build_model(config, feature_width(features), target_width(features))
    directory = run / "ckpt"
    found, unrolled, trained = load_model(directory, step, module, width, devices)
    _, _, untrained = load_model(directory, 0, module, width, devices)
    names = (f"{config.name} (step {found})", f"{config.name} untrained")
    return Model(unrolled, names, (trained, untrained))


def open_corpus(run: Path, config: Config, analysis: Analysis, say: Any) -> tuple[Any, Path]:
    """The split that is analysed and the directory for its results."""
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    from sat_jax.audio import dataset

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
    split = dataset.open_split(dataset.directory_of(corpus), analysis.split)
    if 0 < analysis.max_utterances < len(split):
        spread = np.linspace(0, len(split) - 1, analysis.max_utterances).round().astype(int)
        split = dataset.take(split, spread)
    say(f"{run}: the {split.name} split, {len(split)} utterances")
    return split, out


def longest_frames(config: Config) -> int:
    """Frames that the positions visited in training cover: beyond them, maps mean nothing."""
    stack = config.model.stack
    visited = config.batches.max_frames // stack + config.objective.position_offset
    return min(visited, config.model.max_positions) * stack


def measure(
    model: Model, config: Config, split: Any, analysis: Analysis, devices: Any, say: Any
) -> list[Any]:
    """Every head metric over the split with its interval, a table for each checkpoint."""
    import jax
    from rich.console import Console
    from rich.progress import track

    from sat_jax.analysis.head_metrics import MEASURES, measure_heads
    from sat_jax.analysis.head_types import summarise
    from sat_jax.features import batches, buckets, frontend
    from sat_jax.figures.heads import HeadTable
    from sat_jax.trace import reduce

    features, stack = config.features, config.model.stack
    edges = buckets.bucket_edges(
        split.lengths, longest_frames(config), analysis.buckets, features, stack
    )
    read = functools.partial(
        batches.eval_batches,
        split,
        edges,
        analysis.batch_size,
        features,
        stack,
        jax.process_index(),
        jax.process_count(),
        skip_short=True,
    )
    featurise = functools.partial(frontend.featurise, features=features)
    step = reduce.reduce_maps(model.module, featurise, measure_heads, devices)
    console = Console(stderr=True)
    measured: list[HeadTable] = []
    for name, params in zip(model.names, model.checkpoints, strict=True):
        parts = track(
            reduce.stream(step, params, read(say=(lambda _: None) if measured else say), devices),
            description=name,
            total=-(-len(split) // analysis.batch_size),
            console=console,
            disable=not console.is_terminal,
        )
        index, values = reduce.collect(parts)
        say(f"{name}: measured on {len(index)} utterances")
        reduce.require_finite(name, values, [split.ids[i] for i in index])
        # A jitted function returns its dict sorted by name; tables follow the order of MEASURES.
        ordered = {measure: values[measure] for measure in MEASURES}
        summary = summarise(ordered, analysis.draws, analysis.seed)
        measured.append(HeadTable(name=name, utterances=len(index), **summary._asdict()))
    return measured


def trace_shown(model: Model, config: Config, utterance: Any, devices: Any) -> list[Any]:
    """The drawn utterance's maps for each checkpoint, cut to what training's positions cover."""
    from sat_jax.features import frontend
    from sat_jax.shapes import frame_count, sample_count
    from sat_jax.trace.example import trace_utterance

    features, stack = config.features, config.model.stack
    frames = frame_count(len(utterance.audio), features.window, features.hop)
    frames = min(frames - frames % stack, longest_frames(config))
    samples = sample_count(frames, features.window, features.hop)
    strip = dataclasses.replace(features, input="log_mel", deltas=0, normalize=False)
    featurise = functools.partial(frontend.featurise, features=features)
    return trace_utterance(
        model.module,
        model.checkpoints,
        utterance,
        samples,
        featurise,
        lambda audio, lengths: frontend.featurise(audio, lengths, strip)[0],
        devices,
    )


def describe(config: Config, split: Any) -> str:
    """What was trained, and what it was analysed on, for the head of the report."""
    from sat_jax.shapes import SAMPLE_RATE

    model = config.model
    hours = split.lengths.sum() / SAMPLE_RATE / 3600
    phones = f"; phones: {split.phone_source}" if split.phone_source else ""
    return (
        f"{config.name}: {model.layers} layers of {model.heads} heads, width {model.width}, "
        f"{model.stack} frames per position, spans of {config.objective.c_num} frames masked. "
        f"Analysed on {len(split)} utterances ({hours:.2f} h) of the {split.name} split of "
        f"{split.directory.name}{phones}."
    )


if __name__ == "__main__":
    relaunch()
    guarded(main)
