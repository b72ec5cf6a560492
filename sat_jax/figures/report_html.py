"""Parts of a report in, their HTML out. Text is escaped wherever it comes from."""

import base64
import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.report_records import Clip, Finding, Picture, Section, Table

MOST_LINKS = 16
"""Heads of a figure up to which each is linked; more are one link."""


class Parts(NamedTuple):
    """Where the parts of one report link to, and the pictures that they have shown."""

    directory: Path
    """Where the report lies."""
    explorer: str
    """A page there, empty for none."""
    shown: list[bytes]

    def findings(self, found: Sequence[Finding], anchors: Mapping[str, str]) -> str:
        """What was found, line by line, each with links to its heads and to its section."""
        lines = []
        for finding in found:
            links = [self.head_link(*head) for head in finding.heads]
            if finding.heading in anchors:
                links.append(f'<a href="{anchors[finding.heading]}">how</a>')
            lines.append(f"<li>{escape(finding.text)} {' '.join(filter(None, links))}</li>")
        opened = f'<p><a class="open" href="{quote(self.explorer)}">Open the explorer</a>: every '
        opened += "head's map, with the sound beside it.</p>"
        told = "<p>What was found; in brackets 95 % bootstrap intervals over utterances.</p>"
        listed = f"{told}<ul>{''.join(lines)}</ul>" if lines else ""
        return (opened if self.explorer else "") + listed

    def head_link(self, layer: int, head: int, control: bool = False, text: str = "") -> str:
        """A head, counted from 1, as a link into the explorer; its name where there is none."""
        name = escape(text or f"L{layer} H{head}")
        if not self.explorer:
            return name if text else ""
        more = "&amp;model=untrained" if control else ""
        return f'<a href="{quote(self.explorer)}#head={layer}.{head}{more}">{name}</a>'

    def section(self, number: int, section: Section) -> str:
        """One section."""
        parts = [f'<section id="s{number}">', f"<h2>{escape(section.heading)}</h2>"]
        parts.append(paragraphs(section.text))
        if section.definition:
            parts.append(folded("What is measured, and how", paragraphs(section.definition)))
        parts += [clip_of(clip) for clip in section.clips]
        parts += [self.picture(picture) for picture in section.pictures]
        parts += [self.table(table) for table in section.tables]
        links = [
            f'<a href="{relative(file, self.directory)}">{escape(label)}</a>'
            for label, file in section.files
        ]
        if links:
            parts.append(f'<p class="links">{" ".join(links)}</p>')
        return "\n".join([*parts, "</section>"])

    def picture(self, picture: Picture) -> str:
        """A figure with its caption, its files, and its heads; the untrained one by a switch."""
        png = Path(picture.png)
        images = self.image(png, picture.alt, "")
        if picture.control is not None:
            images += self.image(Path(picture.control), picture.control_alt, " hidden")
            images += '<button class="switch" aria-pressed="false">Untrained model</button>'
        files = [png.with_suffix(suffix) for suffix in (".pdf", ".csv")]
        link = " ".join(
            f'<a href="{relative(file, self.directory)}">{file.suffix[1:].upper()}</a>'
            for file in files
            if file.exists()
        )
        first, _, more = picture.caption.partition("\n\n")
        caption = paragraphs(first)
        if more:
            caption += folded("How to read it", paragraphs(more))
        return (
            f"<figure>{images}\n"
            f"<figcaption>{caption}{link}{self.heads_of(files[1])}</figcaption></figure>"
        )

    def image(self, png: Path, alt: str, hidden: str) -> str:
        """A place for a picture, whose pixels stand at the end of the page."""
        if not alt.strip():
            raise InputError(
                f"{png}: the picture has no alternative text; say in a line what it shows"
            )
        content = content_of(png)
        if content[:8] != b"\x89PNG\r\n\x1a\n":
            raise InputError(f"{png}: is not a PNG file; save the figure with figures.style.save")
        width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
        self.shown.append(content)
        return (
            f'<img alt="{escape(alt)}" width="{width}" height="{height}" '
            f'data-png="png-{len(self.shown)}"{hidden}>'
        )

    def pixels(self) -> str:
        """The pictures of all sections that were made, as base64 that the page's script reads."""
        return "\n".join(
            f'<script type="text/plain" id="png-{number}">{base64.b64encode(png).decode()}</script>'
            for number, png in enumerate(self.shown, start=1)
        )

    def heads_of(self, table: Path) -> str:
        """Links to the heads that the table of a figure names; one link where they are many."""
        if not self.explorer or not table.exists():
            return ""
        rows = csv.DictReader(content_of(table).decode().splitlines())
        if not {"layer", "head"} <= set(rows.fieldnames or ()):
            return ""
        heads = {(row["layer"], row["head"]): None for row in rows}
        named = [head for head in heads if all(re.fullmatch(r"[1-9]\d*", part) for part in head)]
        if not named:
            return ""
        if len(named) > MOST_LINKS:
            return f' <a href="{quote(self.explorer)}">all heads in the explorer</a>'
        links = " ".join(self.head_link(int(layer), int(head)) for layer, head in named)
        return f'<p class="links">In the explorer: {links}</p>'

    def table(self, table: Table) -> str:
        """A CSV as a sortable table; the bounds of a value stand under it in small print."""
        rows = list(csv.reader(content_of(Path(table.rows)).decode().splitlines()))
        if len({len(row) for row in rows}) != 1 or not rows[0]:
            raise InputError(
                f"{table.rows}: is not a CSV table with a head and rows of one length; make the "
                "study that writes it again"
            )
        names = rows[0]
        bounds = [(_place(names, f"{name}_low"), _place(names, f"{name}_high")) for name in names]
        shown = [i for i, name in enumerate(names) if not _is_bound(name, names)]
        labels = "".join(
            '<th aria-sort="none" scope="col"><button>'
            f"{escape(names[i].replace('_', ' '))}</button></th>"
            for i in shown
        )
        layer = _place(names, "layer")
        body = "\n".join(
            "<tr>{}</tr>".format(
                "".join(
                    self.cell(row, i, names[i], bounds[i], None if layer is None else row[layer])
                    for i in shown
                )
            )
            for row in rows[1:]
        )
        return (
            f"<p>{escape(table.caption)} A click on a column's head sorts by it, a second click "
            "turns the order; small print is the bootstrap 95 % interval.</p>\n"
            f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.caption)}">'
            f'<table class="sortable"><thead><tr>{labels}</tr></thead>\n<tbody>{body}</tbody>'
            "</table></div>"
        )

    def cell(
        self,
        row: list[str],
        at: int,
        name: str,
        bounds: tuple[int | None, int | None],
        layer: str | None,
    ) -> str:
        """One cell; that of a head links into the explorer."""
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
                interval = " <small>{} to {}</small>".format(
                    *(style.signed(e, digits) for e in ends)
                )
        shown = style.signed(number, digits)
        if name == "head" and layer and number > 0 and not digits and layer.isdigit():
            shown = self.head_link(int(layer), int(number), text=shown)
        return f'<td data-value="{number:.9g}">{shown}{interval}</td>'


