"""In which order orderings prune the heads: a `Ranking` in, `Figure` out."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sat_jax.figures import style
from sat_jax.figures.ablation_axes import wrapped
from sat_jax.figures.phone_axes import (
    LETTERS,
    draw_key,
    draw_relation,
    name_manners,
    name_points,
)
from sat_jax.records.ablation import Ranking, check_ranking
from sat_jax.records.check import CATEGORIES

CORRELATION = "PuOr_r"
LEFT, HEAD = 0.55, 0.62
MAP_HEAD = 0.52  # inches of two lines above a map, and of the gap above them
MINUS = "\N{MINUS SIGN}"
LINE = {"color": "#999999", "lw": 0.7, "zorder": 1}

RANK_SCATTER = """\
Every head at the place that it has when heads are pruned by globalness (right) and by weight (up);
1 is pruned first. Heads on the line are pruned at the same time in both orders. Colour and shape
are the category. Ringed heads are those whose two ranks differ most; their letters lead to their
ranks by globalness and by weight, what they do, and their phone relation map: query phones down,
key phones right, colour is attention relative to uniform attention, 1 + P, on a logarithmic scale.
A head that weight prunes early and globalness late, or the reverse, is one on whose importance the
two disagree."""


def rank_scatter(ranking: Ranking) -> Figure:
    """Every head's rank by weight against its rank by globalness, 1 being pruned first.

    Heads on the line are pruned at the same time in both orders. The disagreeing heads are ringed
    and carry letters; beside the plot stand their ranks, what they do, and their phone relation map
    where there is one. Raises InputError as `check_ranking` does.
    """
    check_ranking(ranking)
    count, shown = np.size(ranking.category), ranking.disagreeing
    heads = np.shape(ranking.category)[1]
    pictured = ranking.maps is not None and bool(shown)
    around = 0.0
    if pictured:
        around = max(style.text_width(name, style.SMALL) for name in ranking.manners) + 0.1
    side = 3.15 if pictured else 4.2
    left = LEFT + side + 0.25 + around
    small = (style.PAGE - 0.1 - left - 0.15) / 2
    deep = 2 * (small + MAP_HEAD) - 0.12 if pictured and len(shown) > 2 else 0.0
    height = HEAD + max(side, deep) + 0.42 + (0.42 if pictured else 0)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, height))
        _draw_heading(figure, ranking)
        axes = style.place(figure, LEFT, HEAD, side, side)
        axes.set(xlim=(1 - 0.04 * count, 1.04 * count), ylim=(1 - 0.04 * count, 1.04 * count))
        axes.plot([1, count], [1, count], **LINE)
        x, y = np.asarray(ranking.globalness), np.asarray(ranking.weight)
        for kind in CATEGORIES:
            at = np.asarray(ranking.category) == kind
            look = {"s": 11, "marker": style.MARKERS[kind], "color": style.COLOURS[kind], "lw": 0}
            axes.scatter(x[at], y[at], zorder=3, **look)
        names = ["{}-{}".format(*np.add(index, 1)) for index in np.ndindex(x.shape)]
        chosen = [layer * heads + head for layer, head in shown]
        name_points(axes, (x, y, y, y), names, chosen, (side, side))
        ticks = [1, *(t for t in MaxNLocator(5, integer=True).tick_values(1, count) if t > 1)]
        ticks = [int(t) for t in ticks if t <= count]
        axes.set_xticks(ticks)
        axes.set_yticks(ticks)
        axes.set_xlabel("rank by globalness, 1 = pruned first")
        axes.set_ylabel("rank by weight, 1 = pruned first")
        for index in range(len(shown)):
            row, column = divmod(index, 2) if pictured else (index, 0)
            x0 = left + column * (small + 0.15)
            y0 = HEAD + row * ((small + MAP_HEAD) if pictured else 0.42)
            _write_head(
                figure, ranking, index, (x0, y0), small if pictured else style.PAGE - 0.1 - left
            )
            if pictured:
                _draw_map(figure, ranking, index, (x0, y0 + MAP_HEAD - 0.24, small), column == 0)
        if pictured:
            draw_key(figure, LEFT, height - 0.36, "P", "")
        return figure


RANK_CORRELATIONS = """\
Spearman correlation between the ranks that two orderings give to all heads: 1 is the same order,
0 unrelated, -1 the reverse. Unrelated orders of n heads lie within about \u00b1 2 / sqrt(n) of 0
by chance. Orderings that correlate strongly prune nearly the same heads at any number of heads."""


def rank_correlations(ranking: Ranking) -> Figure:
    """Spearman correlation between the orders in which orderings prune the heads, as a matrix.

    Raises InputError as `check_ranking` does.
    """
    check_ranking(ranking)
    names, count = ranking.orderings, len(ranking.orderings)
    room = max(style.text_width(name, 6.5) for name in names) + 0.08
    left = max(0.1 + room, LEFT)
    pitch = min(0.9, (style.PAGE - 0.6 - left) / count)
    high = min(pitch, 0.36)
    wrapped = [name.replace(" ", "\n") for name in names]
    across = all(
        style.text_width(line, 6.5) <= pitch - 0.04 for name in wrapped for line in name.split("\n")
    )
    head = 0.42 + (0.28 if across else room)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, head + count * high + 0.2))
        text = f", {np.size(ranking.category)} heads"
        wide = style.PAGE - 0.2 - style.text_width(text, 7.0, "bold")
        name = style.fitted(ranking.name, wide, 7.0, "bold")
        style.write(figure, 0.1, 0.15, name + text, weight="bold")
        more = "Spearman correlation between the orders in which heads are pruned"
        style.write(figure, 0.1, 0.29, more, fontsize=6.5, color="#444444")
        axes = style.place(figure, left, head, count * pitch, count * high)
        values = np.asarray(ranking.correlation, float)
        colours = matplotlib.colormaps[CORRELATION]
        look = {"cmap": colours, "vmin": -1, "vmax": 1, "interpolation": "nearest"}
        axes.imshow(values, aspect="auto", **look)
        for row, column in np.ndindex(values.shape):
            shade = np.dot(colours((values[row, column] + 1) / 2)[:3], (0.299, 0.587, 0.114))
            place = {"ha": "center", "va": "center_baseline", "fontsize": 6.5}
            text = style.signed(values[row, column], 2)
            axes.text(column, row, text, color="white" if shade < 0.5 else "black", **place)
        axes.set_yticks(range(count), names, fontsize=6.5)
        look = {"fontsize": 6.5} if across else {"fontsize": 6.5, "rotation": 90}
        axes.set_xticks(range(count), wrapped if across else names, **look)
        axes.tick_params(length=0, pad=2, top=False, labeltop=True, labelbottom=False)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        _draw_scale(figure, (left + count * pitch + 0.15, head, count * high))
        return figure


def _draw_heading(figure: Figure, ranking: Ranking) -> None:
    text = f", {np.size(ranking.category)} heads"
    if {"globalness", "weight"} <= set(ranking.orderings):
        at = [ranking.orderings.index(name) for name in ("globalness", "weight")]
        value = style.signed(float(ranking.correlation[at[0]][at[1]]), 2)
        text += f", Spearman correlation {value}"
    wide = style.PAGE - LEFT - 0.1 - style.text_width(text, 7.0, "bold")
    name = style.fitted(ranking.name, wide, 7.0, "bold")
    style.write(figure, LEFT, 0.15, name + text, weight="bold")
    figure.legend(
        handles=style.category_handles(),
        loc="upper left",
        bbox_to_anchor=((LEFT - 0.08) / style.PAGE, 1 - 0.22 / figure.get_figheight()),
        ncols=3,
        handletextpad=0.2,
        borderpad=0.2,
    )


def _write_head(figure: Figure, ranking: Ranking, index: int, corner: tuple, wide: float) -> None:
    """Letter, name and ranks of a disagreeing head, and what it does below."""
    layer, head = ranking.disagreeing[index]
    x, y = corner
    ranks = (int(ranking.globalness[layer, head]), int(ranking.weight[layer, head]))
    text = f"{LETTERS[index]}  L{layer + 1} H{head + 1}"
    style.write(figure, x, y, text, weight="bold", fontsize=6.5)
    text = "ranks {}, {}".format(*ranks)
    style.write(figure, x + wide, y, text, fontsize=6.5, ha="right")
    doing = wrapped(ranking.operations[index], wide, style.SMALL)
    style.write(figure, x, y + 0.04, doing, va="top", fontsize=style.SMALL, color="#444444")


def _draw_map(figure: Figure, ranking: Ranking, index: int, box: tuple, first: bool) -> None:
    x, y, side = box
    layer, head = ranking.disagreeing[index]
    count = len(ranking.phones)
    axes = style.place(figure, x, y, side, side)
    colour = style.COLOURS[ranking.category[layer, head]]
    draw_relation(axes, ranking.maps[index], ranking.manners, (0, count, count, 0), colour, 0.3)
    axes.set(xlim=(0, count), ylim=(count, 0), xticks=[], yticks=[])
    if first:
        name_manners(axes, ranking.manners, (side / count,) * 2, 0.04, False)


def _draw_scale(figure: Figure, box: tuple[float, float, float]) -> None:
    left, top, high = box
    axes = style.place(figure, left, top, 0.1, high)
    look = {"cmap": CORRELATION, "extent": (0, 1, -1, 1), "origin": "lower", "aspect": "auto"}
    axes.imshow(np.linspace(-1, 1, 256)[:, None], **look)
    axes.set(xticks=[], ylim=(-1, 1))
    axes.set_yticks((-1, 0, 1), [f"{MINUS}1", "0", "1"])
    axes.yaxis.tick_right()
    axes.grid(visible=False)
