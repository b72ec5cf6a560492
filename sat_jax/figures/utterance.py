"""One utterance along time: an `Example` in, its waveform, spectrogram and phones drawn on axes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.grid import SAMPLE_RATE

SOUND_HEIGHT = 1.5  # inches that `draw_sound` takes from the top of a figure
LABEL_HEIGHT = 0.085  # inches of one row of phone labels
LABEL_ROWS = 4
TICK_ROOM = 0.022  # inches between phone boundaries, on average, below which ticks are no help


class Example(NamedTuple):
    """One utterance with the raw maps of every head."""

    id: str
    """Name of the utterance in its corpus."""
    maps: np.ndarray
    """`(L, H, T, T)` attention, queries in rows; rows sum to 1. NaN for pruned heads."""
    spectrogram: np.ndarray
    """`(frames, F)` log-mel."""
    audio: np.ndarray
    """`(N,)` int16 at 16 kHz."""
    phones: list[tuple[float, float, str]]
    """Start and end in seconds and label of each phone, in time order; empty if there are none."""
    seconds_per_position: float
    """Time from one position to the next."""
    start_seconds: float
    """Time of the centre of position 0."""


def example_of(
    id: str,
    maps: np.ndarray,
    spectrogram: np.ndarray,
    audio: np.ndarray,
    phones: np.ndarray,
    phone_names: Sequence[str],
    hop: int,
    stack: int,
    centred: bool = False,
) -> Example:
    """An example from samples: phones `(n, 3)` are start, end (samples) and label; hop in samples.

    Frame t of the spectrogram is centred in the samples that it covers, or, where frames are
    `centred`, at t hops; phones are cut where the audio ends.
    """
    window = 0 if centred else len(audio) - (len(spectrogram) - 1) * hop
    named = [
        (start / SAMPLE_RATE, min(end, len(audio)) / SAMPLE_RATE, phone_names[label])
        for start, end, label in phones.tolist()
        if start < len(audio)
    ]
    return Example(
        id=id,
        maps=maps.astype(np.float32),
        spectrogram=spectrogram,
        audio=audio,
        phones=named,
        seconds_per_position=stack * hop / SAMPLE_RATE,
        start_seconds=((stack - 1) * hop + window) / 2 / SAMPLE_RATE,
    )


def check_example(example: Example, head_mask: np.ndarray) -> None:
    """Raise InputError where maps are not of heads `head_mask` (L, H) or the records disagree.

    Maps of pruned heads, False in `head_mask`, are not looked at.
    """
    where = f"example {example.id!r}"
    shape = np.shape(example.maps)
    if len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
        raise InputError(f"{where}: maps have shape {shape}, expected (L, H, T, T)")
    if shape[:2] != head_mask.shape:
        raise InputError(
            f"{where}: maps are of {shape[:2]} heads, but the head table is of {head_mask.shape}"
        )
    rows = np.sum(example.maps[head_mask], axis=-1, dtype=np.float64)
    if not np.abs(rows - 1).max() < 0.02:  # also false where anything is NaN
        raise InputError(
            f"{where}: rows of the maps do not sum to 1; give probabilities without padding"
        )
    if np.ndim(example.spectrogram) != 2 or len(example.spectrogram) < shape[2]:
        raise InputError(
            f"{where}: spectrogram has shape {np.shape(example.spectrogram)}, "
            f"expected (frames, F) with at least {shape[2]} frames"
        )
    if np.ndim(example.audio) != 1 or np.size(example.audio) == 0:
        raise InputError(
            f"{where}: audio has shape {np.shape(example.audio)}, expected (N,), N > 0"
        )
    if not example.seconds_per_position > 0:
        raise InputError(
            f"{where}: seconds_per_position is {example.seconds_per_position}, expected > 0"
        )
    for start, end, label in example.phones:
        if not start < end:
            raise InputError(
                f"{where}: phone {label!r} ends at {end} s, not after its start {start} s"
            )


def time_span(example: Example) -> tuple[float, float]:
    """Seconds at the left edge of the first and the right edge of the last position of the maps."""
    start = example.start_seconds - example.seconds_per_position / 2
    return start, start + np.shape(example.maps)[-1] * example.seconds_per_position


def round_times(start: float, end: float, inches: float, spacing: float = 0.3) -> np.ndarray:
    """Round times from `start` to `end`, as many as fit on `inches` at `spacing` (at least two)."""
    limit = max(2, int(inches / spacing) + 1)
    steps = (m * 10.0**e for e in range(-2, 6) for m in (1, 2, 5))
    for step in steps:
        first, last = math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9)
        if last - first + 1 <= limit:
            return np.arange(first, last + 1) * step
    raise InputError(f"time axis from {start} to {end} s; expected an utterance of less than a day")


def label_rows(example: Example, inches: float, points: float) -> int:
    """Rows of staggered phone labels along an axis of `inches`; 0 where they would not all fit."""
    rows = [row for *_, row in _staggered(example, inches, points)]
    return 0 if -1 in rows else max(rows, default=-1) + 1


def draw_phones(
    axes: Axes,
    example: Example,
    corner: tuple[float, float],
    inches: float,
    unit: float = 1.0,
    rows: tuple[int, int] = (0, 0),
    points: float = 4.5,
) -> None:
    """Phone boundaries as ticks outside the upper and the right edge of a square map.

    `corner` is the upper left corner in data coordinates (y grows downwards), `inches` the side
    and `unit` the data units of one inch. `rows` says for the upper and the right edge how many
    rows of labels to write (0: ticks alone); `points` is their size. Ticks so many that they
    would run into each other are left out.
    """
    start, end = time_span(example)
    x, y = corner
    side = inches * unit
    edges = {t for phone in example.phones for t in phone[:2] if start < t < end}
    at = (np.array(sorted(edges)) - start) / (end - start) * side
    near, far = 0.014 * unit, 0.04 * unit
    if len(at) * TICK_ROOM > inches:
        at = at[:0]
    lines = [[(x + a, y - near), (x + a, y - far)] for a in at]
    lines += [[(x + side + near, y + a), (x + side + far, y + a)] for a in at]
    axes.add_collection(LineCollection(lines, colors="#222222", lw=0.35, clip_on=False))
    look = {
        "fontsize": points,
        "color": "#222222",
        "ha": "center",
        "va": "center",
        "clip_on": False,
    }
    for middle, text, row in _staggered(example, inches, points) if any(rows) else ():
        away = (0.05 + (row + 0.5) * LABEL_HEIGHT) * unit
        if rows[0]:
            axes.text(x + middle * unit, y - away, text, **look)
        if rows[1]:
            axes.text(x + side + away, y + middle * unit, text, rotation=-90, **look)


def draw_sound(figure: Figure, example: Example, model: str, left: float, width: float) -> None:
    """Title, phones, waveform and log-mel spectrogram of the utterance across the top of a figure.

    Takes `SOUND_HEIGHT` inches. Labels of phones too close to be named are left out; their
    boundaries are drawn.
    """
    start, end = time_span(example)
    name = style.fitted(f"{model}, utterance {example.id}", width, 7.5, "bold")
    style.write(figure, left, 0.16, name, weight="bold", fontsize=7.5)
    style.write(figure, left - 0.08, 0.66, "waveform", ha="right", va="center", fontsize=6)

    wave = style.place(figure, left, 0.55, width, 0.22)
    bins = np.linspace(start, end, int(width * 200) + 1)
    at = np.round(bins * SAMPLE_RATE).astype(int).clip(0, len(example.audio))
    sound = np.asarray(example.audio, np.float32) / 32768
    low, high = np.zeros(len(at) - 1), np.zeros(len(at) - 1)
    filled = np.flatnonzero(at[1:] > at[:-1])
    if filled.size:
        low[filled] = np.minimum.reduceat(sound[: at[-1]], at[filled])
        high[filled] = np.maximum.reduceat(sound[: at[-1]], at[filled])
    wave.fill_between(bins[:-1], low, high, step="post", color="#666666", lw=0.2)
    loud = max(float(np.abs(sound).max()), 1e-4)
    wave.set(xlim=(start, end), ylim=(-1.05 * loud, 1.05 * loud))
    wave.set_axis_off()

    mel = style.place(figure, left, 0.77, width, 0.46)
    frames, bands = np.shape(example.spectrogram)
    stack = frames // np.shape(example.maps)[-1]
    hop = example.seconds_per_position / stack
    mel.imshow(
        np.asarray(example.spectrogram).T,
        cmap="gray_r",
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(start, start + frames * hop, 0.5, bands + 0.5),
    )
    mel.grid(visible=False)
    mel.set(xlim=(start, end), yticks=[1, bands])
    mel.set_ylabel("log-mel band", fontsize=6, labelpad=3, rotation=0, ha="right", va="center")
    ticks = round_times(start, end, width, 0.45)
    mel.set_xticks(ticks, [f"{t:g}" for t in ticks])
    mel.tick_params(pad=1.5)
    mel.set_xlabel("time (s)", labelpad=1)
    for axes, colour in ((wave, "#b0b0b0"), (mel, "#2277cc")):
        for edge in {t for phone in example.phones for t in phone[:2] if start < t < end}:
            axes.axvline(edge, color=colour, lw=0.4)
    for middle, text, row in _staggered(example, width, style.SMALL):
        if row >= 0:
            y = 0.49 - row * LABEL_HEIGHT
            style.write(
                figure, left + middle, y, text, ha="center", va="center", fontsize=style.SMALL
            )


def _staggered(example: Example, inches: float, points: float) -> list[tuple[float, str, int]]:
    """Middle in inches, label and row (0 is next to the axis, -1 no room) of each visible phone."""
    start, end = time_span(example)
    ends = [-math.inf] * LABEL_ROWS
    placed = []
    for first, last, text in example.phones:
        first, last = max(first, start), min(last, end)
        if first >= last or not text:
            continue
        middle = ((first + last) / 2 - start) / (end - start) * inches
        half = style.text_width(text, points) / 2
        row = next((r for r, taken in enumerate(ends) if middle - half >= taken), -1)
        if row >= 0:
            ends[row] = middle + half + 0.02
        placed.append((middle, text, row))
    return placed