def folded(summary: str, content: str) -> str:
    """Content that a reader unfolds."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def paragraphs(text: str) -> str:
    """HTML of plain text: blocks between blank lines, indented ones as formulas."""
    blocks = [block.strip("\n") for block in text.split("\n\n")]
    return "\n".join(
        f"<pre>{escape(block)}</pre>" if block.startswith("    ") else f"<p>{escape(block)}</p>"
        for block in blocks
        if block.strip()
    )


def clip_of(clip: Clip) -> str:
    """A sound to play."""
    content = content_of(Path(clip.wav))
    if content[:4] != b"RIFF":
        raise InputError(f"{clip.wav}: is not a RIFF (wav) file; write the sound as wav")
    data = base64.b64encode(content).decode()
    return (
        f'<p class="clip"><audio controls src="data:audio/wav;base64,{data}"></audio>\n'
        f"{escape(clip.caption)}</p>"
    )


def content_of(file: Path) -> bytes:
    """What a file holds; raises `InputError` where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); make it before the report"
        ) from error


def relative(file: Path, directory: Path) -> str:
    """Link from a page in `directory` to `file`."""
    if not Path(file).exists():
        raise InputError(f"{file}: does not exist, so the report cannot link it; write it first")
    return escape(quote(Path(os.path.relpath(file, directory)).as_posix()))


def manifest_list(manifest: Mapping[str, Any]) -> str:
    """Definition list of a manifest; values that are no strings are shown as JSON."""
    entries = []
    for key, value in manifest.items():
        if isinstance(value, dict):
            shown = manifest_list(value)
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            shown = f"<code>{escape(text)}</code>"
        entries.append(f"<dt>{escape(str(key))}</dt><dd>{shown}</dd>")
    return f"<dl>{''.join(entries)}</dl>"


def _place(names: list[str], name: str) -> int | None:
    return names.index(name) if name in names else None


def _is_bound(name: str, names: list[str]) -> bool:
    stem, _, end = name.rpartition("_")
    return end in ("low", "high") and stem in names


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
