"""A head table in, one CSV row per head out."""

import csv
import io
from pathlib import Path

from sat_jax.figures import style
from sat_jax.figures.heads import HeadTable, check


def write_heads(path: Path, table: HeadTable) -> Path:
    """Write `table` as CSV, whole or not at all: layer and head count from 1, as in the figures.

    Columns: each metric with its 95 % interval (`_low`, `_high`), each rank with its interval, the
    category and the share of bootstrap draws that confirm it.
    """
    check(table)
    groups = [(name, table.metrics, table.low, table.high) for name in table.metrics]
    ranked = [(name, table.ranks, table.rank_low, table.rank_high) for name in table.ranks]
    names = [f"{name}{end}" for name, *_ in groups for end in ("", "_low", "_high")]
    names += [f"rank_{name}{end}" for name, *_ in ranked for end in ("", "_low", "_high")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "head", *names, "category", "category_share", "utterances"])
    layers, heads = table.category.shape
    for layer in range(layers):
        for head in range(heads):
            at = (layer, head)
            values = [f"{array[name][at]:.7g}" for name, *arrays in groups for array in arrays]
            values += [int(array[name][at]) for name, *arrays in ranked for array in arrays]
            share = f"{table.category_share[at]:.4g}"
            end = [table.category[at], share, table.utterances]
            writer.writerow([layer + 1, head + 1, *values, *end])
    return style.write_whole(path, text.getvalue().encode())
