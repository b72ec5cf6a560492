"""A TextGrid or .PHN file in, segments that tile the utterance out; faults name file and interval.

TextGrids are read in Praat's long and short text forms: Praat itself sees only the quoted texts,
the numbers and the flags that stand free, in order, so both forms are one to this parser.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sat_jax.audio.faults import BadItem
from sat_jax.audio.phone_labels import SPOKEN_NOISE
from sat_jax.audio.phones import SILENCE, Segment
from sat_jax.grid import SAMPLE_RATE

TIERS = ("phones", "phone", "mau")
"""Tiers that are looked for, in this order; aligners of several speakers call it `ANN - phones`."""

TOLERANCE = SAMPLE_RATE // 50
"""Samples (20 ms) by which an aligner's rounding may pass the end of the audio."""

COVERED = 0.75
"""Share of the audio that labels have to reach: less is not a pause, but another time scale."""

_ROUNDING = 1e-6  # seconds, far below one sample

_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"'  # text; a quote inside it is doubled
    r"|(?<!\S)(<\w+>)(?!\S)"
    r"|(?<!\S)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)"
    r"|(?<!\S)(![^\n]*)"
)


class Tokens(NamedTuple):
    """The free-standing values of a file, in order, and the file to name when one is wrong."""

    path: Path
    values: Iterator[re.Match]


class Interval(NamedTuple):
    """One labelled stretch as a file states it, in seconds."""

    start: float
    end: float
    label: str


def read_textgrid(path: Path, tier: str = "") -> list[Segment]:
    """Segments of one interval tier of a TextGrid, in samples of 16 kHz, gaps left open.

    The tier is called `tier` or `SPEAKER - tier`, in any case; without one, as the first of `TIERS`
    that there is. UTF-8 or UTF-16, with or without a byte order mark. Raises `BadItem` for anything
    that is not a whole TextGrid, for a missing tier, and for intervals that overlap, are empty, run
    backwards or leave the tier.
    """
    matches = _TOKEN.finditer(_decode(path))
    tokens = Tokens(path, (match for match in matches if match[4] is None))
    if not _text(tokens, "the file type").startswith("ooTextFile"):
        raise _fault(tokens, "it does not start with ooTextFile")
    if _text(tokens, "the object class") != "TextGrid":
        raise _fault(tokens, "it is not a TextGrid")
    for place in ("xmin", "xmax"):
        _number(tokens, place)
    names, found = [], {}
    for _ in range(_count(tokens, "the number of tiers") if _has_tiers(tokens) else 0):
        kind, name = _text(tokens, "a tier's class"), _text(tokens, "a tier's name")
        names.append(name)
        intervals = _read_tier(tokens, kind, name)
        if kind == "IntervalTier":
            found.setdefault(name.strip().lower(), []).append(intervals)
    if extra := next(tokens.values, None):
        raise _fault(tokens, f"it goes on with {extra[0]} after the intervals that it announces")
    wanted = (tier.strip().lower(),) if tier else TIERS
    chosen = next(filter(None, (_named(found, name) for name in wanted)), [])
    if len(chosen) != 1:
        listed = ", ".join(repr(name) for name in names) or "none"
        problem = "several interval tiers" if chosen else "no interval tier"
        raise BadItem(
            path,
            "no phone tier",
            f"{problem} {' or '.join(map(repr, (tier,) if tier else TIERS))} (tiers: {listed})",
            "name the one that holds phones: --corpus.tier NAME",
        )
    if not chosen[0]:
        raise BadItem(path, "bad TextGrid", "its tier of phones is empty", "align it again")
    return [
        Segment(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE), label)
        for start, end, label in chosen[0]
    ]


