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
    """One checkpoint of a run, ready to be traced."""

    name: str
    module: Any
    params: Any


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
    from sat_jax.trace import store

    # --- Load: the config, the trained and the untrained checkpoint, the corpus -----------------
    config = read_config(run / "config.json")
    rows = jax.device_count()
    analysis = dataclasses.replace(analysis, batch_size=-(-analysis.batch_size // rows) * rows)
    devices = mesh.build_mesh(Mesh(), analysis.batch_size)
    leader = jax.process_index() == 0
    say = print if leader else lambda *_: None
    models = [load_model(run, config, step, devices) for step in (analysis.step, 0)]
    split, out = open_corpus(run, config, analysis, say)

    # --- Trace and measure: maps are reduced on the devices, one number per head is kept --------
    tables_of = [measure(model, config, split, analysis, devices, say) for model in models]
    shown = pick_utterance(split, analysis.utterance)
    samples = [trace_utterance(model, config, split, shown, devices) for model in models]
    if not leader:
        return

    # --- Draw: every figure of the trained model beside that of the untrained one ---------------
    for end, table, sample in zip(("", "_untrained"), tables_of, samples, strict=True):
        example = example_of(sample, config, split.phone_names)
        store.save_sample(out / "trace" / f"{sample.id.replace('/', '_')}{end}.npz", sample)
        tables.write_heads(out / "analysis" / f"heads{end}.csv", table)
        style.save(maps.gallery(example, table), out / "figures", f"gallery{end}")
        style.save(maps.all_heads(example, table), out / "figures", f"all_heads{end}")
        style.save(heads.rank_intervals(table), out / "figures", f"rank_intervals{end}")
    style.save(heads.head_distribution(tables_of), out / "figures", "head_distribution")
    style.save(heads.head_scatter(tables_of), out / "figures", "head_scatter")

    # --- Report ---------------------------------------------------------------------------------
    manifest = json.loads((run / "manifest.json").read_text())
    sections = head_report.sections(out, tables_of, describe(run, config, split), samples[0].audio)
    report.write_report(
        out / "report.html", f"Heads of {config.name}", sections, tables_of[0], manifest
    )
    say(f"report: {out / 'report.html'}")


def load_model(run: Path, config: Config, step: int | None, devices: Any) -> Model:
    """The checkpoint of `step` (None: the latest), whole on every device, layers unrolled."""
    import jax

    from sat_jax import checkpoint, mesh
    from sat_jax.features.frontend import feature_width, target_width
    from sat_jax.model.mockingjay import build_model, init_params
    from sat_jax.trace.capture import traceable

    module, width = build_model(
        config, feature_width(config.features), target_width(config.features)
    )
    shapes = jax.eval_shape(lambda key: init_params(key, module, width), jax.random.key(0))
    whole = mesh.replicated(devices)
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), shapes
    )
    found, params = checkpoint.restore_params(run / "ckpt", step, abstract)
    name = f"{config.name} (step {found})" if found else f"{config.name} untrained"
    return Model(name, *traceable(module, params))


def open_corpus(run: Path, config: Config, analysis: Analysis, say: Any) -> tuple[Any, Path]:
    """The split that is analysed and the directory for its results."""
    import jax
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
    return dataset.open_split(dataset.directory_of(corpus), analysis.split), out


def longest_frames(config: Config) -> int:
    """Frames that the positions visited in training cover: beyond them, maps mean nothing."""
    stack = config.model.stack
    visited = config.batches.max_frames // stack + config.objective.position_offset
    return min(visited, config.model.max_positions) * stack


