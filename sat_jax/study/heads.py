"""What every head does, without labels: metrics, ranks, categories, CAD, maps of one utterance."""

import csv
import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax import files
from sat_jax.analysis.bootstrap import bootstrap_weights, drawn_means, interval
from sat_jax.analysis.head_mask import PRUNED, in_place, layer_means
from sat_jax.analysis.head_metrics import CAD, MEASURES, REACH, measure_heads
from sat_jax.analysis.head_types import HeadSummary, summarise
from sat_jax.errors import InputError
from sat_jax.features import frontend
from sat_jax.figures import heads, maps, phone_curves, tables
from sat_jax.figures.heads import HeadTable
from sat_jax.figures.report import Section
from sat_jax.figures.utterance import example_of
from sat_jax.model.build import Spec
from sat_jax.pretrain.log import read_metrics
from sat_jax.study.head_mask import joined_unpruned_maps, removed
from sat_jax.study.head_sections import sections, training_summary
from sat_jax.study.loaded_run import LoadedRun, describe
from sat_jax.study.page import keep_figure
from sat_jax.study.passes import run_pass
from sat_jax.trace import reduce, store
from sat_jax.trace.capture import Trace
from sat_jax.trace.example import pick_utterance, trace_utterance
from sat_jax.trace.store import Sample


def study(loaded: LoadedRun) -> list[Section]:
    """Measure and draw all heads of a run, trained and untrained; writes CSV, figures, maps."""
    measured, utterances = measure(loaded)
    shown = pick_utterance(loaded.corpus.split, loaded.analysis.utterance)
    samples = trace_shown(loaded, loaded.corpus.split[shown])
    if not loaded.is_leader:
        return []
    out = loaded.out
    keep = functools.partial(keep_figure, loaded)
    summaries = [summary for summary, _ in measured]
    head_tables = []
    for checkpoint, sample, summary in zip(
        loaded.model.checkpoints, samples, summaries, strict=True
    ):
        end = checkpoint.end
        table = table_of(checkpoint.name, utterances, summary)
        head_tables.append(table)
        names, grid = loaded.corpus.split.phone_names, loaded.model.spec.grid
        drawn = example_of(*sample, names, grid.hop, grid.frames)
        name = sample.id.replace("/", "_")
        store.save_sample(out / "trace" / f"{name}{end}.npz", sample)
        tables.write_heads(out / "analysis" / f"heads{end}.csv", table)
        files.write_table(out / "analysis" / f"categories{end}.csv", category_rows(summary))
        keep(f"gallery{end}", maps.gallery(drawn, table), tables.gallery_rows(table))
        keep_figure(
            loaded, f"all_heads{end}", maps.all_heads(drawn, table), tables.metric_rows([table])
        )
        keep_figure(
            loaded, f"rank_intervals{end}", heads.rank_intervals(table), tables.rank_rows(table)
        )
    sound = store.save_sound(out / "trace" / f"{name}.wav", samples[0].audio)
    keep_figure(
        loaded,
        "head_distribution",
        heads.head_distribution(head_tables),
        tables.distribution_rows(head_tables),
    )
    keep_figure(
        loaded, "head_scatter", heads.head_scatter(head_tables), tables.metric_rows(head_tables)
    )
    draw_cumulative(loaded, [curves for _, curves in measured])
    trained = training_summary(read_metrics(loaded.directory / "metrics.jsonl"))
    known = " ".join(filter(None, (describe(loaded), removed(loaded.model.spec.head_mask))))
    return sections(out, head_tables, f"{known}\n\n{trained}", sound)


def measure(loaded: LoadedRun) -> tuple[list[tuple[HeadSummary, dict[str, np.ndarray]]], int]:
    """Every metric with its interval, and the curves CAD, for each checkpoint; on how many."""
    analysis, left = loaded.analysis, loaded.model.spec.head_mask

    def measure_trace(trace: Trace, _: Any) -> dict[str, jax.Array]:
        return measure_heads(joined_unpruned_maps(trace.probs), trace.valid)

    step = reduce.reducer(loaded.passes.trace_fn, measure_trace, loaded.passes.devices)
    measured = []
    for checkpoint in loaded.model.checkpoints:
        name = checkpoint.name
        say = loaded.say if not checkpoint.end else lambda _: None
        parts = run_pass(loaded.passes, name, step, checkpoint.params, loaded.corpus.split, say=say)
        index, collected = reduce.collect(parts)
        values = {measure: in_place(array, left, axis=1) for measure, array in collected.items()}
        loaded.say(f"{name}: heads measured on {len(index)} utterances")
        reduce.require_finite(name, values, [loaded.corpus.split.ids[i] for i in index], left)
        # A jitted function returns its dict sorted by name; tables follow the order of MEASURES.
        ordered = {measure: values[measure] for measure in MEASURES}
        summary = summarise(ordered, analysis.draws, analysis.seed, left)
        measured.append((summary, cumulative(values[CAD], left, analysis.draws, analysis.seed)))
    return measured, len(index)


def table_of(name: str, utterances: int, summary: HeadSummary) -> HeadTable:
    """A head summary as the figures want it."""
    fields = summary._asdict()
    del fields["shares"]
    return HeadTable(name=name, utterances=utterances, **fields)


