"""What every head does, without labels: metrics, ranks, categories, CAD, maps of one utterance."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax import exchange, files
from sat_jax.analysis.bootstrap import bootstrap_weights, drawn_means, interval
from sat_jax.analysis.head_mask import in_place, layer_means
from sat_jax.analysis.head_metrics import CAD, MEASURES, REACH, measure_heads
from sat_jax.analysis.head_types import summarise
from sat_jax.audio import dataset
from sat_jax.config import Features
from sat_jax.errors import InputError
from sat_jax.features import frontend
from sat_jax.figures import cumulative_curves, heads, maps, tables
from sat_jax.figures.report import Section
from sat_jax.figures.utterance import example_of
from sat_jax.model.build import Spec
from sat_jax.pretrain.log import read_metrics
from sat_jax.records.check import head_mask_of
from sat_jax.records.heads import HeadTable, arrays_of, table_of_arrays
from sat_jax.study.head_mask import joined_unpruned_maps, pruned_sentence
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
    measured = measure(loaded)
    shown = pick_utterance(loaded.corpus.split, loaded.analysis.utterance)
    samples = trace_shown(loaded, loaded.corpus.split[shown])
    if not loaded.is_leader:
        return []
    out = loaded.out
    keep = functools.partial(keep_figure, loaded)
    head_tables = [table for table, _ in measured]
    names, grid = loaded.corpus.split.phone_names, loaded.model.spec.grid
    for checkpoint, sample, table in zip(
        loaded.model.checkpoints, samples, head_tables, strict=True
    ):
        end = checkpoint.end
        drawn = example_of(*sample, names, grid.hop, grid.frames, grid.reach > 0)
        name = sample.id.replace("/", "_")
        store.save_sample(out / "trace" / f"{name}{end}.npz", sample)
        tables.write_heads(out / "analysis" / f"heads{end}.csv", table)
        files.write_arrays(out / "analysis" / f"heads{end}.npz", **arrays_of(table))
        files.write_table(out / "analysis" / f"categories{end}.csv", category_rows(table))
        keep(f"gallery{end}", maps.gallery(drawn, table), tables.gallery_rows(table))
        keep(f"all_heads{end}", maps.all_heads(drawn, table), tables.metric_rows([table]))
        keep(f"rank_intervals{end}", heads.rank_intervals(table), tables.rank_rows(table))
    sound = store.save_sound(out / "trace" / f"{name}.wav", samples[0].audio)
    distribution = heads.head_distribution(head_tables)
    keep("head_distribution", distribution, tables.distribution_rows(head_tables))
    keep("head_scatter", heads.head_scatter(head_tables), tables.metric_rows(head_tables))
    draw_cumulative(loaded, [curves for _, curves in measured])
    known = " ".join(filter(None, (describe(loaded), pruned_sentence(loaded.model.spec.head_mask))))
    return sections(out, head_tables, f"{known}\n\n{trained_sentence(loaded)}", sound)


def measure(loaded: LoadedRun) -> list[tuple[HeadTable, dict[str, np.ndarray]]]:
    """Every metric with its interval, and the curves CAD, for each checkpoint."""
    analysis, head_mask = loaded.analysis, loaded.model.spec.head_mask

    def measure_trace(trace: Trace, _: Any) -> dict[str, jax.Array]:
        return measure_heads(joined_unpruned_maps(trace.probs), trace.valid)

    step = reduce.reducer(loaded.passes.trace_fn, measure_trace, loaded.passes.devices)
    measured = []
    for checkpoint in loaded.model.checkpoints:
        name = checkpoint.name
        say = loaded.say if not checkpoint.end else lambda _: None
        parts = run_pass(loaded.passes, name, step, checkpoint.params, loaded.corpus.split, say=say)
        index, values = reduce.collect(parts)
        loaded.say(f"{name}: heads measured on {len(index)} utterances")
        reduce.require_finite(name, values, [loaded.corpus.split.ids[i] for i in index], head_mask)
        # A jitted function returns its dict sorted by name; tables follow the order of MEASURES.
        ordered = {measure: values[measure] for measure in MEASURES}
        table = summarise(ordered, analysis.draws, analysis.seed, head_mask, name)
        measured.append((table, cumulative(values[CAD], head_mask, analysis.draws, analysis.seed)))
    return measured


def trained_sentence(loaded: LoadedRun) -> str:
    """How far training got, for the head of the report; empty where nothing tells."""
    return training_summary(
        read_metrics(loaded.directory / "metrics.jsonl"),
        dataset.directory_of(loaded.config.corpus).name,
    )


def category_rows(table: HeadTable) -> list[dict[str, Any]]:
    """Rows of categories.csv: the share of heads in each category."""
    return [
        {"category": name, "share": share, "share_low": low, "share_high": high}
        for name, (share, low, high) in table.shares.items()
    ]


def cumulative(
    curves: np.ndarray, head_mask: np.ndarray, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Mean curves (L, H, R) of curves (U, N, R), and the interval of each layer's mean.

    N heads are not pruned, True in `head_mask` (L, H); NaN for pruned heads, and for the mean of a
    layer without heads.
    """
    weights = bootstrap_weights(jax.random.key(seed), len(curves), draws)
    low, high = interval(drawn_means(weights, jnp.asarray(layer_means(curves, head_mask))))
    return {
        "mean": in_place(curves.mean(0), head_mask),
        "low": np.asarray(low),
        "high": np.asarray(high),
    }


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
    figure = cumulative_curves.cumulative_diagonality(
        names, radii, curves, low, high, uniform, spec.grid.seconds, spec.head_mask
    )
    for checkpoint, mean in zip(loaded.model.checkpoints, curves, strict=True):
        files.write_arrays(
            loaded.out / "analysis" / f"cumulative{checkpoint.end}.npz",
            radii=radii,
            curves=mean,
            uniform=uniform,
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
        for layer, heads in enumerate(spec.head_mask)
        for radius in radii.tolist()
    ]
    keep_figure(loaded, "cumulative_diagonality", figure, rows)


