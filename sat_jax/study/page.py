"""Sections of each study in, the run's report out; sections are kept, so that studies add up."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.report import (
    Clip,
    Finding,
    Picture,
    Section,
    Table,
    write_report,
)
from sat_jax.files import write_whole
from sat_jax.study.loaded_run import LoadedRun

EXPLORER = "explorer.html"
"""The page of maps, beside the report."""


def keep_figure(
    loaded: LoadedRun, stem: str, figure: Figure, rows: Sequence[dict[str, Any]]
) -> None:
    """Write a figure, and what it shows as CSV beside it, into the results of a run."""
    place = loaded.out / "figures"
    style.save(figure, place, stem, loaded.analysis.pdf)
    files.write_table(place / f"{stem}.csv", rows)


def keep_sections(out: Path, study: str, sections: Sequence[Section]) -> None:
    """Write what a study says about a run to `out`/analysis/sections, whole or not at all."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value.relative_to(out))
        return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value

    text = json.dumps([plain(section) for section in sections], indent=1)
    write_whole(out / "analysis" / "sections" / f"{study}.json", text.encode())


def kept_sections(out: Path, study: str) -> list[Section]:
    """What `keep_sections` wrote; nothing where the study was never made."""
    path = out / "analysis" / "sections" / f"{study}.json"
    if not path.exists():
        return []
    try:
        return [_section(out, *fields) for fields in json.loads(path.read_text())]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is not what analyze.py writes ({error}); delete it and make the {study} study"
            " again"
        ) from error


def _section(
    out: Path,
    heading: str,
    text: str,
    pictures: list,
    clips: list,
    tables: list,
    files: list,
    definition: str = "",
) -> Section:
    return Section(
        heading,
        text,
        [_picture(out, *fields) for fields in pictures],
        [Clip(caption, inside(out, wav)) for caption, wav in clips],
        [Table(caption, inside(out, rows)) for caption, rows in tables],
        [(label, inside(out, file)) for label, file in files],
        definition,
    )


def _picture(
    out: Path, png: str, caption: str, alt: str, control: str | None = None, control_alt: str = ""
) -> Picture:
    other = None if control is None else inside(out, control)
    return Picture(inside(out, png), caption, alt, other, control_alt)


def inside(out: Path, name: str) -> Path:
    """The file of that name below `out`; raises `ValueError` for one that lies elsewhere.

    A run may be somebody else's, and what its report shows is put into a page.
    """
    path = out / name
    if not path.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"{name} lies outside of {out}")
    return path


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
