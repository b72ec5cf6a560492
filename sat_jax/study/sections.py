"""What a study says of a run, kept beside its figures, so that studies made one by one add up.

Imports no jax: the process that draws figures keeps sections too, see `study.drawing`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sat_jax.errors import InputError
from sat_jax.figures.report import Clip, Picture, Section, Table
from sat_jax.files import write_whole


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
