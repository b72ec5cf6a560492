"""One run, or several of them, in; how alike their layers and heads are as tables and figures."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax import exchange, files
from sat_jax.analysis.head_similarity import FLAT_MEASURES, HEAD_MEASURES
from sat_jax.analysis.similarity import MEASURES
from sat_jax.config import Analysis
from sat_jax.config.json import read_run
from sat_jax.figures import similarity as figures
from sat_jax.figures.report import Picture, Section, Table, write_report
from sat_jax.records.similarity import SimilarityMap
from sat_jax.study.loaded_model import LoadedModel, on_devices, open_model
from sat_jax.study.loaded_run import LoadedRun, alone, describe, open_run
from sat_jax.study.page import keep_figure, manifest_of
from sat_jax.study.similarity.heads import compare_heads
from sat_jax.study.similarity.layers import compare_layers
from sat_jax.study.similarity.states import Heard


def study(loaded: LoadedRun) -> list[Section]:
    """Compare layers and heads of the trained and the untrained model; writes tables, figures."""
    loaded = alone(loaded)
    models = [heard(loaded.model, number) for number in range(2)]
    found, neurons, notes = measured(models, loaded)
    if not loaded.is_leader:
        return []
    return sections(found, neurons, notes, loaded)


def compare(runs: Sequence[Path], analysis: Analysis) -> Path:
    """Compare several runs, and the untrained model of the first, on the corpus of the first; a
    report of its own in a directory beside the first run, which is returned.
    """
    first = open_run(runs[0], analysis)
    opened = [first.model]
    for run in runs[1:]:
        config = exchange.from_leader(functools.partial(read_run, run))
        opened.append(open_model(run, config, analysis.step, first.passes.devices))
    first = alone(first)
    opened = [on_devices(model, first.passes.devices) for model in opened]
    names = [run.resolve().name for run in runs]
    models = [
        heard(model, 0)._replace(name=name) for model, name in zip(opened, names, strict=True)
    ]
    models.append(heard(first.model, 1)._replace(name=f"{names[0]} untrained"))
    found, neurons, notes = measured(models, first)
    joined = "-".join(names) if len(names) < 4 else f"{names[0]}-and-{len(names) - 1}-more"
    out = analysis.out or runs[0].resolve().parent / f"similarity-{joined}"
    if not first.is_leader:
        return out
    made = sections(found, neurons, [describe(first), *notes], first._replace(out=out))
    manifest = {name: manifest_of(run) for name, run in zip(names, runs, strict=True)}
    page = write_report(out / "report.html", f"{', '.join(names)}: how alike", made, manifest)
    first.say(f"similarity: {page}")
    return out


def heard(model: LoadedModel, number: int) -> Heard:
    """The trained model (0) or its untrained control (1)."""
    checkpoint = model.checkpoints[number]
    return Heard(checkpoint.name, model.module, checkpoint.params, model.spec)


def measured(
    models: Sequence[Heard], loaded: LoadedRun
) -> tuple[tuple[SimilarityMap, ...], list[dict[str, Any]], list[str]]:
    """All measures, rows on neurons, and notes."""
    analysis, devices = loaded.analysis, loaded.passes.devices
    split = loaded.corpus.split
    layers, neurons, notes = compare_layers(
        models, split, analysis.similarity, analysis.seed, analysis.batch_size, devices
    )
    heads, said = compare_heads(models, split, analysis.similarity, analysis.seed, devices)
    for note in (*notes, *said):
        loaded.say(f"similarity: {note}")
    return (*layers, *heads), neurons, [*notes, *said]


def sections(
    found: Sequence[SimilarityMap],
    neurons: list[dict[str, Any]],
    notes: Sequence[str],
    loaded: LoadedRun,
) -> list[Section]:
    """Write tables and figures of all maps; the section of the report about them."""
    out = loaded.out
    place, table = out / "figures", out / "analysis" / "similarity.csv"
    rows = similarity_rows(found)
    files.write_table(table, rows)
    arrays = {each.measure: each.value for each in found}
    files.write_arrays(out / "analysis" / "similarity.npz", **arrays)
    tables = [Table("Every pair of layers and every measure.", table)]
    if neurons:
        files.write_table(out / "analysis" / "neurons.csv", neurons)
        tables.append(Table("Neurons of each layer.", out / "analysis" / "neurons.csv"))
    named = {each.measure: each for each in found}
    drawn = [
        ("similarity_layers", figures.maps([named[m] for m in MEASURES]), figures.LAYERS),
        (
            "similarity_heads",
            figures.maps([named[m] for m in (*HEAD_MEASURES, *FLAT_MEASURES)]),
            figures.HEADS,
        ),
        (
            "similarity_neurons_layers",
            figures.neurons_and_layers(named["maxcorr"], named["pwcca"]),
            figures.NEURONS_LAYERS,
        ),
    ]
    if figures.can_pair(named["pwcca"]):
        caption = figures.depth_caption(named["pwcca"])
        drawn.append(("similarity_depth", figures.same_depths(found), caption))
    pictures = []
    for stem, figure, caption in drawn:
        keep_figure(loaded, stem, figure, rows)
        pictures.append(Picture(place / f"{stem}.png", caption, stem.replace("_", " ")))
    return [Section("How alike layers and heads are", " ".join(notes), pictures, tables=tables)]


def similarity_rows(found: Sequence[SimilarityMap]) -> list[dict[str, Any]]:
    """Rows of similarity.csv: one per measure and pair of layers."""
    return [
        {
            "measure": each.measure,
            "model": of.model,
            "layer": of.layer,
            "other_model": by.model,
            "other_layer": by.layer,
            "value": float(each.value[i, j]),
            "value_low": blank(each.low[i, j]),
            "value_high": blank(each.high[i, j]),
        }
        for each in found
        for i, of in enumerate(each.layers)
        for j, by in enumerate(each.layers)
    ]


def blank(value: float) -> float | str:
    """A number of a table; nothing for NaN."""
    return "" if np.isnan(value) else float(value)
