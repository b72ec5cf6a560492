"""What is left of tasks when heads are pruned: `Ablation` records in, `Figure` out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.ablation_axes import (
    CHANCE,
    CONDITIONS,
    INTACT,
    LEFT,
    LEGEND_ROW,
    RIGHT,
    TITLE,
    better,
    conditions,
    counted,
    draw_conditions,
    draw_legend,
    draw_levels,
    draw_title,
    head_ticks,
    legend_rows,
    ordering_look,
    panel_boxes,
)
from sat_jax.figures.ablation_records import (
    Ablation,
    Curve,
    Task,
    base,
    check_ablation,
    check_ablations,
)
from sat_jax.figures.compared import padded_limits, spread

HEAD = 0.42  # inches above the legend
HIGH, BETWEEN, FOOT = 1.9, 0.78, 0.56
MARKS = 7  # markers on a line with more points than this


def task_curves(table: Ablation, orderings: Sequence[str], dashed: Sequence[str] = ()) -> Figure:
    """Every task against the number of heads that are gone, one panel per task.

    `orderings` are drawn with solid lines, `dashed` ones with dashed lines and hollow markers in
    the colour of the ordering they reverse. Ribbons are 95 % intervals, the grey band all random
    draws. Raises InputError as `check_ablation` does, and for an ordering that a task does not
    have or that would look like another.
    """
    check_ablation(table)
    wanted = [(name, False) for name in orderings] + [(name, True) for name in dashed]
    _check_wanted(table, wanted)
    looks = [ordering_look(*each) for each in wanted]
    names = {"random": f"random (mean and range of {table.draws})"}
    handles = [
        Line2D([], [], label=names.get(name, name), **look)
        for (name, _), look in zip(wanted, looks, strict=True)
    ]
    panels = []
    for task in table.tasks:
        curves = {curve.ordering: curve for curve in task.curves}
        lines = [(curves[name], look) for (name, _), look in zip(wanted, looks, strict=True)]
        panels.append((task, lines, [task.chance]))
    randomly = any(base(name) == "random" for name, _ in wanted)
    more = f"{table.kind}, {table.probes}; {counted(table, randomly)}"
    return _curve_panels(panels, handles, table.heads, table.name, more)


def compared_curves(tables: Sequence[Ablation], ordering: str) -> Figure:
    """One ordering under up to four conditions, one panel per task and one line per table.

    A table that does not have the ordering on a task has no line in its panel. Raises InputError
    as `check_ablations` does, and where no table has the ordering.
    """
    check_ablations(tables)
    name, shared, own = conditions(tables)
    looks, panels = [], {}
    for colour, dashes, marker in CONDITIONS[: len(tables)]:
        look = {"color": colour, "ls": dashes, "marker": marker, "ms": 3.2, "mec": colour}
        looks.append(look | {"mfc": "white" if len(looks) % 2 else colour, "mew": 0.7, "lw": 1.1})
    for table, look in zip(tables, looks, strict=True):
        for task in table.tasks:
            for curve in task.curves:
                if curve.ordering == ordering:
                    _, lines, chance = panels.setdefault(task.name, (task, [], []))
                    lines.append((curve, look))
                    chance.append(task.chance)
    if not panels:
        known = dict.fromkeys(c.ordering for t in tables for task in t.tasks for c in task.curves)
        raise InputError(
            f"ablations side by side: ordering {ordering!r} is in no table; expected one of "
            f"{', '.join(known)}"
        )
    handles = [
        Line2D([], [], label=label or shared, **look)
        for label, look in zip(own, looks, strict=True)
    ]
    first = tables[0]
    more = f"ordering: {ordering}{'; ' + shared if shared else ''}; {first.utterances} utterances"
    return _curve_panels(list(panels.values()), handles, first.heads, name, more)


def area_chart(tables: Sequence[Ablation]) -> Figure:
    """Area under the curve of every ordering and task, with the number of heads that can go.

    Orderings stand in the order of their mean rank over tasks and tables, the best on top; bars are
    intervals. Filled and hollow markers of other shapes are further tables. Raises InputError as
    `check_ablations` does.
    """
    check_ablations(tables)
    name, shared, own = conditions(tables)
    order = _by_mean_rank(tables)
    kinds = {task.name: task for table in tables for task in table.tasks}
    row = 0.13 + 0.11 * len(tables)
    shifts = spread(len(tables), 0.5 * (len(tables) > 1))
    left = LEFT + max(style.text_width(ordering, 6.5) for ordering in order) - 0.3
    gap, numbers, head = 0.16, 0.34, 0.42 + (0.22 if len(tables) > 1 else 0) + 0.42
    wide = (style.PAGE - left - RIGHT - (len(kinds) - 1) * gap) / len(kinds) - numbers
    high = row * len(order)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, head + high + 0.72))
        more = f"{shared}; {counted(tables[0], 'random' in order)}".removeprefix("; ")
        draw_conditions(figure, name, more)
        for column, task in enumerate(kinds.values()):
            x = left + column * (wide + numbers + gap)
            axes = style.place(figure, x, head, wide, high)
            seen, levels = [], []
            for table, shift, shape in zip(tables, shifts, "osD^", strict=False):
                for mine in (each for each in table.tasks if each.name == task.name):
                    levels.append(mine.curves[0].value[0])
                    seen += [(c, order.index(c.ordering) + shift, shape) for c in mine.curves]
            for level in dict.fromkeys(levels):
                axes.axvline(level, **INTACT)
            for curve, y, shape in seen:
                _draw_area(axes, curve, y, shape)
                at = {"transform": axes.get_yaxis_transform(), "fontsize": style.SMALL}
                place = 1 + (numbers - 0.04) / wide
                axes.text(place, y, f"{curve.removable}", ha="right", va="center", **at)
            ends = [[c.area_low for c, *_ in seen], [c.area_high for c, *_ in seen], levels]
            axes.set(xlim=padded_limits(ends), ylim=(len(order) - 0.5, -0.5))
            axes.set_xlabel(_wrapped(task.label, wide + numbers))
            axes.xaxis.set_major_locator(MaxNLocator(max(2, int(wide / 0.42)), steps=[1, 2, 5, 10]))
            axes.set_yticks(range(len(order)), order if column == 0 else [], fontsize=6.5)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            for edge in np.arange(1, len(order)) - 0.5:
                axes.axhline(edge, color="#e4e4e4", lw=0.5, zorder=0)
            title = style.fitted(task.name, wide + numbers, 7.0, "bold")
            style.write(figure, x, head - 0.21, title, weight="bold")
            look = {"fontsize": style.SMALL, "color": "#444444"}
            text = "← better" if task.lower_is_better else "better →"
            style.write(figure, x, head - 0.07, text, **look)
            style.write(figure, x + wide + numbers - 0.04, head - 0.07, "heads", ha="right", **look)
        if len(tables) > 1:
            look = {"color": "#444444", "ls": "none", "ms": 3.4, "mew": 0.8}
            fills = ("#444444" if not index % 2 else "white" for index in range(len(tables)))
            rows = [
                Line2D([], [], label=label, marker=shape, mfc=fill, **look)
                for label, shape, fill in zip(own, "osD^", fills, strict=False)
            ]
            draw_legend(figure, legend_rows(rows), HEAD)
        text = (
            f"thin line: intact model; heads: how many of {tables[0].heads} can go at a relative "
            "loss of at most 1 %"
        )
        style.write(figure, left, head + high + 0.64, text, fontsize=style.SMALL, color="#444444")
        return figure


def _check_wanted(table: Ablation, wanted: Sequence[tuple[str, bool]]) -> None:
    if not wanted:
        raise InputError(f"ablation {table.name!r}: no ordering was asked for; name at least one")
    for task in table.tasks:
        known = [curve.ordering for curve in task.curves]
        for name, _ in wanted:
            if name not in known:
                raise InputError(
                    f"ablation {table.name!r}, task {task.name!r}: no curve of ordering {name!r}; "
                    f"expected one of {', '.join(known)}"
                )
    looks = [(base(name), hollow) for name, hollow in wanted]
    for (name, _), look in zip(wanted, looks, strict=True):
        if looks.count(look) > 1:
            raise InputError(
                f"ablation {table.name!r}: {name!r} would look like another line; "
                "ask for one of them as solid and for one as dashed"
            )


def _curve_panels(panels, handles, heads: int, name: str, more: str) -> Figure:
    """Panels of (task, curves with their looks, levels of chance) under one legend."""
    handles = [*handles, Line2D([], [], label="intact model", **INTACT)]
    if any(not np.isnan(level) for _, _, chance in panels for level in chance):
        handles.append(Line2D([], [], label="chance", **CHANCE))
    rows = legend_rows(handles)
    top = HEAD + len(rows) * LEGEND_ROW + TITLE
    boxes = panel_boxes(len(panels), top, HIGH, BETWEEN)
    low = max(y + high for _, y, _, high in boxes)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, low + FOOT))
        draw_conditions(figure, name, more)
        draw_legend(figure, rows, HEAD)
        for box, (task, lines, chance) in zip(boxes, panels, strict=True):
            axes = style.place(figure, *box)
            _draw_panel(axes, task, lines, heads)
            ends = [part for curve, _ in lines for part in (curve.low, curve.high, curve.value)]
            said = draw_levels(axes, lines[0][0].value[0], chance, ends)
            draw_title(figure, box, task.name, said + better(task.lower_is_better))
        return figure


def _draw_panel(axes: Axes, task: Task, lines: Sequence[tuple[Curve, dict]], heads: int) -> None:
    for index, (curve, look) in enumerate(lines):
        drawn = base(curve.ordering) == "random"
        axes.fill_between(
            curve.pruned,
            curve.low,
            curve.high,
            color=look["color"],
            alpha=0.3 if drawn else 0.18,
            lw=0,
            zorder=1 if drawn else 2,
        )
        every = _marked(len(curve.pruned), index / len(lines))
        axes.plot(curve.pruned, curve.value, markevery=every, zorder=3, **look)
    ticks, texts = head_ticks(heads)
    axes.set_xticks(ticks, texts)
    axes.set(xlim=(-0.02 * heads, 1.02 * heads), xlabel=f"heads pruned, of {heads}")
    axes.set_ylabel(task.label)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _marked(points: int, shift: float) -> list[int]:
    """Which points of a line carry a marker: lines are shifted so that markers keep apart."""
    if points <= 2 * MARKS:
        return list(range(points))
    places = (np.arange(MARKS) + shift) * (points - 1) / MARKS
    return np.round(places).astype(int).tolist()


def _draw_area(axes: Axes, curve: Curve, y: float, shape: str) -> None:
    """Area of one ordering with its interval."""
    colour = ordering_look(curve.ordering, False)["color"]
    hollow = "white" if shape in "s^" else colour
    look = {"marker": shape, "ms": 3.6, "mfc": hollow, "mec": colour, "mew": 0.8, "zorder": 3}
    axes.hlines(y, curve.area_low, curve.area_high, color=colour, lw=1.1, zorder=2)
    axes.plot(curve.area, y, ls="none", **look)


def _by_mean_rank(tables: Sequence[Ablation]) -> list[str]:
    """Orderings by the mean of their rank over the tasks and tables that have them."""
    ranks: dict[str, list[int]] = {}
    for task in (task for table in tables for task in table.tasks):
        sign = 1 if task.lower_is_better else -1
        for rank, curve in enumerate(sorted(task.curves, key=lambda curve: sign * curve.area)):
            ranks.setdefault(curve.ordering, []).append(rank)
    return sorted(ranks, key=lambda ordering: np.mean(ranks[ordering]))


def _wrapped(text: str, inches: float) -> str:
    """`text` on two lines where it is wider than `inches`."""
    words = text.split(" ")
    if style.text_width(text, 7.0) <= inches or len(words) == 1:
        return style.fitted(text, inches, 7.0)
    lines = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    lines = min(lines, key=lambda pair: max(style.text_width(line, 7.0) for line in pair))
    return "\n".join(style.fitted(line, inches, 7.0) for line in lines)
