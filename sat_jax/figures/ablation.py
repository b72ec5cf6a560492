"""Scores of tasks when heads are pruned: `Ablation` records in, `Figure` out."""

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
    LEGEND_ROW,
    TITLE,
    better,
    conditions,
    draw_conditions,
    draw_legend,
    draw_levels,
    draw_title,
    guesses,
    head_ticks,
    legend_rows,
    levels,
    ordering_look,
    panel_boxes,
)
from sat_jax.records.ablation import (
    Ablation,
    Curve,
    Task,
    base,
    check_ablation,
    check_ablations,
)

HEAD = 0.42  # inches above the legend
HIGH, BETWEEN, FOOT = 1.9, 0.78, 0.56
MARKS = 7  # markers on a line with more points than this

PRUNING = """\
A head h is pruned by setting its attention A to 0 after the softmax, so that it adds nothing to
its layer. Nothing is normalised again and nothing is fine-tuned: only inference changes.

    z[h,q] = g_h \u00b7 \u03a3_k A[h,q,k] v[h,k],   g_h = 0 pruned, 1 kept

"Attention replaced by its mean" keeps what a head does whatever the utterance: its map becomes the
mean of its maps over the utterances that probes learn from, pair of positions by pair, cut to the
utterance's length with rows scaled to 1 (Hassid et al. 2022). What is lost depends on the input.

Heads are pruned one after the other. By globalness, verticality and diagonality those with the
largest value are pruned first. By weight those are pruned first whose largest probability W is
smallest, which makes them look unimportant. Gradient is the mean over utterances of |dL/dg_h|, L
the reconstruction error, scaled to a norm of 1 in each layer (Michel et al. 2019), leave-one-out
the loss without that head alone; the least important are pruned first. Layer prunes layer after
layer from the input on, user is an order that was given, random is drawn uniformly. Reversed orders
begin at the other end.

Reconstruction is the L1 distance between the output of the pretraining head and the true
spectrogram, without masking. The other tasks read the last layer, if not told otherwise, through a
probe: a softmax regression (linear) of phones and speakers of frames, and of speakers of utterances
from the mean over time; where it is said, one hidden layer instead. Probes trained anew are trained
on the pruned representation, once per setting and seed, and say what can still be read from it;
frozen probes were trained on the intact model and also fail when what they read has only moved. The
study follows Yang, Liu and Lee, Interspeech 2020 (arXiv:2006.03265)."""

TASK_CURVES = """\
What remains of each task (panels) after so many heads are pruned, in heads and, below, in percent
of all. The arrow above a panel says which way is better. Lines are orderings; ribbons are 95 %
intervals, from a bootstrap over utterances and probe seeds; dashed lines with hollow markers are
reversed orders. Random orders show the mean and, as a band, the range over all draws, not an
interval. Markers only tell lines apart, measured is every number of heads at which a line has a
point. The thin horizontal line is the intact model, the dotted one what needs no model: guessing
the commonest class or, of reconstruction, predicting the mean of each utterance over time; where it
would squeeze the curves it is left off, and an arrow in the panel says where it is. An order that
stays near the thin line for long removes heads that the task does not need; one that is worse than
the random band does worse than no order at all."""


def task_curves(table: Ablation, orderings: Sequence[str], dashed: Sequence[str] = ()) -> Figure:
    """Every task against the number of pruned heads, one panel per task.

    `orderings` are drawn with solid lines, `dashed` ones with dashed lines and hollow markers in
    the colour of the ordering they reverse. Ribbons are 95 % intervals, the grey band all random
    draws. Raises InputError as `check_ablation` does, and for an ordering that a task does not
    have or that would look like another.
    """
    check_ablation(table)
    wanted = [(name, False) for name in orderings] + [(name, True) for name in dashed]
    _check_wanted(table, wanted)
    looks = [ordering_look(*each) for each in wanted]
    names = {"random": "random (mean, range)"}
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
    name, more, _ = conditions([table], randomly)
    return _curve_panels(panels, handles, table.heads, name, more)


COMPARED_CURVES = """\
One ordering under several conditions, one line each; ribbons are 95 % intervals from a bootstrap
over utterances and probe seeds, axes and lines as above. Where frozen probes fall and probes
trained anew do not, the information is still there and has moved. Where setting attention to 0
hurts and replacing it by its mean does not, the task needs the head's output but not what it makes
of the single utterance. The untrained model is the same network with the parameters that it started
from, pruned by its own globalness: what training has not added."""

MLP_CURVES = """\
The metric orderings at the paper's seven points, with probes that have one hidden layer, are
trained anew at every point and learn from more utterances than the linear probes above. Axes and
lines as there."""


def compared_curves(tables: Sequence[Ablation], ordering: str) -> Figure:
    """One ordering under up to four conditions, one panel per task and one line per table.

    A table that does not have the ordering on a task has no line in its panel. Raises InputError
    as `check_ablations` does, and where no table has the ordering.
    """
    check_ablations(tables)
    name, shared, own = conditions(tables, base(ordering) == "random")
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
        Line2D([], [], label=label or ordering, **look)
        for label, look in zip(own, looks, strict=True)
    ]
    more = f"ordering: {ordering}, {shared}".removesuffix(", ")
    return _curve_panels(list(panels.values()), handles, tables[0].heads, name, more)


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
    found = []
    for _, lines, chance in panels:
        ends = [part for curve, _ in lines for part in (curve.low, curve.high, curve.value)]
        intact = [float(curve.value[0]) for curve, _ in lines]
        found.append((intact, levels(intact, chance, ends)))
    handles = [*handles, Line2D([], [], label="intact", **INTACT)]
    drawn = [task for (task, *_), (_, (_, near, _)) in zip(panels, found, strict=True) if near]
    if drawn:
        handles.append(Line2D([], [], label=guesses(drawn), **CHANCE))
    rows = legend_rows(handles)
    top = HEAD + len(rows) * LEGEND_ROW + TITLE
    boxes = panel_boxes(len(panels), top, HIGH + 0.5 * (len(panels) == 1), BETWEEN)
    low = max(y + high for _, y, _, high in boxes)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, low + FOOT))
        draw_conditions(figure, name, more)
        draw_legend(figure, rows, HEAD)
        for box, (task, lines, _), level in zip(boxes, panels, found, strict=True):
            axes = style.place(figure, *box)
            _draw_panel(axes, task, lines, heads)
            draw_levels(axes, *level, task.lower_is_better)
            draw_title(figure, box, task.name, better(task.lower_is_better))
        return figure


def _draw_panel(axes: Axes, task: Task, lines: Sequence[tuple[Curve, dict]], heads: int) -> None:
    # Ribbons of many lines would make one brown.
    opacity = 0.18 * min(1.0, 4 / len(lines))
    for index, (curve, look) in enumerate(lines):
        drawn = base(curve.ordering) == "random"
        axes.fill_between(
            curve.pruned,
            curve.low,
            curve.high,
            color=look["color"],
            alpha=0.3 if drawn else opacity,
            lw=0,
            zorder=1 if drawn else 2,
        )
        every = _marked(len(curve.pruned), index / len(lines))
        look = look | {"lw": 0.8} if len(curve.pruned) > 200 else look
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
