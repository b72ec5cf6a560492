"""Runs in, how each of them learned and what its layers hold of phones, side by side, out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sat_jax import files
from sat_jax.config.json import read_run
from sat_jax.figures import learning as figures
from sat_jax.figures import style
from sat_jax.figures.report import Picture, Section, Table
from sat_jax.pretrain.log import read_metrics
from sat_jax.pretrain.objectives.table import OBJECTIVES
from sat_jax.records.probes import ProbedLayer
from sat_jax.records.runs import LearningCurve
from sat_jax.study.probed_runs import read_probes


def learning_of(
    names: Sequence[str], runs: Sequence[Path], places: Sequence[Path], out: Path
) -> list[Section]:
    """Losses of the runs that were trained here, and what probes read from their layers where all
    were probed; no section where fewer than two were trained."""
    curves = [
        curve
        for name, run in zip(names, runs, strict=True)
        if (curve := curve_of(name, run)) is not None
    ][: figures.MOST]
    if len(curves) < 2:
        return []
    shown = {curve.run for curve in curves}
    tables = [
        (name, place / "analysis" / "probes_by_layer.csv")
        for name, place in zip(names, places, strict=True)
        if name in shown
    ]
    missing = [name for name, path in tables if not path.exists()]
    probed = [] if missing else [row for own in tables for row in phones_of(*own)]
    style.save(figures.learning(curves, probed), out / "figures", "learning")
    points = [
        {"run": curve.run, "baseline": curve.baseline, "step": int(step), "share": float(share)}
        for curve in curves
        for step, share in zip(curve.step, curve.share, strict=True)
    ]
    files.write_table(out / "figures" / "learning.csv", points)
    shown_tables = [Table("Loss as a share of its baseline.", out / "figures" / "learning.csv")]
    if probed:
        files.write_table(out / "probes_by_layer.csv", [row._asdict() for row in probed])
        shown_tables.append(Table("Probes on layers.", out / "probes_by_layer.csv"))
    notes = []
    if len(curves) < len(names):
        notes.append(
            f"{len(curves)} of {len(names)} runs are drawn: the first {figures.MOST} at most, and "
            "none that was not trained here."
        )
    if missing:
        notes.append(f"No probes are drawn: the ablate study has made none of {missing[0]}.")
    picture = Picture(
        out / "figures" / "learning.png",
        figures.LEARNING,
        f"Losses of {', '.join(sorted(shown))}, and probes on their layers",
    )
    return [
        Section("Learning, and phones in layers", " ".join(notes), [picture], tables=shown_tables)
    ]


def phones_of(name: str, table: Path) -> list[ProbedLayer]:
    """Probes on phones of a run's trained layers and of the log-mel beside them, under its name."""
    rows = [row for row in read_probes(table) if row.task == "phone"]
    trained = next((row.model for row in rows if row.layer is not None), None)
    mine = [row for row in rows if row.layer is None or row.model == trained]
    return [row._replace(model=name) for row in mine]


def curve_of(name: str, run: Path) -> LearningCurve | None:
    """How the run learned; None where it was not trained here."""
    known = OBJECTIVES.get(type(read_run(run).objective))
    records = read_metrics(run / "metrics.jsonl")
    words = known.words if known else None
    lines = [r for r in records if words and r.get("smooth_loss") and r.get(words.baseline)]
    if not lines:
        return None
    return LearningCurve(
        run=name,
        baseline=words.baseline_is,
        step=np.array([line["step"] for line in lines]),
        share=np.array([line["smooth_loss"] / line[words.baseline] for line in lines]),
    )
