"""A CTM file in, where the lines of each utterance stand; and an utterance's segments out.

Lines are `utterance channel start duration label [...]`, in seconds; `;;` begins a comment. A file
of a large corpus has tens of millions of lines, so only the places of utterances are kept.
"""

import math
from pathlib import Path
from typing import NamedTuple

from sat_jax.audio.alignments import TOLERANCE
from sat_jax.audio.faults import BadItem
from sat_jax.audio.phones import Segment
from sat_jax.errors import InputError
from sat_jax.grid import SAMPLE_RATE

_MOST_ROUNDING = TOLERANCE / SAMPLE_RATE


class Lines(NamedTuple):
    """Bytes `[start, end)` of a CTM file that hold one utterance, and the number of its first line.

    No bytes stand for an utterance that the file should hold and does not.
    """

    utterance: str
    start: int
    end: int
    number: int

    def place(self, path: Path) -> str:
        """What a fault of the utterance as a whole names."""
        return f"{path}, from line {self.number} ({self.utterance})"


class _Row(NamedTuple):
    number: int
    start: float
    end: float
    label: str


def index_ctm(path: Path) -> dict[str, Lines]:
    """The lines of each utterance of a CTM file, of which one line at a time is in memory.

    Raises `InputError`, with the line, where an utterance goes on after lines of another one, or a
    name is not UTF-8.
    """
    found: dict[bytes, Lines] = {}
    current, offset = None, 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                start, offset = offset, offset + len(line)
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                fields = line.split(None, 1)
                if not fields or fields[0].startswith(b";;"):
                    continue
                if fields[0] == current:
                    last = offset
                    continue
                if current is not None:
                    found[current] = found[current]._replace(end=last)
                current, last = fields[0], offset
                if current in found:
                    raise InputError(
                        f"{path}, line {number}: utterance {_decode(path, number, current)!r} "
                        f"began in line {found[current].number}, and others stand between; sort "
                        "the lines by utterance and start: sort -k1,1 -k2,2 -k3,3g"
                    )
                found[current] = Lines(_decode(path, number, current), start, offset, number)
            if current is not None:
                found[current] = found[current]._replace(end=last)
    except OSError as error:
        raise InputError(
            f"corpus.alignments {path} cannot be read ({error.strerror}): check the file"
        ) from error
    return {lines.utterance: lines for lines in found.values()}


def read_ctm(path: Path, lines: Lines) -> list[Segment]:
    """Segments of one utterance of a CTM file, in samples of 16 kHz, gaps left open.

    A start and the end before it that differ by no more than their digits can tell are one
    boundary. Raises `BadItem`, with the line, for an utterance without lines or of several
    channels, and for lines of another form, out of order, or without a duration.
    """
    if lines.start == lines.end:
        raise BadItem(
            path,
            "missing alignment",
            f"it has no line of utterance {lines.utterance!r}",
            "add them, or leave all alignments out",
        )
    rows, channels, digits = [], set(), 0
    for number, line in enumerate(_read(path, lines), start=lines.number):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        row = _parse(number, fields, lines.utterance)
        channels.add("".join(fields[1:2]))
        if row is None or len(channels) > 1:
            expected = f"{lines.utterance!r}, one channel, start, duration and label"
            detail = f"it is {line.strip()!r}, expected {expected}"
            raise _fault(path, number, "bad CTM line", detail)
        if row.end <= row.start:
            detail = f"phone {row.label!r} has no duration"
            raise _fault(path, number, "empty phone", detail)
        rows.append(row)
        digits = max(digits, *(len(field.partition(".")[2]) for field in fields[2:4]))
    # Two times and a duration are rounded, by half a unit of the last digit each.
    return _join(path, rows, min((1.5 + 1e-6) * 10.0**-digits, _MOST_ROUNDING))


def _read(path: Path, lines: Lines) -> list[str]:
    try:
        with open(path, "rb") as file:
            file.seek(lines.start)
            raw = file.read(lines.end - lines.start)
    except OSError as error:
        raise BadItem(
            path, "unreadable alignment", f"cannot be read ({error.strerror})", "check the file"
        ) from error
    try:
        return raw.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    except UnicodeDecodeError as error:
        number = lines.number + raw[: error.start].count(b"\n")
        raise _fault(path, number, "unreadable alignment", "it is not UTF-8 text") from error


def _parse(number: int, fields: list[str], utterance: str) -> _Row | None:
    if len(fields) < 5 or fields[0] != utterance:
        return None
    try:
        start, duration = map(float, fields[2:4])
    except ValueError:
        return None
    if not (math.isfinite(start) and math.isfinite(duration)) or start < 0:
        return None
    return _Row(number, start, start + duration, fields[4])


def _join(path: Path, rows: list[_Row], rounding: float) -> list[Segment]:
    """Segments, each end moved onto the start that follows it where rounding parts the two."""
    joined: list[_Row] = []
    for row in rows:
        if joined:
            before = joined[-1]
            if abs(row.start - before.end) <= rounding and row.start > before.start:
                joined[-1] = before._replace(end=row.start)
            elif row.start < before.end:
                detail = (
                    f"phone {row.label!r} starts at {row.start:g} s, before {before.end:g} s, "
                    "where the one before it ends"
                )
                raise _fault(path, row.number, "overlapping phones", detail)
        joined.append(row)
    return [
        Segment(round(row.start * SAMPLE_RATE), round(row.end * SAMPLE_RATE), row.label)
        for row in joined
    ]


def _decode(path: Path, number: int, name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {number}: it is not UTF-8 text; save it as UTF-8"
        ) from error


def _fault(path: Path, number: int, reason: str, detail: str) -> BadItem:
    return BadItem(f"{path}, line {number}", reason, detail, "align or export it again")
