"""What was measured in, rows of CSV and arrays of npz out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sat_jax.analysis.bootstrap import INTERVAL
from sat_jax.records.ablation import Ablation, Grid, Ranking, Single, Spans
from sat_jax.study.ablate.scores import TaskScores, span_name
from sat_jax.study.ablate.tasks import RECONSTRUCTION
from sat_jax.sweep.plan import Plan, Row
from sat_jax.sweep.store import Arrays

Rows = list[dict[str, Any]]


def value_rows(plan: Plan, scores: Sequence[TaskScores]) -> Rows:
    """ablation.csv: one row per setting, task, kind of probes and measure."""
    table: Rows = []
    for each in scores:
        low, high = np.percentile(each.drawn, INTERVAL, axis=0)
        measures = [("accuracy", each.value, low, high)]
        if each.task == RECONSTRUCTION:
            measures = [("l1", each.value, low, high)]
        if each.f1 is not None:
            measures.append(("macro_f1", *each.f1.T))
        for measure, value, below, above in measures:
            about = {"task": each.task, "probes": each.probes, "measure": measure}
            table += [
                {**setting_row(row), **about, "value": v, "value_low": a, "value_high": b}
                for row, v, a, b in zip(plan.rows, value, below, above, strict=True)
            ]
    return table


def setting_row(row: Row) -> dict[str, Any]:
    """What a setting is for; layers and heads from 1, empty where nothing is meant."""
    return {
        "study": row.study,
        "ordering": row.ordering,
        "draw": row.draw,
        "kind": row.kind,
        "pruned": row.pruned,
        "span": named_span(span_name(row.span)),
        "layer": row.layer + 1 if row.layer >= 0 else "",
        "head": row.head + 1 if row.head >= 0 else "",
    }


def named_span(span: int | None) -> int | str:
    """A span in a table."""
    return "full" if span is None else span


def whole_arrays(plan: Plan, arrays: Arrays) -> Arrays:
    """ablation.npz: settings, and what is left under each, setting by setting of ablation.csv."""
    settings = plan.settings._asdict()
    names = {name.replace("/", "_").replace("-", "_"): value for name, value in arrays.items()}
    fields = {name: np.array([getattr(row, name) for row in plan.rows]) for name in Row._fields}
    return {**{f"row_{name}": value for name, value in fields.items()}, **settings, **names}


def curve_rows(tables: Sequence[Ablation], orderings: Sequence[str]) -> Rows:
    """One row per condition, task, ordering and number of pruned heads."""
    return [
        {
            "model": table.name,
            "probes": table.probes,
            "kind": table.kind,
            "task": task.name,
            "ordering": curve.ordering,
            "pruned": int(pruned),
            "value": value,
            "value_low": low,
            "value_high": high,
        }
        for table in tables
        for task in table.tasks
        for curve in task.curves
        if curve.ordering in orderings
        for pruned, value, low, high in zip(
            curve.pruned, curve.value, curve.low, curve.high, strict=True
        )
    ]


def area_rows(tables: Sequence[Ablation]) -> Rows:
    """One row per condition, task and ordering."""
    return [
        {
            "probes": table.probes,
            "kind": table.kind,
            "task": task.name,
            "ordering": curve.ordering,
            "intact": curve.value[0],
            "pruned": int(curve.pruned[-1]),
            "last": curve.value[-1],
            "area": curve.area,
            "area_low": curve.area_low,
            "area_high": curve.area_high,
            "removable": curve.removable,
        }
        for table in tables
        for task in table.tasks
        for curve in task.curves
    ]


def span_rows(spans: Sequence[Spans]) -> Rows:
    """One row per task and span."""
    return [
        {
            "task": each.name,
            "span": named_span(span),
            "value": each.value[i],
            "value_low": each.low[i],
            "value_high": each.high[i],
        }
        for each in spans
        for i, span in enumerate(each.spans)
    ]


def grid_rows(grids: Sequence[Grid]) -> Rows:
    """One row per task, number of pruned heads, and span."""
    return [
        {"task": each.name, "pruned": pruned, "span": named_span(span), "value": each.value[i, j]}
        for each in grids
        for i, pruned in enumerate(each.pruned)
        for j, span in enumerate(each.spans)
    ]


def single_rows(singles: Sequence[Single]) -> Rows:
    """One row per task and head that is left out."""
    return [
        {
            "task": each.name,
            "layer": layer + 1,
            "head": head + 1,
            "intact": each.intact,
            "change": each.change[layer, head],
            "change_low": each.low[layer, head],
            "change_high": each.high[layer, head],
        }
        for each in singles
        for layer, head in np.ndindex(each.change.shape)
    ]


def rank_rows(ranking: Ranking) -> Rows:
    """One row per head."""
    return [
        {
            "layer": layer + 1,
            "head": head + 1,
            "category": str(ranking.category[layer, head]),
            "goes_by_globalness": int(ranking.globalness[layer, head]),
            "goes_by_weight": int(ranking.weight[layer, head]),
        }
        for layer, head in np.ndindex(ranking.category.shape)
    ]


def correlation_rows(ranking: Ranking) -> Rows:
    """One row per pair of orderings."""
    return [
        {"ordering": first, "other": second, "spearman": ranking.correlation[i, j]}
        for i, first in enumerate(ranking.orderings)
        for j, second in enumerate(ranking.orderings)
    ]
