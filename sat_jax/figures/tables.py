"""Head tables in, the rows of the CSV files beside their figures out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax import files
from sat_jax.figures import style
from sat_jax.records.check import CATEGORIES, PRUNED, head_mask_of
from sat_jax.records.heads import CATEGORY_OF, HeadTable, check_heads


def write_heads(path: Path, table: HeadTable) -> Path:
    """Write `table` as CSV, whole or not at all: layer and head count from 1, as in the figures.

    Columns: each metric with its 95 % interval (`_low`, `_high`), each rank with its interval, the
    category and the share of bootstrap draws that confirm it. A pruned head has empty cells.
    """
    check_heads(table)
    rows = [
        {**at, **_metrics(table, place), **_ranks(table, place), **_category(table, place)}
        for at, place in _heads(table)
    ]
    return files.write_table(path, rows)


def metric_rows(tables: Sequence[HeadTable]) -> list[dict[str, Any]]:
    """One row per model and head: category and every metric with its interval."""
    return [
        {"model": table.name, **at, **_category(table, place), **_metrics(table, place)}
        for table in tables
        for at, place in _heads(table)
    ]


def rank_rows(table: HeadTable) -> list[dict[str, Any]]:
    """One row per head: its ranks with their intervals."""
    return [
        {**at, **_category(table, place), **_ranks(table, place)} for at, place in _heads(table)
    ]


def distribution_rows(tables: Sequence[HeadTable]) -> list[dict[str, Any]]:
    """One row per model and layer: heads of each category, and the layer's mean G, V and D."""
    return [
        {
            "model": table.name,
            "layer": layer + 1,
            **{name: int((table.category[layer] == name).sum()) for name in CATEGORIES},
            **{f"mean_{name}": _mean(table.metrics[name][layer], there) for name in CATEGORY_OF},
        }
        for table in tables
        for layer, there in enumerate(head_mask_of(table.category))
    ]


def gallery_rows(table: HeadTable, top: int = 4) -> list[dict[str, Any]]:
    """One row per map of `maps.gallery`: the metric that it leads, its place, and its value."""
    rows = []
    for name in CATEGORY_OF:
        most = min(top, int(head_mask_of(table.category).sum()))
        order = np.argsort(-table.metrics[name].ravel(), kind="stable")[:most]  # NaN comes last
        for place, index in enumerate(order.tolist(), start=1):
            layer, head = np.unravel_index(index, table.category.shape)
            value = table.metrics[name][layer, head]
            where = {"layer": layer + 1, "head": head + 1}
            rows.append({"highest": name, "place": place, **where, "value": value})
    return rows


def _heads(table: HeadTable) -> Iterator[tuple[dict[str, int], tuple[int, ...]]]:
    for layer, head in np.ndindex(table.category.shape):
        yield {"layer": layer + 1, "head": head + 1}, (layer, head)


def _mean(values: np.ndarray, there: np.ndarray) -> float | str:
    """Mean of those heads (H,) of a layer that are `there`; an empty cell where none is."""
    return values[there].mean() if there.any() else ""


def _cells(table: HeadTable, at: tuple[int, ...], cells: dict[str, Any]) -> dict[str, Any]:
    return style.blank(cells) if table.category[at] == PRUNED else cells


def _metrics(table: HeadTable, at: tuple[int, ...]) -> dict[str, Any]:
    ends = {"": table.metrics, "_low": table.low, "_high": table.high}
    cells = {f"{name}{end}": ends[end][name][at] for name in table.metrics for end in ends}
    return _cells(table, at, cells)


def _ranks(table: HeadTable, at: tuple[int, ...]) -> dict[str, Any]:
    ends = {"": table.ranks, "_low": table.rank_low, "_high": table.rank_high}
    cells = {f"rank_{name}{end}": ends[end][name][at] for name in table.ranks for end in ends}
    return _cells(table, at, cells)


def _category(table: HeadTable, at: tuple[int, ...]) -> dict[str, Any]:
    cells = {
        "category": str(table.category[at]),
        "category_share": table.category_share[at],
        "utterances": table.utterances,
    }
    return _cells(table, at, cells)
