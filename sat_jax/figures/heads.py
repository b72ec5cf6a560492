"""Statistics of heads as figures: `HeadTable` records in, `Figure` out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.labels import label_centres
from sat_jax.records.check import CATEGORIES, head_mask_of
from sat_jax.records.heads import CATEGORY_OF, RANKED, HeadTable, check_heads

SURE = 0.95  # share of bootstrap draws from which on a head's category counts as certain

HEAD_METRICS = """\
A is the attention of one head on one utterance of T positions: row q is the query, column k the
key, and each row sums to 1. H(p) = -\u03a3 p log p is the entropy (natural log), E the mean over
utterances.

    globalness   G = E[ (1/T) \u03a3_q H(A[q]) ]
    verticality  V = E[ -H( (1/T) \u03a3_q A[q] ) ]
    diagonality  D = E[ -(1/T\u00b2) \u03a3_q \u03a3_k |q-k| A[q,k] ]
    weight       W = E[ max_{q,k} A[q,k] ]

G is 0 if every query attends to one key and log T if it attends to all alike. V is 0 if all
queries attend to one and the same key and -log T if all keys get the same share. D is 0 if every
query attends to itself, and uniform attention has -(T\u00b2-1)/(3T\u00b2), close to -1/3.
Definitions follow Yang, Liu and Lee, Interspeech 2020 (arXiv:2006.03265), W is the baseline of
Hao et al. 2020 (arXiv:2004.11207)."""

HEAD_CATEGORIES = """\
All heads are ranked by G, by V and by D; a head belongs to the metric in whose list it stands
highest. Categories therefore exist by construction: about a third of the heads falls into each,
whatever the model has learned, even if it has learned nothing. Two things tell a finding from the
construction. First, the absolute values of G, V and D. Second, the same model untrained (same
initialisation, same utterances), which stands beside every figure: what it shows as well is owed
to the architecture and the initialisation, not to training."""

HEAD_SCATTER = """\
Each marker is one head, named layer-head where there is room; bars are bootstrap 95 % intervals
over utterances. Colour and shape are the category; a hollow marker is a head whose category fewer
than 95 % of the bootstrap draws confirm. Models share the limits of each axis, so the clouds can
be compared: heads that have specialised lie far apart."""


def head_scatter(tables: Sequence[HeadTable]) -> Figure:
    """Globalness, verticality and diagonality against each other, one column per model.

    Models share the limits of every axis. Bars are bootstrap 95 % intervals over utterances, colour
    and shape are the category, hollow markers are heads whose category fewer than 95 % of the draws
    confirm. A head is labelled layer-head where there is room. Raises InputError as `check_heads`
    does.
    """
    pairs = (
        ("globalness", "verticality"),
        ("globalness", "diagonality"),
        ("verticality", "diagonality"),
    )
    left, right, head, foot, gap = 0.62, 0.1, 0.55, 0.42, 0.5

    with style.applied():
        figure, width = _columns(tables, left, right, head + 3 * 2.15 + 2 * gap + foot)
        for row, (x, y) in enumerate(pairs):
            limits = [_limits(tables, name) for name in (x, y)]
            for column, table in enumerate(tables):
                box = (left + column * (width + left), head + row * (2.15 + gap), width, 2.15)
                axes = style.place(figure, *box)
                axes.set(xlim=limits[0], ylim=limits[1], xlabel=style.METRIC_LABELS[x])
                if column == 0:
                    axes.set_ylabel(style.METRIC_LABELS[y])
                axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
                axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
                _points(axes, table, table.metrics[x], y, table.low[x], table.high[x])
                _label_points(axes, table, x, y, box[2:])
        return figure


HEAD_DISTRIBUTION = """\
Top: heads of each category in each layer. Below: G, V and D of every head by layer, heads of a
layer from left to right, bars are bootstrap 95 % intervals over utterances, hollow markers as in
the scatter. Models share the limits of each axis."""


def head_distribution(tables: Sequence[HeadTable]) -> Figure:
    """Heads of each category per layer and every head's metrics by layer, one column per model.

    Models share the limits of every axis; bars on the points are bootstrap 95 % intervals. Within a
    layer, heads stand in the order of their number, with a gap for a pruned one. Raises
    InputError as `check_heads` does.
    """
    left, right, head, foot, gap, heights = 0.62, 0.1, 0.55, 0.42, 0.16, (1.15, 1.45, 1.45, 1.45)

    with style.applied():
        figure, width = _columns(tables, left, right, head + sum(heights) + 3 * gap + foot)
        layers = max(np.shape(table.category)[0] for table in tables)
        heads = max(np.shape(table.category)[1] for table in tables)
        for column, table in enumerate(tables):
            depth = np.arange(1, np.shape(table.category)[0] + 1)
            n = np.shape(table.category)[1]
            x = depth[:, None] + (np.arange(n) - (n - 1) / 2)[None] * 0.76 / max(n, 2)
            top = head
            for row, height in enumerate(heights):
                axes = style.place(figure, left + column * (width + left), top, width, height)
                top += height + gap
                axes.set_xlim(0.4, layers + 0.6)
                axes.set_xticks(range(1, layers + 1))
                axes.grid(visible=False, axis="x")
                if row == 0:
                    below = np.zeros(len(depth), int)
                    for name in CATEGORIES:
                        count = (np.asarray(table.category) == name).sum(axis=1)
                        look = {"color": style.COLOURS[name], "edgecolor": "white", "lw": 0.5}
                        axes.bar(depth, count, bottom=below, width=0.76, **look)
                        below = below + count
                    axes.set_ylim(0, heads * 1.04)
                    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
                    label = "heads per category"
                else:
                    name = tuple(CATEGORY_OF)[row - 1]
                    _points(axes, table, x, name)
                    axes.set_ylim(_limits(tables, name))
                    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
                    for edge in np.arange(1, layers) + 0.5:
                        axes.axvline(edge, color="#e4e4e4", lw=0.5, zorder=0)
                    label = style.METRIC_LABELS[name]
                if column == 0:
                    axes.set_ylabel(label)
                if row == len(heights) - 1:
                    axes.set_xlabel("layer (heads of a layer from left to right)")
                else:
                    axes.tick_params(axis="x", labelbottom=False)
        return figure


RANK_INTERVALS = """\
Each panel sorts all heads by one metric, rank 1 has the largest value. A bar is the bootstrap 95
% interval of the head's rank over utterances. Heads whose bars overlap are not told apart by
these utterances: an order among them, and a category that rests on it, may change with other
data."""


def rank_intervals(table: HeadTable) -> Figure:
    """Every head's rank by each of the four metrics with its bootstrap 95 % interval.

    Each panel sorts the heads that are not pruned by its own metric and names them layer-head
    beside their interval. Up to 144 heads fit on one page; the figure grows beyond. Raises
    InputError as `check_heads` does.
    """
    check_heads(table)
    there = head_mask_of(table.category)
    count = int(there.sum())
    step = float(np.clip(8.6 / count, 0.0595, 0.11))
    points = min(5.5, step * 72 * 0.98)
    left, right, head, foot, gap = 0.5, 0.1, 0.72, 0.42, 0.16
    height = count * step + 0.1

    with style.applied():
        figure = Figure(figsize=(style.PAGE, head + height + foot))
        width = (style.PAGE - left - right - 3 * gap) / 4
        _heading(figure, table, left, style.PAGE - left - right)
        _legend(figure, left, style.PAGE, unsure=False)
        numbers = np.argwhere(there) + 1
        for column, name in enumerate(RANKED):
            axes = style.place(figure, left + column * (width + gap), head, width, height)
            rank, low, high = (
                np.asarray(group[name])[there]
                for group in (table.ranks, table.rank_low, table.rank_high)
            )
            order = np.argsort(rank, kind="stable")
            row_of = np.argsort(order) + 1
            for kind in CATEGORIES:
                chosen = table.category[there] == kind
                rows, look = row_of[chosen], {"color": style.COLOURS[kind]}
                axes.hlines(rows, low[chosen], high[chosen], lw=0.9, alpha=0.55, **look)
                look |= {"marker": style.MARKERS[kind], "ms": min(2.6, step * 28), "ls": "none"}
                axes.plot(rank[chosen], rows, **look)
            for row, index in enumerate(order, start=1):
                # A name stands where its interval leaves more room.
                early = count - high[index] >= low[index] - 1
                axes.annotate(
                    "{}-{}".format(*numbers[index]),
                    (high[index] if early else low[index], row),
                    xytext=(3.2 if early else -3.2, 0),
                    textcoords="offset points",
                    fontsize=points,
                    color="#333333",
                    ha="left" if early else "right",
                    va="center_baseline",
                )
            room = style.text_width("00-000", points) / width * count
            axes.set(xlim=(1 - room, count + room), ylim=(count + 0.5 + 0.05 / step, 0.0))
            axes.set_title(f"by {name}")
            axes.set_xlabel("rank, 1 = largest")
            ticks = [1, *(t for t in MaxNLocator(4, integer=True).tick_values(1, count) if t > 1)]
            axes.set_xticks([t for t in ticks if t <= count])
            axes.set_yticks([t for t in ticks if t <= count])
            if column:
                axes.tick_params(axis="y", labelleft=False)
            else:
                # Centred on the panel, the whole text is too long for the page of a few heads.
                text = "heads in the order of their rank"
                fits = style.text_width(text, 7.0) / 2 <= foot + height / 2
                axes.set_ylabel(text if fits else "heads")
        return figure


def _columns(
    tables: Sequence[HeadTable], left: float, right: float, height: float
) -> tuple[Figure, float]:
    """Figure with room for one column of panels per table, headed by names and a legend."""
    if not tables:
        raise InputError("head figures: no table was given; expected at least one model")
    for table in tables:
        check_heads(table)
    page = style.COLUMN if len(tables) == 1 else max(style.PAGE, 2.6 * len(tables))
    width = (page - left * len(tables) - right) / len(tables)
    figure = Figure(figsize=(page, height))
    for column, table in enumerate(tables):
        _heading(figure, table, left + column * (width + left), width)
    _legend(figure, left, page, any((table.category_share < SURE).any() for table in tables))
    return figure, width


def _heading(figure: Figure, table: HeadTable, left: float, width: float) -> None:
    size = f" ({table.utterances} utterances)"
    name = style.fitted(table.name, width - style.text_width(size, 7.0, "bold"), 7.0, "bold")
    style.write(figure, left, 0.42, name + size, weight="bold", fontsize=7.0)


def _legend(figure: Figure, left: float, page: float, unsure: bool) -> None:
    wide = page > style.COLUMN
    text = "category in < 95 % of the bootstrap draws" if wide else "< 95 % of draws"
    figure.legend(
        handles=style.category_handles(text if unsure else ""),
        loc="upper left",
        bbox_to_anchor=((left - 0.08) / page, 1 - 0.04 / figure.get_figheight()),
        ncols=4,
        handletextpad=0.2,
        columnspacing=1.2 if wide else 0.7,
        borderpad=0.2,
    )


def _limits(tables: Sequence[HeadTable], name: str) -> tuple[float, float]:
    low = min(float(np.nanmin(table.low[name])) for table in tables)
    high = max(float(np.nanmax(table.high[name])) for table in tables)
    pad = 0.06 * (high - low) or 0.05
    return low - pad, high + pad


def _points(axes, table, x, name, x_low=None, x_high=None) -> None:
    """One marker per head, with bars from `low` to `high`."""
    y = table.metrics[name]
    for kind in CATEGORIES:
        chosen = np.asarray(table.category) == kind
        look = {"color": style.COLOURS[kind], "alpha": 0.5, "lw": 0.6, "zorder": 2}
        axes.vlines(x[chosen], table.low[name][chosen], table.high[name][chosen], **look)
        if x_low is not None:
            axes.hlines(y[chosen], x_low[chosen], x_high[chosen], **look)
        for sure in (False, True):
            part = chosen & ((np.asarray(table.category_share) >= SURE) == sure)
            face = style.COLOURS[kind] if sure else "white"
            axes.scatter(
                x[part],
                y[part],
                s=9,
                marker=style.MARKERS[kind],
                facecolor=face,
                edgecolor=style.COLOURS[kind],
                linewidth=0.7,
                zorder=3,
            )


def _label_points(axes: Axes, table: HeadTable, x: str, y: str, box: tuple[float, float]) -> None:
    """Name the heads layer-head where the panel of `box` inches has room."""
    points, there = 5.0, head_mask_of(table.category)

    def inches(group: dict[str, np.ndarray]) -> np.ndarray:
        values = np.stack([group[x][there], group[y][there]], axis=-1)
        corner, opposite = np.transpose([axes.get_xlim(), axes.get_ylim()])
        return (values - corner) / (opposite - corner) * box

    at, low, high = inches(table.metrics), inches(table.low), inches(table.high)
    names = ["{}-{}".format(*index) for index in np.argwhere(there) + 1]
    widths = {n: style.text_width("0" * n, points) for n in {len(name) for name in names}}
    sizes = np.array([(widths[len(name)], 0.8 * points / 72) for name in names])
    markers = np.hstack([at - 0.022, at + 0.022])
    across = np.stack([low[:, 0], at[:, 1], high[:, 0], at[:, 1]], axis=-1)
    along = np.stack([at[:, 0], low[:, 1], at[:, 0], high[:, 1]], axis=-1)
    centres = label_centres(at, sizes, np.vstack([markers, across, along]), box)
    for name, centre in zip(names, centres / box, strict=True):
        if np.isfinite(centre).all():
            place = {"transform": axes.transAxes, "ha": "center", "va": "center"}
            axes.text(*centre, name, fontsize=points, color="#333333", **place)