def category_rows(summary: HeadSummary) -> list[dict[str, Any]]:
    """Rows of categories.csv: the share of heads in each category."""
    return [
        {"category": name, "share": share, "share_low": low, "share_high": high}
        for name, (share, low, high) in summary.shares.items()
    ]


def cumulative(
    curves: np.ndarray, left: np.ndarray, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Mean curves (L, H, R) of curves (U, L, H, R), and the interval of each layer's mean.

    A layer's mean is that of its heads in `left` (L, H), NaN where it has none.
    """
    weights = bootstrap_weights(jax.random.key(seed), len(curves), draws)
    low, high = interval(drawn_means(weights, jnp.asarray(layer_means(curves, left))))
    return {"mean": curves.mean(0), "low": np.asarray(low), "high": np.asarray(high)}


def draw_cumulative(loaded: LoadedRun, measured: list[dict[str, np.ndarray]]) -> None:
    """The curves CAD of both checkpoints beside that of uniform attention."""
    spec, split = loaded.model.spec, loaded.corpus.split
    lengths = np.minimum(spec.grid.positions(split.lengths.astype(np.int64)), spec.longest)
    radii = np.arange(min(REACH, int(lengths.max()) - 1) + 1)
    uniform = np.mean([uniform_within(t, radii) for t in lengths[lengths > 0].tolist()], axis=0)
    names = [checkpoint.name for checkpoint in loaded.model.checkpoints]
    curves, low, high = (
        np.stack([each[key] for each in measured])[..., : len(radii)]
        for key in ("mean", "low", "high")
    )
    seconds = spec.grid.seconds
    left = spec.head_mask
    figure = phone_curves.cumulative_diagonality(
        names, radii, curves, low, high, uniform, seconds, left
    )
    rows = [
        {
            "model": name,
            "layer": layer + 1,
            "radius": radius,
            "uniform": uniform[radius],
            **layer_cells(
                curves[m, layer, :, radius], low[m, layer, radius], high[m, layer, radius], heads
            ),
        }
        for m, name in enumerate(names)
        for layer, heads in enumerate(left)
        for radius in radii.tolist()
    ]
    keep_figure(loaded, "cumulative_diagonality", figure, rows)


def layer_cells(
    shares: np.ndarray, low: float, high: float, left: np.ndarray
) -> dict[str, float | str]:
    """Cells of one layer at one radius: mean of its heads (H,) in `left` and each of them.

    Empty for heads that are gone, and for the mean of a layer without heads.
    """
    mean = (shares[left].mean(), low, high) if left.any() else ("", "", "")
    cells = dict(zip(("share", "share_low", "share_high"), mean, strict=True))
    for head, (share, there) in enumerate(zip(shares, left, strict=True), start=1):
        cells[f"head_{head}"] = share if there else ""
    return cells


def uniform_within(length: int, radii: np.ndarray) -> np.ndarray:
    """CAD of uniform attention over `length` positions: pairs within each radius over all pairs."""
    r = np.minimum(radii, length - 1)
    return (length * (2 * r + 1) - r * (r + 1)) / length**2


class KeptHeads(NamedTuple):
    """What other studies need of this one, (L, H) each; NaN where category is gone."""

    category: np.ndarray
    globalness: np.ndarray
    verticality: np.ndarray
    diagonality: np.ndarray
    weight: np.ndarray


def kept_heads(loaded: LoadedRun, end: str) -> KeptHeads:
    """Read from heads.csv of a checkpoint; raises `InputError` where it is not of this model."""
    return read_heads(loaded.out / "analysis" / f"heads{end}.csv", loaded.model.spec)


def read_heads(path: Path, spec: Spec) -> KeptHeads:
    """Read a heads.csv; raises `InputError` where it is missing, or not of this model."""
    cure = "make it anew with analyze.py --only heads"
    if not path.exists():
        raise InputError(f"{path}: is missing; {cure}")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    shape = spec.layers, spec.heads
    if len(rows) != shape[0] * shape[1]:
        raise InputError(
            f"{path}: has {len(rows)} heads, the model {shape[0]} x {shape[1]}; {cure}"
        )
    category = np.array([row["category"] for row in rows]).reshape(shape)
    left = spec.head_mask
    if (left != (category != PRUNED)).any():
        raise InputError(f"{path}: other heads are gone there than in the model; {cure}")
    metrics = {
        name: in_place(
            np.array([float(row[name]) for row in rows if row["category"] != PRUNED]), left
        )
        for name in KeptHeads._fields[1:]
    }
    return KeptHeads(category, **metrics)


def trace_shown(loaded: LoadedRun, utterance: Any) -> list[Sample]:
    """The drawn utterance's maps for each checkpoint, cut to what training's positions cover."""
    spec = loaded.model.spec
    positions = min(spec.grid.positions(len(utterance.audio)), spec.longest)
    # What a reader sees has the frames of the model's own labels.
    strip = dataclasses.replace(
        loaded.config.features,
        input="log_mel",
        deltas=0,
        normalize=False,
        window=spec.grid.frame_window,
        hop=spec.grid.hop,
        n_fft=max(loaded.config.features.n_fft, spec.grid.frame_window),
    )
    return trace_utterance(
        loaded.model.module,
        [checkpoint.params for checkpoint in loaded.model.checkpoints],
        utterance,
        spec.grid.samples(positions),
        lambda audio, lengths: frontend.featurize(audio, lengths, strip)[0],
        loaded.passes.devices,
    )
