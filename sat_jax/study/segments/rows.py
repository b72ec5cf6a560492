"""Scores of segmentations in; figures, and what they show as CSV, out."""

import functools
from typing import Any

import numpy as np

from sat_jax import files
from sat_jax.analysis.head_mask import in_place
from sat_jax.analysis.segment_score import (
    SCORES,
)
from sat_jax.figures import segment_example, style
from sat_jax.figures import segments as figures
from sat_jax.records.check import PRUNED
from sat_jax.records.segments import SegmentTable
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.page import keep_figure
from sat_jax.study.segments.search import (
    CURVE,
    Tuned,
)


def write(loaded: LoadedRun, tables: list[SegmentTable], example: Any) -> None:
    """Figures of the study and the table beside each."""
    keep = functools.partial(keep_figure, loaded)
    keep_figure(
        loaded,
        "segmentation_example",
        segment_example.segmentation_example(example, tables[0].name),
        example_rows(example),
    )
    keep("precision_recall", figures.precision_recall(tables), curve_rows(tables))
    keep("segmentation_heads", figures.segmentation_heads(tables), head_rows(tables))
    files.write_table(loaded.out / "analysis" / "segmentation.csv", score_rows(tables))


def keep_heads(loaded: LoadedRun, end: str, table: SegmentTable, tuned: Tuned) -> None:
    """segment_heads.npz: scores and tuned parameters (L, H) of every head, NaN for pruned ones."""
    head_mask = loaded.model.spec.head_mask
    count = int(head_mask.sum())
    files.write_arrays(
        loaded.out / "analysis" / f"segment_heads{end}.npz",
        r=table.heads,
        low=table.heads_low,
        high=table.heads_high,
        alpha=in_place(tuned.alpha[:count], head_mask),
        beta=in_place(tuned.beta[:count], head_mask),
        even=np.asarray(table.even),
        rows=np.asarray(loaded.analysis.segment_rows),
        shifts=np.asarray(loaded.analysis.segment_shifts),
    )


def score_rows(tables: list[SegmentTable]) -> list[dict[str, Any]]:
    """Rows of segmentation.csv: what stands for each kind of feature."""
    return [
        {
            "model": table.name,
            "features": entry.name,
            "r": entry.r,
            "r_low": entry.low,
            "r_high": entry.high,
            "r_tuning": entry.valid_r,
            "tried": entry.tried,
            **{name: getattr(entry, name) for name in SCORES if name != "r"},
            "alpha": entry.alpha,
            "beta": entry.beta,
            "evenly_spaced_r": table.even,
            "utterances": table.utterances,
            "boundaries": table.boundaries,
        }
        for table in tables
        for entry in table.scores
    ]


def head_rows(tables: list[SegmentTable]) -> list[dict[str, Any]]:
    """One row per model and head, then per hidden state (head 0)."""
    rows = []
    for table in tables:
        for at in np.ndindex(table.heads.shape):
            where = {"model": table.name, "layer": at[0] + 1, "head": at[1] + 1}
            ends = {"r_low": table.heads_low[at], "r_high": table.heads_high[at]}
            kind = {"category": str(table.category[at]), "r_tuning": table.heads_valid[at]}
            row = {**where, **kind, "r": table.heads[at], **ends}
            rows.append(style.blank(row) if table.category[at] == PRUNED else row)
        for layer, r in enumerate(table.hidden):
            where = {"model": table.name, "layer": layer, "head": 0, "category": "hidden"}
            ends = {"r_low": table.hidden_low[layer], "r_high": table.hidden_high[layer]}
            rows.append({**where, "r_tuning": "", "r": r, **ends})
    return rows


def curve_rows(tables: list[SegmentTable]) -> list[dict[str, Any]]:
    """One row per model, kind of feature and beta."""
    return [
        {
            "model": table.name,
            "features": entry.name,
            "beta": entry.beta * factor,
            "precision": point[0],
            "recall": point[1],
        }
        for table in tables
        for entry in table.scores
        for factor, point in zip(CURVE, entry.curve, strict=True)
    ]


def example_rows(example: Any) -> list[dict[str, Any]]:
    """One row per boundary of the utterance that is drawn: true ones, then each panel's."""
    inner = [start for start, _, _ in example.phones[1:]]
    rows = [{"panel": "phones", "seconds": time} for time in inner]
    return rows + [
        {"panel": panel.title, "seconds": time}
        for panel in example.panels
        for time in panel.predicted
    ]
