"""The report: sections and a manifest in, one self-contained HTML page out.

The page holds its pictures, sounds, styles and script; a content security policy forbids it to load
anything else. Links to the PDF and CSV files beside it are relative.
"""

import base64
import csv
import json
import os
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.page import PAGE
from sat_jax.records.check import head_mask_of


class Picture(NamedTuple):
    """One figure of a section."""

    png: Path
    """The file that is inlined; a PDF and a CSV of the same stem beside it are linked."""
    caption: str
    """How to read it; paragraphs as in `Section.text`."""
    alt: str
    """What it shows, for those who do not see it."""


class Clip(NamedTuple):
    """A sound to play."""

    caption: str
    """What is heard."""
    wav: Path
    """The file that is inlined."""


class Table(NamedTuple):
    """A table to sort."""

    caption: str
    """What it holds."""
    rows: Path
    """A CSV file; the columns x_low and x_high are shown as the interval of x."""


class Section(NamedTuple):
    """One part of a report."""

    heading: str
    """Its title."""
    text: str = ""
    """Plain text; a blank line ends a paragraph, an indented paragraph is set as a formula."""
    pictures: Sequence[Picture] = ()
    """Figures in their order."""
    clips: Sequence[Clip] = ()
    """Sounds, before the figures."""
    tables: Sequence[Table] = ()
    """Tables, after the figures."""
    files: Sequence[tuple[str, Path]] = ()
    """Label and path of files to link."""


PRUNED_PLACES = "Places of pruned heads are left blank."


def with_pruned(caption: str, tables: Sequence[Any]) -> str:
    """The caption, with a word on blank places where a table (`category`) has pruned heads.

    It ends the first paragraph.
    """
    if all(head_mask_of(table.category).all() for table in tables):
        return caption
    first, gap, rest = caption.partition("\n\n")
    return f"{first} {PRUNED_PLACES}{gap}{rest}"


def write_report(
    path: Path, title: str, sections: Sequence[Section], manifest: dict[str, Any]
) -> Path:
    """Write the report to `path`, whole or not at all, and return `path`.

    A click on the head of a table's column sorts it; `manifest` (JSON values) becomes a list at the
    foot. Raises InputError where a picture, a sound, a table or a linked file cannot be read, an
    alternative text is empty, or `path` cannot be written.
    """
    path = Path(path)
    numbered = list(enumerate(sections, start=1))
    contents = [f'<a href="#s{n}">{escape(section.heading)}</a>' for n, section in numbered]
    contents.append('<a href="#run">How it was made</a>')
    places = {
        "title": escape(title),
        "contents": "\n".join(contents),
        "body": "\n".join(_section(n, section, path.parent) for n, section in numbered),
        "manifest": _manifest(manifest),
    }
    # One pass, so that a place's mark inside somebody's text stays text.
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: places[mark.group(1)], PAGE)
    return files.write_whole(path, page.encode())


def _section(number: int, section: Section, directory: Path) -> str:
    parts = [f'<section id="s{number}">', f"<h2>{escape(section.heading)}</h2>"]
    parts.append(_paragraphs(section.text))
    parts += [_clip(clip) for clip in section.clips]
    parts += [_picture(picture, directory) for picture in section.pictures]
    parts += [_table(table) for table in section.tables]
    links = [
        f'<a href="{_relative(file, directory)}">{escape(label)}</a>'
        for label, file in section.files
    ]
    if links:
        parts.append(f'<p class="links">{" ".join(links)}</p>')
    return "\n".join([*parts, "</section>"])


def _paragraphs(text: str) -> str:
    """HTML of plain text: blocks between blank lines, indented ones as formulas."""
    blocks = [block.strip("\n") for block in text.split("\n\n")]
    return "\n".join(
        f"<pre>{escape(block)}</pre>" if block.startswith("    ") else f"<p>{escape(block)}</p>"
        for block in blocks
        if block.strip()
    )