def read_phn(path: Path, rate: int = SAMPLE_RATE) -> list[Segment]:
    """Segments of a TIMIT .PHN file (`start end label`, in samples of `rate` Hz), as 16 kHz.

    Raises `BadItem` for a line of another form.
    """
    segments = []
    for number, line in enumerate(_decode(path).splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split()
        if len(fields) != 3 or not (fields[0].isdigit() and fields[1].isdigit()):
            raise BadItem(
                path,
                "bad .PHN file",
                f"line {number} is {line.strip()!r}, expected start, end and a label",
                "copy it again",
            )
        start, end = (round(int(field) * SAMPLE_RATE / rate) for field in fields[:2])
        segments.append(Segment(start, end, fields[2]))
    if not segments:
        raise BadItem(path, "bad .PHN file", "it holds no phones", "copy it again")
    return segments


def check_phones(segments: list[Segment], samples: int, path: Path | str) -> list[Segment]:
    """Segments that tile `[0, samples)`: gaps become silence, an end within 20 ms is clipped.

    Up to 20 ms before the first segment and after the last are an aligner's rounding: they belong
    to that segment, since silence of one or two frames would be no silence and an edge that nobody
    heard.

    Raises `BadItem`, naming `path` and the interval, for segments that overlap, are empty, end more
    than 20 ms after the audio, or end so early that they must be of another recording or hop.
    """
    tiled: list[Segment] = []
    reached = 0
    for number, (start, end, label) in enumerate(segments, start=1):
        here = f"interval {number} ({label!r}, {start / SAMPLE_RATE:g} to {end / SAMPLE_RATE:g} s)"
        if start < reached:
            raise BadItem(
                path,
                "overlapping phones",
                f"{here} starts before {reached / SAMPLE_RATE:g} s, where the one before it ends",
                "align it again",
            )
        if end <= start:
            raise BadItem(
                path, "empty phone", f"{here} has no duration", "delete it, or align it again"
            )
        if end > samples + TOLERANCE:
            raise BadItem(
                path,
                "alignment past the end of the audio",
                f"{here} ends after the audio, which is {samples / SAMPLE_RATE:g} s long",
                "check that it belongs to this recording and that the recording is whole",
            )
        if start > reached == 0 and start <= TOLERANCE:
            start = 0
        if start > reached:
            tiled.append(Segment(reached, min(start, samples), SILENCE))
        tiled.append(Segment(start, min(end, samples), label))
        reached = end
    if reached < COVERED * samples:
        raise BadItem(
            path,
            "alignment that covers too little of the audio",
            f"its last interval ends at {reached / SAMPLE_RATE:g} s and the audio at "
            f"{samples / SAMPLE_RATE:g} s",
            "check that it belongs to this recording and counts in its sample rate; label a long "
            "pause as sil",
        )
    if samples - TOLERANCE <= reached < samples:
        tiled[-1] = tiled[-1]._replace(end=samples)
    elif reached < samples:
        tiled.append(Segment(reached, samples, SILENCE))
    return [segment for segment in tiled if segment.start < segment.end]


def noise_notes(segments: list[Segment]) -> tuple[str, ...]:
    """What is to be told about intervals of spoken noise, whose phones nobody knows."""
    if any(segment.label.strip().lower() == SPOKEN_NOISE for segment in segments):
        return (f"with intervals {SPOKEN_NOISE!r} (unknown words), which count as {SILENCE!r}",)
    return ()


def _named(tiers: dict[str, list[list[Interval]]], name: str) -> list[list[Interval]]:
    """Every tier called `name` or `SPEAKER - name`."""
    return [
        intervals
        for called, several in tiers.items()
        if called == name or called.endswith(f" - {name}")
        for intervals in several
    ]


def _read_tier(tokens: Tokens, kind: str, name: str) -> list[Interval]:
    first, last = _number(tokens, "xmin"), _number(tokens, "xmax")
    intervals: list[Interval] = []
    for number in range(1, _count(tokens, f"the size of tier {name!r}") + 1):
        here = f"tier {name!r}, interval {number}"
        start = _number(tokens, here)
        if kind == "TextTier":
            _text(tokens, here)
            continue
        end, label = _number(tokens, here), _text(tokens, here)
        before = intervals[-1].end if intervals else first
        if start < before - _ROUNDING:
            raise _fault(tokens, f"{here} starts at {start:g} s, before {before:g} s: it overlaps")
        if end <= start:
            raise _fault(tokens, f"{here} lasts from {start:g} to {end:g} s: it has no duration")
        if end > last + _ROUNDING:
            raise _fault(tokens, f"{here} ends at {end:g} s, after the tier's end at {last:g} s")
        intervals.append(Interval(start, end, label))
    return intervals


def _decode(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise BadItem(
            path, "missing alignment", "it is missing", "add it, or leave all alignments out"
        ) from error
    except OSError as error:
        raise BadItem(
            path, "unreadable alignment", f"cannot be opened ({error.strerror})", "check the file"
        ) from error
    encoding = "utf-8-sig"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif 0 in raw[:2]:
        encoding = "utf-16-le" if raw[1] == 0 else "utf-16-be"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadItem(
            path, "unreadable alignment", f"it is not {encoding} text", "save it as UTF-8"
        ) from error


def _fault(tokens: Tokens, detail: str) -> BadItem:
    return BadItem(tokens.path, "bad TextGrid", detail, "align or export it again")


def _text(tokens: Tokens, place: str) -> str:
    match = _next(tokens, place)
    if match[1] is None:
        raise _fault(tokens, f"{place}: expected a quoted text, found {match[0]}")
    return match[1].replace('""', '"')


def _number(tokens: Tokens, place: str) -> float:
    match = _next(tokens, place)
    if match[3] is None or not math.isfinite(float(match[3])):
        raise _fault(tokens, f"{place}: expected a number, found {match[0]}")
    return float(match[3])


def _count(tokens: Tokens, place: str) -> int:
    value = _number(tokens, place)
    if value != int(value) or value < 0:
        raise _fault(tokens, f"{place}: expected a count, found {value:g}")
    return int(value)


def _has_tiers(tokens: Tokens) -> bool:
    match = _next(tokens, "tiers")
    if match[2] is None:
        raise _fault(tokens, f"expected <exists>, found {match[0]}")
    return match[2] == "<exists>"


def _next(tokens: Tokens, place: str) -> re.Match:
    match = next(tokens.values, None)
    if match is None:
        raise _fault(tokens, f"it ends at {place}: it is truncated or not a TextGrid")
    return match
