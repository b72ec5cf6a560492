"""What a report is made of: sections with pictures, sounds and tables, and what was found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sat_jax.records.check import head_mask_of


class Picture(NamedTuple):
    """One figure of a section."""

    png: Path
    """The file that is inlined; a PDF and a CSV of the same stem beside it are linked."""
    caption: str
    """How to read it; paragraphs as in `Section.text`."""
    alt: str
    """What it shows, for those who do not see it."""
    control: Path | None = None
    """The same figure of the untrained model, behind a switch."""
    control_alt: str = ""
    """What that one shows."""


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
    definition: str = ""
    """Text that a reader unfolds: what is measured, and how."""


class Finding(NamedTuple):
    """One line of what was found, at the head of a report."""

    text: str
    """A sentence with its numbers and their intervals."""
    heading: str = ""
    """The section that shows it."""
    heads: Sequence[tuple[int, int]] = ()
    """Layer and head, from 1, of those that it names."""


PRUNED_PLACES = "Places of pruned heads are left blank."


def with_pruned(caption: str, tables: Sequence[Any]) -> str:
    """The caption, with a word on blank places where a table (`category`) has pruned heads.

    It ends the first paragraph.
    """
    if all(head_mask_of(table.category).all() for table in tables):
        return caption
    first, gap, rest = caption.partition("\n\n")
    return f"{first} {PRUNED_PLACES}{gap}{rest}"
