"""What remains of each task along each order of pruning, kept for the studies that come after."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.records.ablation import Ablation, Single
from sat_jax.sweep.orderings import ranks_of
from sat_jax.sweep.plan import Orders

CURVES = "ablation_curves.json"


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