def _picture(picture: Picture, directory: Path) -> str:
    png = Path(picture.png)
    if not picture.alt.strip():
        raise InputError(f"{png}: the picture has no alternative text; say in a line what it shows")
    content = _content(png)
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(f"{png}: is not a PNG file; save the figure with figures.style.save")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    beside = [png.with_suffix(suffix) for suffix in (".pdf", ".csv")]
    link = " ".join(
        f'<a href="{_relative(file, directory)}">{file.suffix[1:].upper()}</a>'
        for file in beside
        if file.exists()
    )
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img alt="{escape(picture.alt)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{data}">\n'
        f"<figcaption>{_paragraphs(picture.caption)}{link}</figcaption></figure>"
    )


def _clip(clip: Clip) -> str:
    content = _content(Path(clip.wav))
    if content[:4] != b"RIFF":
        raise InputError(f"{clip.wav}: is not a RIFF (wav) file; write the sound as wav")
    data = base64.b64encode(content).decode()
    return (
        f'<p class="clip"><audio controls src="data:audio/wav;base64,{data}"></audio>\n'
        f"{escape(clip.caption)}</p>"
    )


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); make it before the report"
        ) from error


def _relative(file: Path, directory: Path) -> str:
    """Link from a page in `directory` to `file`."""
    if not Path(file).exists():
        raise InputError(f"{file}: does not exist, so the report cannot link it; write it first")
    return escape(quote(Path(os.path.relpath(file, directory)).as_posix()))


def _table(table: Table) -> str:
    """A CSV as a sortable table; the bounds of a value stand under it in small print."""
    rows = list(csv.reader(_content(Path(table.rows)).decode().splitlines()))
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise InputError(f"{table.rows}: is not a CSV table with a head and rows of one length")
    names = rows[0]
    bounds = [(_place(names, f"{name}_low"), _place(names, f"{name}_high")) for name in names]
    shown = [i for i, name in enumerate(names) if not _is_bound(name, names)]
    labels = "".join(
        '<th aria-sort="none" scope="col"><button>'
        f"{escape(names[i].replace('_', ' '))}</button></th>"
        for i in shown
    )
    body = "\n".join(
        f"<tr>{''.join(_cell(row, i, names[i], bounds[i]) for i in shown)}</tr>" for row in rows[1:]
    )
    return (
        f"<p>{escape(table.caption)} A click on a column's head sorts by it, a second click turns "
        "the order; small print is the bootstrap 95 % interval.</p>\n"
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.caption)}">'
        f'<table class="sortable"><thead><tr>{labels}</tr></thead>\n<tbody>{body}</tbody></table>'
        "</div>"
    )


def _place(names: list[str], name: str) -> int | None:
    return names.index(name) if name in names else None


def _is_bound(name: str, names: list[str]) -> bool:
    stem, _, end = name.rpartition("_")
    return end in ("low", "high") and stem in names


def _cell(row: list[str], at: int, name: str, bounds: tuple[int | None, int | None]) -> str:
    text = row[at]
    number = _number(text)
    if number is None:
        mark = f'<span class="{escape(text)}">' if name == "category" else "<span>"
        return f'<td data-value="{escape(text)}">{mark}{escape(text)}</span></td>'
    digits = 0 if re.fullmatch(r"-?\d+", text) else 3
    interval = ""
    if None not in bounds:
        ends = [_number(row[bound]) for bound in bounds]
        if None not in ends:
            interval = " <small>{} to {}</small>".format(*(style.signed(e, digits) for e in ends))
    return f'<td data-value="{number:.9g}">{style.signed(number, digits)}{interval}</td>'


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _manifest(manifest: dict[str, Any]) -> str:
    """Definition list of a manifest; values that are no strings are shown as JSON."""
    entries = []
    for key, value in manifest.items():
        if isinstance(value, dict):
            shown = _manifest(value)
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            shown = f"<code>{escape(text)}</code>"
        entries.append(f"<dt>{escape(str(key))}</dt><dd>{shown}</dd>")
    return f"<dl>{''.join(entries)}</dl>"