def measure(
    model: Model, config: Config, split: Any, analysis: Analysis, devices: Any, say: Any
) -> Any:
    """Every head metric of a model over the split, with its bootstrap intervals."""
    import jax
    import numpy as np
    from rich.console import Console
    from rich.progress import track

    from sat_jax.analysis.head_metrics import measure_heads
    from sat_jax.analysis.head_types import summarise
    from sat_jax.features import batches, buckets, frontend
    from sat_jax.figures.heads import HeadTable
    from sat_jax.trace import reduce

    features, stack = config.features, config.model.stack
    edges = buckets.bucket_edges(
        split.lengths, longest_frames(config), analysis.buckets, features, stack
    )
    stream = batches.eval_batches(
        split,
        edges,
        analysis.batch_size,
        features,
        stack,
        jax.process_index(),
        jax.process_count(),
        skip_short=True,
        say=say,
    )
    featurise = functools.partial(frontend.featurise, features=features)
    step = reduce.reduce_maps(model.module, featurise, measure_heads, devices)
    console = Console(stderr=True)
    parts = track(
        reduce.stream(step, model.params, stream, devices),
        description=model.name,
        total=-(-len(split) // analysis.batch_size),
        console=console,
        disable=not console.is_terminal,
    )
    index, values = reduce.collect(parts)
    say(f"{model.name}: measured on {len(index)} utterances")
    broken = [name for name, array in values.items() if not np.isfinite(array).all()]
    if broken:
        bad = np.argwhere(~np.isfinite(values[broken[0]]))[0]
        raise InputError(
            f"{model.name}: {broken[0]} of utterance {split.ids[index[bad[0]]]} is not finite at "
            f"layer {bad[1] + 1}, head {bad[2] + 1}: the checkpoint has diverged; give --step"
        )
    summary = summarise(values, analysis.draws, analysis.seed)
    return HeadTable(name=model.name, utterances=len(index), **summary._asdict())


def pick_utterance(split: Any, wanted: str) -> int:
    """Index of the utterance to draw: the one asked for, or the one closest to three seconds."""
    import numpy as np

    from sat_jax.shapes import SAMPLE_RATE

    if wanted:
        if wanted not in split.ids:
            near = ", ".join(split.ids[:3])
            raise InputError(f"utterance {wanted} is not in the {split.name} split: try {near}")
        return split.ids.index(wanted)
    return int(np.argmin(np.abs(split.lengths - 3 * SAMPLE_RATE)))


def trace_utterance(model: Model, config: Config, split: Any, index: int, devices: Any) -> Any:
    """The raw maps of one utterance, without padding, and what there is to hear and see of it."""
    import jax
    import numpy as np

    from sat_jax import mesh
    from sat_jax.features.frontend import featurise
    from sat_jax.model.mockingjay import stack_frames
    from sat_jax.shapes import frame_count, sample_count
    from sat_jax.trace.capture import capture
    from sat_jax.trace.store import Sample

    features, stack = config.features, config.model.stack
    utterance = split[index]
    frames = min(
        frame_count(len(utterance.audio), features.window, features.hop), longest_frames(config)
    )
    frames -= frames % stack
    audio = utterance.audio[: sample_count(frames, features.window, features.hop)]
    strip = dataclasses.replace(features, input="log_mel", deltas=0, normalize=False)

    @functools.partial(jax.jit, out_shardings=mesh.replicated(devices))
    def run(params: Any, audio: jax.Array, lengths: jax.Array) -> tuple[Any, jax.Array]:
        inputs, _, counts = featurise(audio, lengths, features)
        trace = capture(model.module, params, *stack_frames(inputs, counts, stack))
        return [probs[0] for probs in trace.probs], featurise(audio, lengths, strip)[0][0]

    # One copy per device, as rows are split over devices.
    copies = len(devices.local_devices)
    batch = (np.tile(audio, (copies, 1)), np.full(copies, len(audio), np.int32))
    probs, spectrogram = run(model.params, *mesh.place_batch(batch, devices))
    return Sample(
        id=utterance.id,
        maps=np.stack([np.asarray(layer) for layer in probs]).astype(np.float16),
        spectrogram=np.asarray(spectrogram),
        audio=audio,
        phones=utterance.phones,
    )


def example_of(sample: Any, config: Config, phone_names: list[str]) -> Any:
    """A traced utterance as the figures want it: labels by name, times in seconds."""
    import numpy as np

    from sat_jax.figures.utterance import Example
    from sat_jax.shapes import SAMPLE_RATE

    features, stack = config.features, config.model.stack
    phones = [
        (start / SAMPLE_RATE, min(end, len(sample.audio)) / SAMPLE_RATE, phone_names[label])
        for start, end, label in sample.phones.tolist()
        if start < len(sample.audio)
    ]
    return Example(
        id=sample.id,
        maps=sample.maps.astype(np.float32),
        spectrogram=sample.spectrogram,
        audio=sample.audio,
        phones=phones,
        seconds_per_position=stack * features.hop / SAMPLE_RATE,
        start_seconds=((stack - 1) * features.hop + features.window) / 2 / SAMPLE_RATE,
    )


def describe(run: Path, config: Config, split: Any) -> str:
    """What was trained on what, and how far it got, for the head of the report."""
    from sat_jax.pretrain.log import read_metrics
    from sat_jax.shapes import SAMPLE_RATE

    model, objective = config.model, config.objective
    records = [r for r in read_metrics(run / "metrics.jsonl") if "valid_loss" in r]
    hours = split.lengths.sum() / SAMPLE_RATE / 3600
    text = (
        f"{config.name}: {model.layers} layers of {model.heads} heads, width {model.width}, "
        f"{model.stack} frames per position, spans of {objective.c_num} frames masked. "
        f"Analysed on {len(split)} utterances ({hours:.2f} h) of the {split.name} split of "
        f"{split.directory.name}"
    )
    if split.phone_source:
        text += f"; phones: {split.phone_source}"
    if records:
        last = records[-1]
        text += (
            f".\n\nMasked L1 on the validation split after {last['step']} steps: "
            f"{last['valid_loss']:.3f}; untrained {records[0]['valid_loss']:.3f}, mean frame "
            f"{last['valid_mean_frame']:.3f}, linear interpolation across the masked gaps "
            f"{last['valid_interpolation']:.3f}"
        )
    return text + "."


if __name__ == "__main__":
    relaunch()
    guarded(main)