def layer_cells(
    shares: np.ndarray, low: float, high: float, head_mask: np.ndarray
) -> dict[str, float | str]:
    """Cells of one layer at one radius: the mean of its heads (H,), and each of them.

    Empty for pruned heads, False in `head_mask` (H,), and for the mean of a layer without heads.
    """
    mean = (shares[head_mask].mean(), low, high) if head_mask.any() else ("", "", "")
    cells = dict(zip(("share", "share_low", "share_high"), mean, strict=True))
    for head, (share, there) in enumerate(zip(shares, head_mask, strict=True), start=1):
        cells[f"head_{head}"] = share if there else ""
    return cells


def uniform_within(length: int, radii: np.ndarray) -> np.ndarray:
    """CAD of uniform attention over `length` positions: pairs within each radius over all pairs."""
    r = np.minimum(radii, length - 1)
    return (length * (2 * r + 1) - r * (r + 1)) / length**2


def kept_heads(loaded: LoadedRun, end: str) -> HeadTable:
    """What this study found of a checkpoint; raises `InputError` as `read_heads` does.

    Process 0 reads it for all, so that all have to ask.
    """
    path = loaded.out / "analysis" / f"heads{end}.npz"
    return exchange.from_leader(lambda: read_heads(path, loaded.model.spec))


def read_heads(path: Path, spec: Spec) -> HeadTable:
    """Read a heads.npz; raises `InputError` where it is missing, broken, or of another model."""
    cure = "make it anew with analyze.py --only heads"
    try:
        table = table_of_arrays(files.read_arrays(path, cure))
    except InputError as error:
        raise (
            error if str(path) in str(error) else InputError(f"{path}: {error}; {cure}")
        ) from error
    shape = np.shape(table.category)
    if shape != (spec.layers, spec.heads):
        raise InputError(
            f"{path}: is of {shape[0]} x {shape[1]} heads, the model has {spec.layers} x "
            f"{spec.heads}; {cure}"
        )
    if (spec.head_mask != head_mask_of(table.category)).any():
        raise InputError(f"{path}: other heads are pruned there than in the model; {cure}")
    return table


def trace_shown(loaded: LoadedRun, utterance: Any) -> list[Sample]:
    """The drawn utterance's maps for each checkpoint, cut to what training's positions cover."""
    strip = strip_features(loaded)
    return trace_utterance(
        loaded.model.module,
        [checkpoint.params for checkpoint in loaded.model.checkpoints],
        utterance,
        seen_samples(loaded, len(utterance.audio)),
        lambda audio, lengths: frontend.featurize(audio, lengths, strip)[0],
        loaded.passes.devices,
    )


def strip_features(loaded: LoadedRun) -> Features:
    """The log-mel spectrogram that a reader sees: in frames of the model's own labels."""
    features, grid = loaded.config.features, loaded.model.spec.grid
    return dataclasses.replace(
        features,
        input="log_mel",
        deltas=0,
        normalize=False,
        window=grid.frame_window,
        hop=grid.hop,
        n_fft=max(features.n_fft, grid.frame_window),
    )


def seen_samples(loaded: LoadedRun, samples: int) -> int:
    """Samples of an utterance that studies measure: whole frames that positions cover.

    Frames behind the last position count as well: input is normalised over them.
    """
    grid = loaded.model.spec.grid
    return grid.frame_samples(min(grid.frame_count(samples), loaded.model.spec.frames))
