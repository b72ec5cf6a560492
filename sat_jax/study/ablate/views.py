"""What was measured in; figures, the tables beside them and how to read them out."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sat_jax import files
from sat_jax.figures import ablation as figures
from sat_jax.figures import ablation_areas, ablation_maps, ablation_ranks
from sat_jax.figures import probes as probe_figures
from sat_jax.records.ablation import REVERSED, Ablation, Single
from sat_jax.study.ablate import rows
from sat_jax.study.ablate.layers import Probed
from sat_jax.study.ablate.result import SHAPES, AblationResult, named_probes, wanted
from sat_jax.study.ablate.scores import grid_of, ranking_of, single_of, spans_of
from sat_jax.sweep.plan import METRICS

LAYERS = "What the input and every layer hold"


class View(NamedTuple):
    """One figure, the table beside it, and how to read it."""

    stem: str
    figure: Figure
    table: list[dict[str, Any]]
    caption: str
    alt: str


def probe_views(layers: Probed, analysis: Path) -> list[View]:
    """What every layer holds, and that the budget was enough; writes both tables."""
    if not layers.layers:
        return []
    told = [row._asdict() for row in layers.layers], [row._asdict() for row in layers.budgets]
    files.write_table(analysis / "probes_by_layer.csv", told[0])
    views = [
        View(
            "probes_by_layer",
            probe_figures.layer_curves(layers.layers),
            told[0],
            probe_figures.PROBES_BY_LAYER,
            "Accuracy of probes on log-mel and on every layer",
        )
    ]
    if layers.budgets:
        files.write_table(analysis / "probe_budget.csv", told[1])
        views.append(
            View(
                "probe_budget",
                probe_figures.budget_curves(layers.budgets),
                told[1],
                probe_figures.PROBE_BUDGET,
                "Accuracy of probes against utterances and steps",
            )
        )
    return views


def layers_text(layers: Probed) -> str:
    """In words: the budget, what half of it would give, and whether a layer beats the input."""
    if not layers.layers:
        return ""
    linear, deep = (next(r for r in layers.layers if r.probe == probe) for probe in SHAPES.values())
    texts = [
        f"Probes of layers learned from {deep.utterances} utterances in at most {deep.steps} "
        f"steps ({linear.steps} of linear ones); the best parameters by validation loss count."
    ]
    if not layers.budgets:
        texts.append("Whether more would help is measured by analyze.py RUN --only ablate.")
    for model, layer in dict.fromkeys((p.model, p.layer) for p in layers.budgets):
        mine = [p for p in layers.budgets if (p.model, p.layer) == (model, layer)]
        whole = mine[-1]
        steps = [p for p in mine if p.utterances == whole.utterances and p.steps < whole.steps]
        fewer = [p for p in mine if p.steps == whole.steps and p.utterances < whole.utterances]
        if steps and fewer:
            name = model if layer is None else f"layer {layer}"
            half, rows_ = max(steps, key=lambda p: p.steps), max(fewer, key=lambda p: p.utterances)
            texts.append(
                f"{name}, {whole.task}: {whole.accuracy:.1f} %; with {half.steps} steps "
                f"{half.accuracy:.1f} %, with {rows_.utterances} utterances {rows_.accuracy:.1f} %."
            )
    for task, probe in dict.fromkeys((row.task, row.probe) for row in layers.layers):
        mine = [row for row in layers.layers if (row.task, row.probe) == (task, probe)]
        best = max((row for row in mine if row.layer is not None), key=lambda row: row.accuracy)
        texts.append(
            f"{task}, {probe}: log-mel {mine[0].accuracy:.1f} %, the best layer "
            f"{best.accuracy:.1f} % (layer {best.layer} of {best.model})."
        )
    return " ".join(texts)


def deep_views(tables: list[Ablation]) -> list[View]:
    """Curves of probes with a hidden layer, trained anew, at the paper's seven points."""
    if not tables or not tables[0].tasks:
        return []
    names = [curve.ordering for curve in tables[0].tasks[0].curves]
    figure = figures.task_curves(tables[0], names)
    told = rows.curve_rows(tables, names)
    alt = f"Tasks against heads pruned, probes with a hidden layer, {tables[0].name}"
    return [View("mlp_curves", figure, told, figures.MLP_CURVES, alt)]


