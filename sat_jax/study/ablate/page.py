"""What was measured in; tables, figures and sections of the report out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sat_jax import files
from sat_jax.figures import ablation as figures
from sat_jax.figures import ablation_maps, ablation_ranks
from sat_jax.figures import probes as probe_figures
from sat_jax.figures.report import Picture, Section, Table
from sat_jax.records.ablation import REVERSED, Ablation, Single
from sat_jax.records.heads import HeadTable
from sat_jax.study.ablate import rows
from sat_jax.study.ablate.context import SweepContext
from sat_jax.study.ablate.kept_curves import CURVES, keep_curves
from sat_jax.study.ablate.layers import Probed
from sat_jax.study.ablate.scores import (
    TaskScores,
    grid_of,
    ranking_of,
    single_of,
    spans_of,
    task_of,
)
from sat_jax.study.page import keep_figure
from sat_jax.sweep.plan import METRICS, Orders, Plan
from sat_jax.sweep.store import Arrays

LAYERS = "What the input and every layer hold"
KINDS = {"zero": "attention set to 0", "mean": "attention replaced by its mean"}
PROBE_NAMES = {"anew": "probes trained anew", "frozen": "frozen probes"}
SHAPES = {False: "linear", True: "hidden layer"}


class AblationResult(NamedTuple):
    """Everything that was measured."""

    context: SweepContext
    plan: Plan
    arrays: Arrays
    orders: Orders
    scores: list[TaskScores]
    kept: HeadTable


class View(NamedTuple):
    """One figure, the table beside it, and how to read it."""

    stem: str
    figure: Figure
    table: list[dict[str, Any]]
    caption: str
    alt: str


def write(
    result: AblationResult,
    control: AblationResult,
    deep: AblationResult | None,
    layers: Probed,
    alone: Single | None,
) -> list[Section]:
    """All tables and figures of the study, and what the report says about them.

    `control` is the untrained model under some of the settings, `deep` the trained one with probes
    that have a hidden layer, where these were trained; `alone` what each head alone is worth, where
    that is no part of `result`.
    """
    context = result.context
    loaded, kind = context.loaded, context.loaded.analysis.ablate.kind
    analysis = loaded.out / "analysis"
    anew = table_of(result, "anew", kind)
    written = [path for each in (result, control) for path in write_values(each, analysis)]
    conditions = [table for table in conditions_of(result) if table.tasks]
    conditions.append(as_condition(control, anew))
    more = []
    if deep is not None:
        written += write_values(deep, analysis, "_mlp")
        more = [table_of(deep, probes, kind) for probes in PROBE_NAMES]
    singles = singles_of(result) or [each for each in (alone,) if each is not None]
    keep_curves(analysis / CURVES, anew, result.orders, result.kept.category.shape, singles)
    files.write_table(analysis / "ablation_areas.csv", rows.area_rows([*conditions, *more]))
    curves = [*curve_views(anew), *condition_views(conditions), *deep_views(more)]
    parts = {
        LAYERS: probe_views(layers, analysis),
        "What remains when heads are pruned": curves,
        "Which order is cheapest": [area_view(anew), *ranking_views(result)],
        "One head, or far keys, taken away": other_views(result, singles),
    }
    place = loaded.out / "figures"
    for view in (view for views in parts.values() for view in views):
        keep_figure(loaded, view.stem, view.figure, view.table)
    areas = Table(
        f"Area under every curve, and heads that can be pruned at 1 % relative loss"
        f"{figures.tested_at(anew)}.",
        analysis / "ablation_areas.csv",
    )
    other_budgets = Table("The same probe with other budgets.", analysis / "probe_budget.csv")
    definitions = {"What remains when heads are pruned": figures.PRUNING}
    texts = {
        "What remains when heads are pruned": found_text(result, anew),
        LAYERS: layers_text(layers),
    }
    tables = {
        "Which order is cheapest": [areas],
        LAYERS: [
            Table("Every representation, task and probe.", analysis / "probes_by_layer.csv"),
            *([other_budgets] if layers.budgets else []),
        ],
    }
    return [
        Section(
            heading,
            texts.get(heading, ""),
            definition=definitions.get(heading, ""),
            pictures=[picture(place, view) for view in views],
            tables=tables.get(heading, []),
            files=[(path.name, path) for path in written] if views is curves else [],
        )
        for heading, views in parts.items()
        if views
    ]


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


def write_values(result: AblationResult, analysis: Path, more: str = "") -> list[Path]:
    """Every value of a checkpoint as a table and as arrays; their paths."""
    end = result.context.checkpoint.end + more
    paths = [analysis / f"ablation{end}{suffix}" for suffix in (".csv", ".npz")]
    files.write_table(paths[0], rows.value_rows(result.plan, result.scores))
    files.write_arrays(paths[1], **rows.whole_arrays(result.plan, result.arrays))
    return paths


def as_condition(control: AblationResult, beside: Ablation) -> Ablation:
    """The curves of the untrained model as one more condition of a table of the trained one."""
    kind = control.context.loaded.analysis.ablate.kind
    table = table_of(control, "anew", kind)
    return table._replace(name=beside.name, kind=f"untrained, {table.kind}", draws=beside.draws)


def picture(place: Path, view: View) -> Picture:
    """A view as the report wants it."""
    return Picture(place / f"{view.stem}.png", view.caption, view.alt)


def table_of(result: AblationResult, probes: str, kind: str) -> Ablation:
    """All curves with one kind of probes and of ablation; reconstruction has no probes."""
    context, names = result.context, list(result.orders)
    seven = [task_of(a, result.plan.rows, names, kind) for a in wanted(result.scores, probes)]
    model = context.loaded.model.spec
    return Ablation(
        name=context.checkpoint.name,
        probes=named_probes(result, probes),
        kind=KINDS[kind],
        heads=model.layers * model.heads,
        utterances=int((context.speech.part == 2).sum()),
        seeds=context.loaded.analysis.ablate.probe_seeds,
        draws=len(np.atleast_2d(result.orders.get("random", np.empty((0, 1))))),
        tasks=tuple(task for task in seven if task.curves),
    )


def named_probes(result: AblationResult, probes: str) -> str:
    """A kind of probes as figures name it."""
    if not result.context.tasks:
        return PROBE_NAMES[probes]
    shape = SHAPES[any(task.budget.hidden for task in result.context.tasks)]
    return f"{PROBE_NAMES[probes]} ({shape})"


def wanted(scores: Sequence[TaskScores], probes: str) -> list[TaskScores]:
    """Answers with one kind of probes, and with `anew` those that need none."""
    return [a for a in scores if a.probes == probes or (probes == "anew" and not a.probes)]


def conditions_of(result: AblationResult) -> list[Ablation]:
    """The study's own kind of ablation with both kinds of probes, then the other kind."""
    kind = result.context.loaded.analysis.ablate.kind
    other = "mean" if kind == "zero" else "zero"
    pairs = [("anew", kind), ("frozen", kind), ("anew", other)]
    return [table_of(result, *pair) for pair in pairs]


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
    return View("area_chart", figures.area_chart([table]), told, figures.AREA_CHART, alt)


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
        f"{figures.tested_at(table)}: {'; '.join(spare)}."
    )
