"""Figures of a study in, PNG, PDF and CSV out; kept sections in, the run's report out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sat_jax import files
from sat_jax.figures.report import Finding, write_report
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.sections import kept_sections

EXPLORER = "explorer.html"
"""The page of maps, beside the report."""


def keep_figure(
    loaded: LoadedRun, stem: str, figure: Figure, rows: Sequence[dict[str, Any]]
) -> None:
    """Write a figure, and what it shows as CSV beside it, into the results of a run."""
    place = loaded.out / "figures"
    loaded.save_figure(figure, place, stem, loaded.analysis.pdf)
    files.write_table(place / f"{stem}.csv", rows)


def manifest_of(run: Path) -> dict[str, Any]:
    """Data and sessions of a run, for its report; where they cannot be read, it says so."""
    path = run / "manifest.json"
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        return {path.name: f"cannot be read: {error}"}


def write_page(
    out: Path,
    title: str,
    studies: Sequence[str],
    manifest: dict[str, Any],
    findings: Sequence[Finding] = (),
) -> Path:
    """Write `out`/report.html from the sections of all `studies` that were ever made there."""
    sections = [section for study in studies for section in kept_sections(out, study)]
    explorer = EXPLORER if (out / EXPLORER).exists() else ""
    return write_report(out / "report.html", title, sections, manifest, findings, explorer)