def curve_views(table: Ablation) -> list[View]:
    """All orderings; the metric ones beside their reverses."""
    known = [curve.ordering for curve in table.tasks[0].curves]
    plain = [name for name in known if not name.endswith(REVERSED)]
    turned = [name for name in known if name.endswith(REVERSED)]
    alt = f"Tasks against heads pruned, {table.name}"
    views = [
        View(
            "task_curves",
            figures.task_curves(table, plain),
            rows.curve_rows([table], plain),
            figures.TASK_CURVES,
            alt,
        )
    ]
    if turned:
        solid = [name for name in plain if name in METRICS or name == "random"]
        figure = figures.task_curves(table, solid, turned[: len(METRICS)])
        told = rows.curve_rows([table], [*solid, *turned])
        caption = "The metric orderings and their reverses, read as the figure above."
        views.append(View("reversed_curves", figure, told, caption, f"{alt}, both directions"))
    return views


def condition_views(tables: list[Ablation]) -> list[View]:
    """One ordering with probes trained anew and frozen, with attention set to 0 and to its mean."""
    if len(tables) < 2:
        return []
    name = "globalness"
    figure = figures.compared_curves(tables, name)
    told = rows.curve_rows(tables, [name])
    alt = f"Tasks against heads pruned under several conditions, {tables[0].name}"
    return [View("compared_curves", figure, told, figures.COMPARED_CURVES, alt)]


def area_view(table: Ablation) -> View:
    """Every curve as one number."""
    alt = f"Area under each curve, {table.name}"
    told = rows.area_rows([table])
    return View(
        "area_chart", ablation_areas.area_chart([table]), told, ablation_areas.AREA_CHART, alt
    )


def ranking_views(result: AblationResult) -> list[View]:
    """Globalness against weight ranks, and how alike all orderings are."""
    ranking = ranking_of(result.context.loaded, result.orders, result.kept)
    name = ranking.name
    return [
        View(
            "rank_scatter",
            ablation_ranks.rank_scatter(ranking),
            rows.rank_rows(ranking),
            ablation_ranks.RANK_SCATTER,
            f"Rank by globalness against rank by weight, {name}",
        ),
        View(
            "rank_correlations",
            ablation_ranks.rank_correlations(ranking),
            rows.correlation_rows(ranking),
            ablation_ranks.RANK_CORRELATIONS,
            f"Rank correlations between orderings, {name}",
        ),
    ]


def singles_of(result: AblationResult) -> list[Single]:
    """Leave one out of every task, where it was measured."""
    spec = result.context.loaded.model.spec
    found = [
        single_of(each, result.plan.rows, (spec.layers, spec.heads))
        for each in wanted(result.scores, "anew")
    ]
    return [each for each in found if each is not None]


def other_views(result: AblationResult, singles: list[Single]) -> list[View]:
    """Leave one out, spans, and spans times heads pruned, where they were measured."""
    loaded, name = result.context.loaded, result.context.checkpoint.name
    plan = result.plan.rows
    scores = wanted(result.scores, "anew")
    spans = [s for a in scores if (s := spans_of(a, plan)) is not None]
    grids = [g for a in scores if (g := grid_of(a, plan)) is not None]
    views = []
    if singles:
        figure = ablation_maps.leave_one_out(singles, name)
        told, alt = rows.single_rows(singles), f"Every task without each head, {name}"
        views.append(View("leave_one_out", figure, told, ablation_maps.LEAVE_ONE_OUT, alt))
    if spans:
        utterances = int((result.context.speech.part == 2).sum())
        seconds = loaded.model.spec.grid.seconds
        known = name, named_probes(result, "anew"), utterances, seconds
        figure = ablation_maps.span_curves(spans, *known)
        told, alt = rows.span_rows(spans), f"Every task against the span of attention, {name}"
        views.append(View("span_curves", figure, told, ablation_maps.SPAN_CURVES, alt))
    if grids:
        figure = ablation_maps.span_grid(grids, name)
        told, alt = rows.grid_rows(grids), f"Every task, heads pruned times spans, {name}"
        views.append(View("span_grid", figure, told, ablation_maps.SPAN_GRID, alt))
    return views


def found_text(result: AblationResult, table: Ablation) -> str:
    """In words: on what, and how many heads each metric ordering can spare."""
    speech = result.context.speech
    parts = np.bincount(speech.part, minlength=3)
    first = (
        f"{len(result.plan.rows)} settings of {table.name}; linear probes learned from {parts[0]} "
        f"utterances, stopped by {parts[1]}, and everything was tested on {parts[2]} "
        f"({speech.origin})."
    )
    spare = []
    for task in table.tasks:
        counts = [f"{c.removable} by {c.ordering}" for c in task.curves if c.ordering in METRICS]
        spare.append(f"{task.name} {', '.join(counts)}")
    return (
        f"{first} Of {table.heads} heads can be pruned at 1 % relative loss"
        f"{ablation_areas.tested_at(table)}: {'; '.join(spare)}."
    )
