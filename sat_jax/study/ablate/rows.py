"""What was measured in, rows of CSV, arrays of npz and curves kept for later studies out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax import files
from sat_jax.analysis.bootstrap import INTERVAL
from sat_jax.errors import InputError
from sat_jax.records.ablation import Ablation, Grid, Ranking, Single, Spans
from sat_jax.study.ablate.scores import TaskScores, span_name
from sat_jax.study.ablate.tasks import RECONSTRUCTION
from sat_jax.sweep.orderings import ranks_of
from sat_jax.sweep.plan import Orders, Plan, Row
from sat_jax.sweep.store import Arrays

Rows = list[dict[str, Any]]

CURVES = "ablation_curves.json"
"""What remains of each task along each order of pruning, beside the tables."""


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


def keep_curves(
    path: Path,
    table: Ablation,
    orders: Orders,
    shape: tuple[int, int],
    singles: Sequence[Single] = (),
) -> None:
    """Write the curves of `table`, at which turn each of the heads `shape` is pruned, and what
    every task loses with each head alone."""
    tasks = [
        {
            "name": task.name,
            "label": task.label,
            "lower": task.lower_is_better,
            "chance": None if task.chance != task.chance else float(task.chance),
            "curves": [
                {
                    "ordering": curve.ordering,
                    "pruned": curve.pruned.tolist(),
                    "value": curve.value.tolist(),
                    "low": curve.low.tolist(),
                    "high": curve.high.tolist(),
                }
                for curve in task.curves
            ],
        }
        for task in table.tasks
    ]
    turns = {
        name: ranks_of(order, shape).tolist()
        for name, order in orders.items()
        if order.shape == (shape[0] * shape[1],)
    }
    alone = [
        {
            "name": each.name,
            "label": each.label,
            "lower": each.lower_is_better,
            "change": each.change.tolist(),
            "low": each.low.tolist(),
            "high": each.high.tolist(),
        }
        for each in singles
    ]
    kept = {"tasks": tasks, "orders": turns, "alone": alone}
    files.write_whole(path, json.dumps(kept).encode())


def kept_curves(path: Path) -> dict[str, Any] | None:
    """What `keep_curves` wrote; None where the study was never made."""
    if not path.exists():
        return None
    try:
        kept = json.loads(path.read_text())
        return {name: kept[name] for name in ("tasks", "orders", "alone")}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: is not what analyze.py writes ({error}); make it anew with --only ablate"
        ) from error
