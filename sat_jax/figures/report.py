"""The report: sections, a head table and a manifest in, one self-contained HTML page out.

The page holds its pictures, sounds, styles and script; a content security policy forbids it to load
anything else. Links to the PDF and CSV files beside it are relative.
"""

import base64
import io
import json
import os
import re
import wave
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.heads import RANKED, HeadTable, check
from sat_jax.figures.page import PAGE
from sat_jax.shapes import SAMPLE_RATE


class Picture(NamedTuple):
    """One figure of a section."""

    png: Path
    """The file that is inlined; a PDF of the same stem beside it is linked."""
    caption: str
    """How to read it; paragraphs as in `Section.text`."""
    alt: str
    """What it shows, for those who do not see it."""


class Clip(NamedTuple):
    """A sound to play."""

    caption: str
    """What is heard."""
    audio: np.ndarray
    """`(N,)` int16 at 16 kHz."""


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
    files: Sequence[tuple[str, Path]] = ()
    """Label and path of files to link, such as tables."""


def write_report(
    path: Path,
    title: str,
    sections: Sequence[Section],
    table: HeadTable | None,
    manifest: dict[str, Any],
) -> Path:
    """Write the report to `path`, whole or not at all, and return `path`.

    `table` becomes a table that a click on a column's head sorts (None: no table), `manifest` (JSON
    values) a list at the foot. Raises InputError where a picture or a linked file does not exist,
    an alternative text is empty, or `path` cannot be written.
    """
    path = Path(path)
    numbered = list(enumerate(sections, start=1))
    contents = [f'<a href="#s{n}">{escape(section.heading)}</a>' for n, section in numbered]
    body = [_section(n, section, path.parent) for n, section in numbered]
    if table is not None:
        contents.append('<a href="#heads">All heads as a table</a>')
        body.append(_head_table(table))
    contents.append('<a href="#run">How it was made</a>')
    places = {
        "title": escape(title),
        "contents": "\n".join(contents),
        "body": "\n".join(body),
        "manifest": _manifest(manifest),
    }
    # One pass, so that a place's mark inside somebody's text stays text.
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: places[mark.group(1)], PAGE)
    return style.write_whole(path, page.encode())


def _section(number: int, section: Section, directory: Path) -> str:
    parts = [f'<section id="s{number}">', f"<h2>{escape(section.heading)}</h2>"]
    parts.append(_paragraphs(section.text))
    parts += [_clip(clip) for clip in section.clips]
    parts += [_picture(picture, directory) for picture in section.pictures]
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
    try:
        content = png.read_bytes()
    except OSError as error:
        raise InputError(
            f"{png}: cannot be read ({error.strerror}); save the figure first"
        ) from error
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(f"{png}: is not a PNG file; save the figure with figures.style.save")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    pdf = png.with_suffix(".pdf")
    link = f'<a href="{_relative(pdf, directory)}">PDF</a>' if pdf.exists() else ""
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img alt="{escape(picture.alt)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{data}">\n'
        f"<figcaption>{_paragraphs(picture.caption)}{link}</figcaption></figure>"
    )


def _clip(clip: Clip) -> str:
    samples = np.asarray(clip.audio)
    if samples.ndim != 1 or samples.dtype != np.int16:
        raise InputError(
            f"clip {clip.caption!r}: audio is {samples.dtype} {samples.shape}, expected int16 (N,)"
        )
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<p class="clip"><audio controls src="data:audio/wav;base64,{data}"></audio>\n'
        f"{escape(clip.caption)}</p>"
    )


def _relative(file: Path, directory: Path) -> str:
    """Link from a page in `directory` to `file`."""
    if not Path(file).exists():
        raise InputError(f"{file}: does not exist, so the report cannot link it; write it first")
    return escape(quote(Path(os.path.relpath(file, directory)).as_posix()))


def _head_table(table: HeadTable) -> str:
    """Every metric with its interval and every rank, one row per head."""
    check(table)
    names = list(table.metrics)
    heads = ["layer", "head", "category", "share of draws", *names]
    heads += [f"rank by {name}" for name in RANKED]
    labels = "".join(
        f'<th aria-sort="none" scope="col"><button>{escape(name.replace("_", " "))}</button></th>'
        for name in heads
    )
    rows = []
    for layer, head in np.ndindex(np.shape(table.category)):
        at = (layer, head)
        kind = str(table.category[at])
        cells = [_cell(layer + 1, f"L{layer + 1}"), _cell(head + 1, f"H{head + 1}")]
        cells.append(f'<td data-value="{kind}"><span class="{kind}">{kind}</span></td>')
        cells.append(_cell(table.category_share[at], f"{100 * table.category_share[at]:.0f} %"))
        for group, low, high, keys, digits in (
            (table.metrics, table.low, table.high, names, 3),
            (table.ranks, table.rank_low, table.rank_high, RANKED, 0),
        ):
            for name in keys:
                ends = [style.signed(end[name][at], digits) for end in (low, high)]
                value = style.signed(group[name][at], digits)
                cells.append(
                    _cell(group[name][at], f"{value} <small>{ends[0]} to {ends[1]}</small>")
                )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        '<section id="heads"><h2>All heads as a table</h2>\n'
        f"<p>{escape(table.name)}, means over {table.utterances} utterances; small print is the "
        "bootstrap 95 % interval. A click on a column's head sorts by it, a second click turns the "
        "order.</p>\n"
        '<div class="wide" tabindex="0" role="region" aria-label="Table of all heads">'
        f'<table id="sortable"><thead><tr>{labels}</tr></thead>\n<tbody>'
        + "\n".join(rows)
        + "</tbody></table></div></section>"
    )


def _cell(value: float, html: str) -> str:
    return f'<td data-value="{float(value):.9g}">{html}</td>'


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
