"""Scores of phone segmentation: `SegmentTable` records in, `Figure` out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sat_jax.figures import style
from sat_jax.figures.compared import (
    SCORES,
    draw_bars,
    draw_contours,
    draw_heading,
    kind_looks,
    padded_limits,
    spread,
)
from sat_jax.records.check import CATEGORIES
from sat_jax.records.segments import (
    Score,
    SegmentTable,
    check_segments,
)

RING = {"marker": "o", "ms": 7, "mfc": "none", "mec": "black", "mew": 0.9, "ls": "none"}

SEGMENTATION = """\
A phone boundary is where frames stop resembling their neighbours. v_i is what a kind of feature
says of frame i: a row of a head's attention, a hidden state, MFCC or log-mel. K is the similarity
of two frames, eps_i the threshold of frame i, Kf[i,j] is 1 if every frame from i to j resembles i,
and S counts the neighbourhoods that reach equally far to both sides of frame t.

    K[i,j]  = exp( -||v_i - v_j|| / \u03b1 )
    eps_i   = \u03b2 \u00b7 (1/T) \u03a3_j K[i,j]
    Kf[i,j] = \u03a0_{k from i to j} 1[ K[i,k] > eps_i ]
    S[t]    = \u03a3_k Kf[t-k, t+k]

Boundaries are the local minima of S; a plateau is one minimum, at its centre. Positions of more
than one frame are repeated to frames first. \u03b1 and \u03b2 are tuned for the best R-value on the
validation split, for each kind of feature with the same effort, and then fixed for the test split;
so is the choice of a head among all heads and of a layer among all layers.

A prediction hits a true boundary that is its nearest and within 20 ms; of several predictions one
hits, the others are false alarms. Edges of an utterance are not counted. With HR the percentage of
true boundaries that are hit (the recall) and OS the percentage of predictions in excess,

    OS = 100 ( predicted / true - 1 ) = 100 ( recall / precision - 1 )
    r1 = sqrt( (100 - HR)\u00b2 + OS\u00b2 ),   r2 = ( HR - 100 - OS ) / sqrt(2)
    R  = 100 - ( |r1| + |r2| ) / 2

