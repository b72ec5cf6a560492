"""Areas under pruning curves in; a figure out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sat_jax.figures import style
from sat_jax.figures.ablation import HEAD
from sat_jax.figures.ablation_axes import (
    INTACT,
    LEGEND_ROW,
    LOOKS,
    conditions,
    draw_conditions,
    draw_legend,
    legend_rows,
    wrapped,
)
from sat_jax.figures.compared import padded_limits, spread
from sat_jax.records.ablation import Ablation, base, check_ablations

AREA_CHART = """\
Each curve as one number: the area under it, its mean over the share of heads that are pruned,

    area = \u222b value(s) ds,   s = heads pruned / all heads, from 0 to 1

which is in the units of the task. Bars are 95 % intervals from a bootstrap over utterances and
probe seeds; for random orders the dot is the mean over draws and the bar their range. Orderings
stand in the order of their mean rank over all tasks, and over all tables where several are shown,
the best on top. The thin line is the intact model: the nearer, the cheaper the order. Leave-one-out
orders by the utterances that it is then tested on. The number beside a dot is the largest number of
heads that can be pruned in this order while the task has lost at most 1 % of its intact value.
Noise moves it more than it moves the area."""
COUNTS, AREA_GAP = 0.32, 0.14  # inches of the numbers beside a panel of areas, and between panels
AREA_SHAPES = "osD^"
NOTE = {"fontsize": style.SMALL, "color": "#444444"}


def area_chart(tables: Sequence[Ablation]) -> Figure:
    """Area under the curve of every ordering and task, with the number of heads that can be pruned.

    Orderings stand in the order of their mean rank over tasks and tables, the best on top; bars are
    intervals. Filled and hollow markers of other shapes are further tables. Raises InputError as
    `check_ablations` does.
    """
    check_ablations(tables)
    order = _by_mean_rank(tables)
    name, shared, own = conditions(tables, "random" in order)
    kinds = {task.name: task for table in tables for task in table.tasks}
    shapes = AREA_SHAPES[: len(tables)]
    look = {"color": "#444444", "ls": "none", "ms": 3.4, "mew": 0.8}
    rows = legend_rows(
        [
            Line2D([], [], label=label, marker=shape, mfc=_fill(shape, "#444444"), **look)
            for label, shape in zip(own, shapes, strict=True)
        ]
        if len(tables) > 1
        else []
    )
    row = 0.13 + 0.11 * len(tables)
    left = 0.25 + max(style.text_width(ordering, 6.5) for ordering in order)
    head, high = HEAD + len(rows) * LEGEND_ROW + 0.34, row * len(order)
    wide = (style.PAGE - left - 0.1 + AREA_GAP) / len(kinds) - AREA_GAP - COUNTS
    labels = {task: wrapped(kinds[task].label, wide + COUNTS, 7.0) for task in kinds}
    foot = 0.5 + 0.12 * any("\n" in label for label in labels.values())
    with style.applied():
        figure = Figure(figsize=(style.PAGE, head + high + foot + 0.1))
        draw_conditions(figure, name, shared)
        draw_legend(figure, rows, HEAD)
        for column, task in enumerate(kinds.values()):
            x = left + column * (wide + COUNTS + AREA_GAP)
            axes = style.place(figure, x, head, wide, high)
            _draw_areas(axes, tables, task.name, order, 1 + (COUNTS - 0.06) / wide)
            axes.set(ylim=(len(order) - 0.5, -0.5), xlabel=labels[task.name])
            axes.xaxis.set_major_locator(MaxNLocator(max(3, int(wide / 0.4)), steps=[1, 2, 5, 10]))
            axes.set_yticks(range(len(order)), order if column == 0 else [], fontsize=6.5)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            title = style.fitted(task.name, wide + COUNTS, 7.0, "bold")
            style.write(figure, x, head - 0.2, title, weight="bold")
            text = "← better" if task.lower_is_better else "better →"
            style.write(figure, x, head - 0.06, text, **NOTE)
            x += wide + COUNTS - 0.06
            style.write(figure, x, head - 0.06, "heads", ha="right", **NOTE)
        text = (
            f"thin line: intact model; heads: how many of {tables[0].heads} can be pruned at "
            f"≤ 1 % relative loss{tested_at(tables[0])}"
        )
        style.write(figure, left, head + high + foot, text, **NOTE)
        return figure


def tested_at(table: Ablation) -> str:
    """At which numbers of pruned heads a table was measured, where that is not every number."""
    counts = table.tasks[0].curves[0].pruned
    if len(counts) == table.heads + 1:
        return ""
    return f", tested at {', '.join(map(str, counts[:-1].tolist()))} and {counts[-1]} heads only"


def _draw_areas(
    axes: Axes, tables: Sequence[Ablation], name: str, order: list[str], beside: float
) -> None:
    """Areas of a task by ordering with intervals, and removable heads at `beside` axes widths."""
    shifts = spread(len(tables), 0.5 * (len(tables) > 1))
    ends, place = [], {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
    for table, shift, shape in zip(tables, shifts, AREA_SHAPES, strict=False):
        for task in (each for each in table.tasks if each.name == name):
            intact = task.curves[0].value[0]
            axes.axvline(intact, **INTACT)
            for curve in task.curves:
                colour, y = LOOKS[base(curve.ordering)][0], order.index(curve.ordering) + shift
                look = {"marker": shape, "ms": 3.6, "mfc": _fill(shape, colour), "mec": colour}
                axes.hlines(y, curve.area_low, curve.area_high, color=colour, lw=1.1, zorder=2)
                axes.plot(curve.area, y, ls="none", mew=0.8, zorder=3, **look)
                axes.text(beside, y, f"{curve.removable}", fontsize=style.SMALL, **place)
                ends.append((curve.area_low, curve.area_high, intact))
    for edge in np.arange(1, len(order)) - 0.5:
        axes.axhline(edge, color="#e4e4e4", lw=0.5, zorder=0)
    axes.set_xlim(padded_limits([ends]))


def _fill(shape: str, colour: str) -> str:
    """Every other table has hollow markers."""
    return "white" if AREA_SHAPES.index(shape) % 2 else colour


def _by_mean_rank(tables: Sequence[Ablation]) -> list[str]:
    """Orderings by the mean of their rank over the tasks and tables that have them."""
    ranks: dict[str, list[int]] = {}
    for task in (task for table in tables for task in table.tasks):
        sign = 1 if task.lower_is_better else -1
        for rank, curve in enumerate(sorted(task.curves, key=lambda curve: sign * curve.area)):
            ranks.setdefault(curve.ordering, []).append(rank)
    return sorted(ranks, key=lambda ordering: np.mean(ranks[ordering]))
