"""Several runs side by side: `RunRow` records in, `Figure` out.

Also what figures that compare share: checks, bars, headings, looks of curves, equal R-values.
"""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.records.boundaries import r_value
from sat_jax.records.check import CATEGORIES
from sat_jax.records.runs import RunRow, check_run

# Lightness falls from log-mel to the model, so that print in grey keeps the order.
SCORES = {
    "MFCC": ("#666666", "v"),
    "log-mel": ("#A0A0A0", "^"),
    "best layer": ("black", "s"),
    "best head": ("#009E73", "o"),
}
# Looks of curves in the order of a legend: two baselines in grey, then layers and heads.
PALETTE = ("#666666", "#A0A0A0", "black", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#0072B2")
SHAPES = "v^soDPX"
LEFT, RIGHT, GAP, HEAD, HEIGHT, BETWEEN = 0.62, 0.1, 0.68, 0.28, 1.75, 0.66
ROW = 0.15  # inches of one line of the table at the foot

MASK_LENGTHS = """\
Runs that differ in the masked span C_num stand side by side. |modal offset|: distance between a
query and the key that a diagonal head attends to most on average, one marker per diagonal head,
with the mean and its 95 % interval. Share of heads: categories with 95 % intervals; ranking makes
about a third of the heads belong to each category in any model, so only differences between runs
say something. Globalness: every head's G in nats, which ranking does not touch, and the median.
R-value: phone segmentation with the best head and the best hidden layer, chosen on the validation
split, beside MFCC and log-mel, with bootstrap 95 % intervals. The table names the runs, with the
reconstruction loss on the validation split and the loss of linear interpolation across the masked
span, the number to beat; both grow with the span and compare within a row only."""


def mask_lengths(rows: Sequence[RunRow]) -> Figure:
    """Offsets of diagonal heads, shares of categories, globalness and R-values of 2 to 6 runs.

    Runs stand in the order given and are named by their masked span; a table at the foot says
    which run that is. Raises InputError where there are fewer or more runs, a category or a score
    is missing, or a value is not finite.
    """
    if not 2 <= len(rows) <= 6:
        raise InputError(f"runs side by side: {len(rows)} were given, expected 2 to 6")
    for row in rows:
        check_run(row)
    names = run_labels([row.c_num for row in rows])
    wide = (style.PAGE - LEFT - RIGHT - GAP) / 2
    foot = HEAD + 2 * HEIGHT + BETWEEN + 0.62
    with style.applied():
        figure = Figure(figsize=(style.PAGE, foot + (len(rows) + 1) * ROW))
        panels = []
        for index in range(4):
            down, across = divmod(index, 2)
            left, top = LEFT + across * (wide + GAP), HEAD + down * (HEIGHT + BETWEEN)
            axes = style.place(figure, left, top, wide, HEIGHT)
            axes.set_xlim(-0.5, len(rows) - 0.5)
            axes.set_xticks(range(len(rows)), names)
            axes.grid(visible=False, axis="x")
            for edge in np.arange(1, len(rows)) - 0.5:
                axes.axvline(edge, color="#e4e4e4", lw=0.5, zorder=0)
            if down:
                axes.set_xlabel("masked span C_num (frames)")
            panels.append(axes)
        _draw_offsets(panels[0], rows)
        _draw_shares(panels[1], rows)
        _draw_globalness(panels[2], rows)
        _draw_scores(panels[3], rows)
        _draw_table(figure, rows, names, foot)
        return figure


def run_labels(spans: Sequence[int]) -> list[str]:
    """Masked spans as labels; runs that share one are told apart by a letter: 3, 7a, 7b."""
    return [
        f"{span}{'abcdef'[spans[:index].count(span)]}" if spans.count(span) > 1 else f"{span}"
        for index, span in enumerate(spans)
    ]


def padded_limits(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Limits of an axis that shows all values with a margin; NaN, of pruned heads, aside."""
    low, high = min(map(np.nanmin, values)), max(map(np.nanmax, values))
    pad = 0.05 * (high - low) or 1.0
    return low - pad, high + pad


def draw_bars(axes: Axes, x, y, low, high, colour: str, marker: str, size: float = 3.6, **look):
    """Points (n,) in one colour with bars from low to high; `look` goes to the markers."""
    axes.vlines(x, low, high, color=colour, lw=0.8, alpha=0.7, zorder=2)
    look = {"mfc": colour, "mec": colour, "mew": 0.7, "zorder": 3} | look
    axes.plot(x, y, ls="none", marker=marker, ms=size, **look)


def draw_legend(axes: Axes, handles: Sequence, lift: float = 0.04, **look) -> None:
    """One line of legend entries `lift` inches above the upper left corner of axes."""
    height = axes.get_position().height * axes.figure.get_figheight()
    look = {
        "handlelength": 1.3,
        "handletextpad": 0.4,
        "columnspacing": 1.0,
        "borderpad": 0.1,
    } | look
    look |= {"columnspacing": 1.0, "borderaxespad": 0}
    place = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1 + lift / height)}
    axes.legend(handles=handles, ncols=len(handles), **place, **look)


def draw_contours(axes: Axes, low: float, side: float) -> None:
    """Lines of equal R-value from `low` to 100 %, named where they reach a recall of 100 %."""
    grid = np.linspace(max(low, 1), 100, 200)
    recall, precision = np.meshgrid(grid, grid)
    values = r_value(recall, 100.0 * (recall / precision - 1.0))
    levels, at = [], np.inf
    for level in range(90, -1, -10):
        where = float(np.interp(level, values[:, -1], grid, left=-np.inf))
        if (at - where) / (100 - low) * side > 0.1 and where > low:
            levels.append(level)
            at = where
            place = {"fontsize": style.SMALL, "color": "#999999", "va": "center"}
            axes.text(100 + (100 - low) / side * 0.04, at, f"R = {level}", **place)
    axes.contour(recall, precision, values, levels[::-1], colors="#c8c8c8", linewidths=0.6)
    axes.grid(visible=False)
    axes.set(xlim=(low, 100), ylim=(low, 100))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def kind_looks(groups: Sequence[Sequence[str]]) -> list[list[dict[str, str]]]:
    """Colour and marker of every name; names that differ in numbers alone are of one kind.

    A kind looks alike in all groups, and differs from another of its kind in the same group.
    """
    bare = [[re.sub(r"\d+", "", name) for name in names] for names in groups]
    kinds = [[(name, each[:at].count(name)) for at, name in enumerate(each)] for each in bare]
    order = list(dict.fromkeys(kind for each in kinds for kind in each))
    looks = {
        kind: {"color": PALETTE[at % len(PALETTE)], "marker": SHAPES[at % len(SHAPES)]}
        for at, kind in enumerate(order)
    }
    return [[looks[kind] for kind in each] for each in kinds]


def draw_heading(figure: Figure, name: str, utterances: int, box: tuple[float, ...]) -> None:
    """Name of a model and the size of its test split at `box` = (left, baseline, width) inches."""
    left, top, width = box
    size = f" ({utterances} utterances)"
    name = style.fitted(name, width - style.text_width(size, 7.0, "bold"), 7.0, "bold")
    style.write(figure, left, top, name + size, weight="bold", fontsize=7.0)


def _draw_offsets(axes: Axes, rows: Sequence[RunRow]) -> None:
    colour = style.COLOURS["diagonal"]
    for place, row in enumerate(rows):
        count = np.size(row.offset)
        if not count:
            look = {"ha": "center", "va": "bottom", "fontsize": style.SMALL, "color": "#666666"}
            axes.annotate("none", (place, 0), (0, 3), textcoords="offset points", **look)
            continue
        look = {"s": 8, "marker": style.MARKERS["diagonal"], "color": colour, "alpha": 0.45}
        axes.scatter(place + spread(count, 0.26) - 0.12, row.offset, lw=0, **look)
        ends = (row.offset_low, row.offset_high)
        draw_bars(axes, place + 0.3, row.offset_mean, *ends, "black", "_", 7, mew=1.2)
    tallest = max([max(np.max(r.offset), r.offset_high) for r in rows if np.size(r.offset)] or [0])
    tallest = tallest or 1  # no head is off the diagonal
    axes.set_ylim(-0.04 * tallest, 1.08 * tallest)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_ylabel("|modal offset| (ms)")
    point = {"ls": "none", "ms": 3.4, "mew": 0}
    draw_legend(
        axes,
        [
            Line2D([], [], marker="D", color=colour, alpha=0.45, label="diagonal head", **point),
            Line2D([], [], marker="_", color="black", ls="none", mew=1.2, label="mean, 95 %"),
        ],
    )


def _draw_shares(axes: Axes, rows: Sequence[RunRow]) -> None:
    for shift, name in zip((-0.26, 0, 0.26), CATEGORIES, strict=True):
        share, low, high = np.transpose([row.shares[name] for row in rows])
        x = np.arange(len(rows)) + shift
        axes.bar(x, share, width=0.24, color=style.COLOURS[name])
        axes.vlines(x, low, high, color="black", lw=0.8)
    top = max(max(values) for row in rows for values in row.shares.values())
    axes.set_ylim(0, 1.08 * top)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_ylabel("share of heads")
    look = {"marker": "s", "ls": "none", "ms": 5}
    draw_legend(axes, [Line2D([], [], color=style.COLOURS[n], label=n, **look) for n in CATEGORIES])


def _draw_globalness(axes: Axes, rows: Sequence[RunRow]) -> None:
    colour = style.COLOURS["global"]
    for place, row in enumerate(rows):
        values = np.ravel(row.globalness)
        look = {"s": 6, "lw": 0, "color": colour, "alpha": 0.45}
        axes.scatter(place + spread(len(values), 0.5), values, **look)
        axes.hlines(np.median(values), place - 0.34, place + 0.34, color="black", lw=1.2, zorder=3)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_ylabel(style.METRIC_LABELS["globalness"])
    head = Line2D([], [], marker="o", ls="none", ms=3, mew=0, color=colour, alpha=0.45)
    head.set_label("head, layers from left to right")
    draw_legend(axes, [head, Line2D([], [], color="black", lw=1.2, label="median")])


def _draw_scores(axes: Axes, rows: Sequence[RunRow]) -> None:
    handles = []
    shifts = spread(len(SCORES), 0.5)
    for shift, (name, (colour, marker)) in zip(shifts, SCORES.items(), strict=True):
        values = np.transpose([row.scores[name] for row in rows])
        draw_bars(axes, np.arange(len(rows)) + shift, *values, colour, marker)
        look = {"marker": marker, "ls": "none", "ms": 3.6}
        handles.append(Line2D([], [], color=colour, label=name, **look))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_ylabel("R-value (100 = perfect)")
    draw_legend(axes, handles)


def _draw_table(figure: Figure, rows: Sequence[RunRow], names: list[str], top: float) -> None:
    """Which run has which masked span, and how well it fills what was masked."""
    columns = (LEFT, LEFT + 0.6, 4.7, 5.95, style.PAGE - RIGHT)
    heading = ("C_num", "run", "diagonal heads", "validation loss", "interpolation")
    lines = [heading]
    for row, name in zip(rows, names, strict=True):
        run = style.fitted(row.name, 2.5, 6.5)
        losses = (f"{row.valid_loss:.3f}", f"{row.interpolation:.3f}")
        lines.append((name, run, f"{np.size(row.offset)} of {np.size(row.globalness)}", *losses))
    for down, line in enumerate(lines):
        for column, (at, text) in enumerate(zip(columns, line, strict=True)):
            look = {"weight": "bold" if down == 0 else "normal", "fontsize": 6.5}
            side = "left" if column < 2 else "right"
            style.write(figure, at, top + down * ROW, text, ha=side, va="center", **look)


def spread(count: int, width: float) -> np.ndarray:
    """`count` places from -width / 2 to width / 2; the middle for one."""
    return (np.arange(count) - (count - 1) / 2) * width / max(count - 1, 1)
