"""One utterance and its boundaries in; a figure out."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sat_jax.figures import style
from sat_jax.figures.maps import DENSITY, MAP_DPI, block_means
from sat_jax.figures.utterance import SOUND_HEIGHT, Example, draw_sound, round_times
from sat_jax.records.boundaries import hits
from sat_jax.records.segments import (
    Panel,
    SegmentExample,
    check_segment_example,
)

SEGMENTATION_EXAMPLE = """\
One utterance: phones, waveform and log-mel on top, matrices below, rows down and columns right,
both in seconds. Attention is drawn relative to uniform attention, A[q,k] \u00b7 T, on a
logarithmic scale, similarities K from 0 to 1 on a linear one; where a phone is one neighbourhood,
its square on the diagonal is bright. Long matrices are averaged over blocks. Ticks outside the
upper and right edges are boundaries: true ones (black) next to the matrix, predicted ones beyond
them. The curve under a similarity is its score S, whose minima are the predicted boundaries: green
circles hit a true boundary within 20 ms, orange crosses do not. Vertical lines are the true
boundaries, orange and dashed where no prediction hits them; on long utterances all are finer."""
HIT, WRONG = "#009E73", "#D55E00"
LEFT, RIGHT, GAP = 0.85, 0.25, 0.34
POINTS = {
    "hit": {"marker": "o", "ms": 2.6, "mew": 0, "color": HIT},
    "false alarm": {"marker": "x", "ms": 2.8, "mew": 0.9, "color": WRONG},
}
TRUE = {"color": "#777777", "lw": 0.5}
MISSED = {"color": WRONG, "lw": 0.6, "ls": (0, (2.5, 1.2))}
STRIP = 0.62  # inches of the score under a map
STRIP_ROOM = 12  # boundaries per inch that need no finer lines
MATRICES = {  # colours and scale of an attention map, and of a similarity
    True: (style.MAP_COLOURS, LogNorm(*DENSITY, clip=True)),
    False: ("viridis", Normalize(0.0, 1.0)),
}


def segmentation_example(example: SegmentExample, model: str) -> Figure:
    """Phones, waveform and log-mel of an utterance above its matrices and their boundaries.

    Outside the upper and right edges of a matrix stand ticks, the true boundaries inside and the
    predicted ones outside; under it the score whose minima were predicted. Raises InputError as
    `check_segment_example` does.
    """
    check_segment_example(example)
    frames = len(example.spectrogram)
    sound = Example(
        id=example.id,
        maps=np.broadcast_to(np.float32(0), (1, 1, frames, frames)),
        spectrogram=example.spectrogram,
        audio=example.audio,
        phones=example.phones,
        seconds_per_position=example.hop_seconds,
        start_seconds=example.start + example.hop_seconds / 2,
    )
    true = np.unique([start for start, _, _ in example.phones[1:]])
    columns = {1: 1, 2: 2, 4: 2}.get(len(example.panels), 3)
    wide = style.PAGE - LEFT - RIGHT
    side = min((wide - (columns - 1) * GAP) / columns, 2.8)
    head, down = SOUND_HEIGHT + 0.36, side + STRIP + 0.72
    height = head + -(-len(example.panels) // columns) * down + 0.42
    with style.applied():
        figure = Figure(figsize=(style.PAGE, height))
        draw_sound(figure, sound, model, LEFT, wide)
        for index, panel in enumerate(example.panels):
            row, column = divmod(index, columns)
            at = (LEFT + column * (side + GAP), head + row * down)
            _draw_panel(figure, panel, true, at, side, column == 0)
        _draw_key(figure, height - 0.46, {panel.attention for panel in example.panels})
        return figure


def _draw_panel(figure, panel, true, corner, side, first) -> None:
    """A matrix with the ticks of its boundaries, and the score under it."""
    left, top = corner
    end = panel.start + len(panel.matrix) * panel.step
    axes = style.place(figure, left, top, side, side)
    colours, norm = MATRICES[panel.attention]
    cells = block_means(np.asarray(panel.matrix, np.float32), int(side * MAP_DPI))
    # Zeros have no logarithm: everything below the scale takes the colour of its lower end.
    shown = np.maximum(cells * len(panel.matrix), DENSITY[0]) if panel.attention else cells
    look = {"extent": (panel.start, end, end, panel.start), "interpolation": "nearest"}
    axes.imshow(shown, cmap=colours, norm=norm, aspect="auto", **look)
    axes.grid(visible=False)
    title = style.fitted(panel.title, side, 7.0)
    style.write(figure, left + side / 2, top - 0.135, title, ha="center", fontsize=7.0)
    hit, found = hits(panel.predicted, true)
    rows = ((true, "black"), (panel.predicted[hit], HIT), (panel.predicted[~hit], WRONG))
    for row, (times, colour) in zip((0, 1, 1), rows, strict=True):
        near, far = 1 + (0.012 + 0.046 * row) / side, 1 + (0.048 + 0.046 * row) / side
        look = {"color": colour, "lw": 0.4 + 0.2 * row, "clip_on": False}
        axes.vlines(times, near, far, transform=axes.get_xaxis_transform(), **look)
        axes.hlines(times, near, far, transform=axes.get_yaxis_transform(), **look)
    axes.set(xlim=(panel.start, end), ylim=(end, panel.start))
    times = round_times(panel.start, end, side)
    axes.set_xticks(times, [f"{t:g}" for t in times])
    axes.set_yticks(times, [f"{t:g}" for t in times])
    axes.tick_params(axis="y", labelleft=first)
    word = "key time (s)" if panel.attention else "time (s)"
    if first:
        axes.set_ylabel("query time (s)" if panel.attention else "time (s)", labelpad=2)
    if not len(panel.overlap):
        axes.set_xlabel(word, labelpad=2)
        return
    axes.tick_params(axis="x", labelbottom=False)
    strip = style.place(figure, left, top + side + 0.08, side, STRIP)
    _draw_score(strip, panel, true, hit, found, side)
    strip.set_xlim(panel.start, end)
    strip.set_xticks(times, [f"{t:g}" for t in times])
    strip.set_xlabel("time (s)", labelpad=2)
    look = {"labelpad": 2} if first else {"labelpad": 4, "rotation": 0, "va": "center"}
    strip.set_ylabel("score S" if first else "S", **look)


def _draw_score(axes: Axes, panel: Panel, true, hit, found, inches: float) -> None:
    """The score S over time with its minima, hits and false alarms, and the true boundaries."""
    # Crowded boundaries are drawn finer.
    fine = float(np.clip(STRIP_ROOM * inches / max(len(true), len(hit), 1), 0.35, 1))
    for times, look in ((true[found], TRUE), (true[~found], MISSED)):
        for time in times:
            axes.axvline(time, zorder=1, **look | {"lw": look["lw"] * fine})
    axes.plot(panel.overlap_times, panel.overlap, color="#223a5e", lw=0.9 * fine, zorder=2)
    value = np.interp(panel.predicted, panel.overlap_times, panel.overlap)
    for chosen, name in ((hit, "hit"), (~hit, "false alarm")):
        look = {"ls": "none", "zorder": 3} | POINTS[name]
        look |= {"ms": look["ms"] * fine, "mew": look["mew"] * fine}
        axes.plot(panel.predicted[chosen], value[chosen], **look)
    top = max(float(np.max(panel.overlap)), 1.0)
    axes.set_ylim(-0.08 * top, 1.05 * top)
    axes.grid(visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True, steps=[1, 2, 5, 10]))


def _draw_key(figure: Figure, top: float, kinds: set[bool]) -> None:
    """Scales of the matrices that were drawn and the looks of boundaries, at the foot."""
    times = "attention / uniform attention, A \N{MULTIPLICATION SIGN} T"
    for column, kind in enumerate(sorted(kinds, reverse=True)):
        colours, norm = MATRICES[kind]
        axes = style.place(figure, LEFT + column * 2.1, top, 1.7, 0.09)
        ends = np.log10(DENSITY) if kind else (0.0, 1.0)
        look = {"extent": (*ends, 0, 1), "aspect": "auto", "cmap": colours}
        axes.imshow(np.linspace(0, 1, 256)[None], **look)
        ticks = np.arange(ends[0], ends[1] + 1) if kind else [0, 0.5, 1]
        axes.set_xticks(ticks, ["≤ 0.1", "1", "10", "≥ 100"] if kind else None)
        axes.set(yticks=[], xlabel=times if kind else "similarity K")
        axes.grid(visible=False)
    looks = {
        "true boundary, hit": TRUE,
        "true boundary, missed": MISSED,
        "predicted, hit": {"ls": "none"} | POINTS["hit"],
        "predicted, false alarm": {"ls": "none"} | POINTS["false alarm"],
    }
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    width, height = figure.get_size_inches()
    place = {"loc": "upper right", "bbox_to_anchor": (1 - RIGHT / width, 1 - (top - 0.1) / height)}
    figure.legend(handles=handles, ncols=1, borderpad=0, borderaxespad=0, **place)