R is 100 if every boundary is hit and none is predicted in excess; predicting more boundaries than
there are buys recall but not R. The method is that of the supplement of Yang, Liu and Lee,
Interspeech 2020 (arXiv:2006.03265), the R-value that of R\u00e4s\u00e4nen, Laine and Altosaar,
Interspeech 2009."""


PRECISION_RECALL = """\
Each curve is one kind of feature on the test split while \u03b2 moves around the value that the
validation split chose; the large marker stands at that value. Light grey lines join points of
equal R-value, computed from precision and recall as above. In the legend stand the R-value on the
test split with its bootstrap 95 % interval over utterances, and the number of candidates of this
kind, of which the best on the validation split was taken: the more there are, the more of a lead
may be the luck of choosing. An untrained model is tuned and chosen from in the same way."""


def precision_recall(tables: Sequence[SegmentTable]) -> Figure:
    """Precision against recall of every score while beta moves, one panel per model.

    Light lines join equal R-values; large markers are the tuned points; the legend holds R-values
    with bootstrap 95 % intervals over utterances. Raises InputError as `check_segments` does.
    """
    check_segments(tables)
    looks = kind_looks([[score.name for score in table.scores] for table in tables])
    seen = [np.append(s.curve, [[s.precision, s.recall]], 0) for t in tables for s in t.scores]
    low = float(np.clip(10 * np.floor(min(part.min() for part in seen) / 10), 0, 70))
    page = style.COLUMN if len(tables) == 1 else 3.6 * len(tables)
    left, right, head = 0.5, 0.42, 0.3
    side = page / len(tables) - left - right
    lines = max(len(table.scores) for table in tables)
    with style.applied():
        figure = Figure(figsize=(page, head + side + 0.62 + 0.14 * lines))
        for column, table in enumerate(tables):
            x = column * page / len(tables) + left
            draw_heading(figure, table.name, table.utterances, (x, head - 0.12, side + right))
            axes = style.place(figure, x, head, side, side)
            draw_contours(axes, low, side)
            for row, score in enumerate(table.scores):
                look = looks[column][row]
                axes.plot(score.curve[:, 1], score.curve[:, 0], lw=1, color=look["color"])
                point = look | {"ls": "none", "ms": 5.5, "mec": "white", "mew": 0.6}
                axes.plot(score.recall, score.precision, zorder=4, **point)
                _legend_line(figure, score, look, (x, head + side + 0.66 + 0.14 * row), side)
            axes.set(xlabel="recall (%)", ylabel="precision (%)" if column == 0 else "")
            say = {"fontsize": style.SMALL, "color": "#666666", "va": "center", "ha": "right"}
            y = head + side + 0.52
            style.write(figure, x + side - 0.08, y, "R-value on test [95 %]", **say)
            style.write(figure, x + side + 0.34, y, "best of", **say)
        return figure


def _legend_line(figure: Figure, score: Score, look: dict, at: tuple, width: float) -> None:
    x, y = at
    w, h = figure.get_size_inches()
    places = np.array([x, x + 0.11, x + 0.22]) / w
    figure.add_artist(Line2D(places, [1 - y / h] * 3, lw=1, ms=4, markevery=[1], **look))
    text = {"fontsize": 6.5, "va": "center"}
    value = f"{score.r:.1f} [{score.low:.1f}, {score.high:.1f}]".replace("-", "\N{MINUS SIGN}")
    room = width - 0.46 - style.text_width(value, 6.5)
    style.write(figure, x + 0.28, y, style.fitted(score.name, room, 6.5), **text)
    style.write(figure, x + width - 0.08, y, value, ha="right", **text)
    style.write(figure, x + width + 0.34, y, f"{score.tried}", ha="right", **text)


SEGMENTATION_HEADS = """\
Top: R-value of every head on the test split by layer, heads of a layer from left to right, bars
are bootstrap 95 % intervals over utterances, colour and shape are the head's category. The black
line joins the hidden states, 0 is the input of the first layer. Horizontal lines are MFCC and
log-mel with their intervals, and as many evenly spaced boundaries as there are true ones, which is
what knowing the rate alone is worth. The ring marks the head that is best on the validation split.
Bottom: R-value on the validation split against R-value on the test split, one marker per head. If
choosing on one split holds on the other, heads lie along the diagonal and the ringed head is high.
Models share the limits of each axis."""


def segmentation_heads(tables: Sequence[SegmentTable]) -> Figure:
    """R-value of every head and hidden state by layer, and validation against test R-value.

    One column per model; models share the limits of every axis. Bars and bands are bootstrap 95 %
    intervals. The head that is best on validation is ringed. Raises InputError as `check_segments`.
    """
    check_segments(tables)
    left, right, head, upper, foot, gap = 0.5, 0.12, 0.7, 2.3, 0.42, 0.5
    page = style.COLUMN if len(tables) == 1 else max(style.PAGE, 2.6 * len(tables))
    width = page / len(tables) - left - right
    heads = [v for t in tables for v in (t.heads_low, t.heads_high, t.heads_valid)]
    others = [v for t in tables for v in (t.hidden_low, t.hidden_high, t.even)]
    others += [(s.low, s.high) for table in tables for s, *_ in _baselines(table)]
    limits, narrow = padded_limits(heads + others), padded_limits(heads)
    with style.applied():
        figure = Figure(figsize=(page, head + upper + gap + width + foot))
        for column, table in enumerate(tables):
            x = column * page / len(tables) + left
            draw_heading(figure, table.name, table.utterances, (x, head - 0.12, width))
            axes = style.place(figure, x, head, width, upper)
            _draw_layers(axes, table)
            axes.set_ylim(limits)
            below = style.place(figure, x, head + upper + gap, width, width)
            below.plot(narrow, narrow, color="#999999", lw=0.7, zorder=1)
            _draw_heads(below, table, table.heads_valid)
            below.set(xlim=narrow, ylim=narrow, xlabel="R-value on validation")
            below.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            for panel in (axes, below):
                panel.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
                panel.set_ylabel("R-value on test" if column == 0 else "")
        _draw_legend(figure, left, tables)
        return figure


def _baselines(table: SegmentTable) -> list[tuple[Score, str, str]]:
    """Scores that are drawn as levels, with colour and line style."""
    looks = {"MFCC": "-", "log-mel": (0, (5, 1.5, 1, 1.5))}
    return [(s, SCORES[s.name][0], looks[s.name]) for s in table.scores if s.name in looks]


def _draw_layers(axes: Axes, table: SegmentTable) -> None:
    """R-values on test of heads and hidden states by layer above the levels of the baselines."""
    layers, count = np.shape(table.category)
    for score, colour, dashes in _baselines(table):
        axes.axhspan(score.low, score.high, color=colour, alpha=0.16, lw=0, zorder=0)
        axes.axhline(score.r, color=colour, lw=0.9, ls=dashes, zorder=1)
    axes.axhline(table.even, color="black", lw=0.8, ls=":", zorder=1)
    for edge in np.arange(layers) + 0.5:
        axes.axvline(edge, color="#e4e4e4", lw=0.5, zorder=0)
    x = np.arange(1, layers + 1)[:, None] + spread(count, 0.76 * (count - 1) / count)
    depth = np.arange(layers + 1)
    draw_bars(axes, depth, table.hidden, table.hidden_low, table.hidden_high, "black", "s", 2.6)
    axes.plot(depth, table.hidden, color="black", lw=0.7, zorder=2)
    _draw_heads(axes, table, x)
    axes.set(xlim=(-0.5, layers + 0.5), xlabel="layer (heads of a layer from left to right)")
    axes.set_xticks(depth)
    axes.grid(visible=False, axis="x")


def _draw_heads(axes: Axes, table: SegmentTable, x: np.ndarray) -> None:
    """Every head at x (L, H) and its R-value on test, the one that is best on validation ringed."""
    for kind in CATEGORIES:
        at = np.asarray(table.category) == kind
        values = (table.heads[at], table.heads_low[at], table.heads_high[at])
        draw_bars(axes, x[at], *values, style.COLOURS[kind], style.MARKERS[kind], 2.8)
    best = np.unravel_index(np.nanargmax(table.heads_valid), np.shape(table.heads))
    axes.plot(x[best], table.heads[best], **RING)


def _draw_legend(figure: Figure, left: float, tables: Sequence[SegmentTable]) -> None:
    rows = [[*style.category_handles(), Line2D([], [], label="best on validation", **RING)]]
    levels = {score.name: look for t in tables for score, *look in _baselines(t)}
    rows.append([Line2D([], [], color="black", lw=0.7, marker="s", ms=2.6, label="hidden state")])
    rows[1] += [Line2D([], [], color=c, ls=d, lw=0.9, label=n) for n, (c, d) in levels.items()]
    rows[1].append(Line2D([], [], color="black", lw=0.8, ls=":", label="evenly spaced"))
    width, height = figure.get_size_inches()
    for row, handles in enumerate(rows):
        place = {"bbox_to_anchor": ((left - 0.08) / width, 1 - (0.04 + 0.17 * row) / height)}
        look = {"handletextpad": 0.3, "columnspacing": 0.8, "borderpad": 0.2, "handlelength": 1.7}
        figure.legend(handles=handles, loc="upper left", ncols=len(handles), **place, **look)
