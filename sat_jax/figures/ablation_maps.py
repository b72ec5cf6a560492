"""Tasks when spans are limited and when single heads are left out: records in, `Figure` out."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.ablation_axes import (
    CHANCE,
    INTACT,
    LEGEND_ROW,
    TITLE,
    better,
    decimals,
    draw_conditions,
    draw_legend,
    draw_levels,
    draw_title,
    guesses,
    legend_rows,
    levels,
    panel_boxes,
    span_texts,
)
from sat_jax.records.ablation import (
    Grid,
    Single,
    Spans,
    check_grids,
    check_singles,
    check_spans,
)

MINUS = "\N{MINUS SIGN}"
POINT = {"marker": "o", "ms": 3.4, "color": "#222222", "mew": 0}
BRIGHT = "viridis"  # lightness rises from end to end
BRIGHTER = "brighter is better"
WORSE = "RdBu"  # red is worse
KEY = 0.1  # inches of the width of a key
KEY_ROOM = 0.6  # inches beside a heat map that its key takes
TOP, BETWEEN = 0.42 + 0.36, 0.86  # inches above the first row of heat maps, and between rows

SPAN_CURVES = """\
Each task when no head may look further than r positions,

    A[q,k] = 0 where |q - k| > r

after the softmax and without normalising again, so what a head gave to far keys is lost, not moved
to near ones. Spans stand in equal steps, not to scale; below them is r in milliseconds. "full" is
the intact model, repeated as the thin line. Bars are 95 % intervals from a bootstrap over
utterances and probe seeds, the dotted line is guessing the commonest class or, of
reconstruction, predicting the mean of each utterance over time, the arrow says which
way is better. At r = 0 a position sees only itself."""


def span_curves(
    spans: Sequence[Spans], name: str, probes: str, utterances: int, seconds_per_position: float
) -> Figure:
    """Every task when all heads may only look so far, one panel per task.

    Spans stand side by side as given, in positions and, below, in ms; bars are 95 % intervals, the
    thin line is the value at full span. Raises InputError as `check_spans` does.
    """
    check_spans(spans)
    if not seconds_per_position > 0:
        raise InputError(
            f"span limits: {seconds_per_position} s per position; expected more than 0"
        )
    handles = [
        Line2D([], [], label="mean and 95 % interval", lw=0.8, **POINT),
        Line2D([], [], label="full span", **INTACT),
    ]
    fulls = [each.value[each.spans.index(None)] for each in spans]
    found = [
        levels([full], [each.chance], [each.low, each.high, each.value])
        for full, each in zip(fulls, spans, strict=True)
    ]
    drawn = [each for each, (_, near, _) in zip(spans, found, strict=True) if near]
    if drawn:
        handles.append(Line2D([], [], label=guesses(drawn), **CHANCE))
    rows = legend_rows(handles)
    top = 0.42 + len(rows) * LEGEND_ROW + TITLE
    boxes = panel_boxes(len(spans), top, 1.9, 0.78)
    low = max(y + high for _, y, _, high in boxes)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, low + 0.56))
        more = f"attention of every head limited to the span, {probes}, {utterances} utterances"
        draw_conditions(figure, name, more)
        draw_legend(figure, rows, 0.42)
        for box, each, full, level in zip(boxes, spans, fulls, found, strict=True):
            axes = style.place(figure, *box)
            x = np.arange(len(each.spans))
            axes.vlines(x, each.low, each.high, color=POINT["color"], lw=0.9, zorder=2)
            axes.plot(x, each.value, lw=0.8, zorder=3, **POINT)
            draw_levels(axes, [full], level, each.lower_is_better)
            draw_title(figure, box, each.name, better(each.lower_is_better))
            axes.set_xticks(x, _times(each.spans, seconds_per_position, box[2]))
            axes.set(xlim=(-0.5, len(x) - 0.5), ylabel=each.label)
            axes.set_xlabel("span in positions and, below, in ms")
            axes.grid(visible=False, axis="x")
            axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        return figure


SPAN_GRID = """\
Heads pruned (rows) and spans limited (columns) at the same time; the first row limits spans alone,
the column "full" prunes alone. Brighter is better on every task, whether its values rise or fall;
each task has its own scale, from its worst to its best cell, so colours do not compare between
tasks. Values stand in the cells, without intervals."""


def span_grid(grids: Sequence[Grid], name: str) -> Figure:
    """Every task over the number of heads pruned and the span, one heat map per task.

    Brighter is better on every task; each has its own scale. Values stand in the cells where they
    have room. Raises InputError as `check_grids` does.
    """
    check_grids(grids)
    high = float(np.clip(0.2 * max(len(grid.pruned) for grid in grids), 0.8, 5.0))
    boxes = panel_boxes(len(grids), TOP, high, BETWEEN, min(2, len(grids)), KEY_ROOM)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, max(y for _, y, *_ in boxes) + high + 0.46))
        more = f"heads pruned by {grids[0].ordering} and spans limited together; {BRIGHTER}"
        draw_conditions(figure, name, more)
        for box, grid in zip(boxes, grids, strict=True):
            axes = style.place(figure, *box)
            values = np.asarray(grid.value, float)
            norm = Normalize(values.min(), values.max() + (np.ptp(values) == 0))
            colours = _towards(BRIGHT, grid.lower_is_better)
            axes.imshow(values, cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
            _write_cells(axes, values, colours(norm(values)), box)
            axes.set_xticks(range(len(grid.spans)), span_texts(grid.spans))
            axes.set_yticks(range(len(grid.pruned)), [f"{n}" for n in grid.pruned])
            axes.set(xlabel="span (positions)", ylabel="heads pruned")
            _bare(axes)
            _draw_titles(figure, box, grid.name, grid.label)
            _draw_scale(figure, box, colours, norm)
        return figure


LEAVE_ONE_OUT = """\
Every head pruned alone: rows are layers, columns heads, colour is the value without the head minus
the value of the intact model,

    \u0394[l,h] = value(without head h of layer l) - value(intact)

Red is worse on every task, whether its values rise or fall, white is no change; each task has its
own scale, symmetric about 0. A dot marks heads whose 95 % interval (bootstrap over utterances and
probe seeds) includes 0: that the task misses them is not shown. With dozens of heads, of those that
change nothing about one in twenty misses its dot by chance. A head that changes nothing alone
can still matter together with others that do the same."""


def leave_one_out(singles: Sequence[Single], name: str) -> Figure:
    """Change of every task when one head alone is pruned, one map of layers and heads per task.

    Red is worse on every task, white is no change; each has its own scale. Heads whose 95 %
    interval includes 0 carry a dot. Raises InputError as `check_singles` does.
    """
    check_singles(singles)
    layers, heads = np.shape(singles[0].change)
    columns = min(2, len(singles))
    wide = panel_boxes(1, 0, 0, 0, columns, KEY_ROOM)[0][2]
    pitch = min(wide / heads, 0.3, 8.0 / layers)
    high = max(layers * pitch, 0.9)
    boxes = panel_boxes(len(singles), TOP, high, BETWEEN, columns, KEY_ROOM)
    dot = {"marker": "o", "ms": float(np.clip(12 * pitch, 1.0, 2.4)), "color": "#333333"}
    dot |= {"ls": "none", "mec": "white", "mew": 0.3}
    with style.applied():
        figure = Figure(figsize=(style.PAGE, max(y for _, y, *_ in boxes) + high + 0.62))
        draw_conditions(figure, name, "each head pruned alone; red is worse")
        for (left, y, *_), each in zip(boxes, singles, strict=True):
            axes = style.place(figure, left, y, heads * pitch, layers * pitch)
            norm, colours = _draw_change(axes, each, pitch, dot)
            label = f"change of {each.label}".replace("(%)", "(points)")
            intact = f"intact {each.intact:#.3g}".replace("-", MINUS)
            _draw_titles(figure, (left, y, wide, high), each.name, label, intact)
            # The ends of the key are named on the line of the label.
            beside = min(wide, max(heads * pitch, style.text_width(label, 6.5)))
            _draw_scale(figure, (left, y, beside, high), colours, norm)
            ends = ("worse", "better") if each.lower_is_better else ("better", "worse")
            for text, at in zip(ends, (y - 0.07, y + high + 0.12), strict=True):
                look = {"fontsize": style.SMALL, "color": "#444444"}
                style.write(figure, left + beside + 0.12, at, text, **look)
        handle = Line2D([], [], label="95 % interval includes 0", **dot)
        draw_legend(figure, [[handle]], figure.get_figheight() - 0.2)
        return figure


def _draw_change(axes: Axes, each: Single, pitch: float, dot: dict) -> tuple[Normalize, Colormap]:
    """Map of the change with a dot where it is not sure; returns its scale and colours."""
    layers, heads = np.shape(each.change)
    change = np.asarray(each.change, float)
    most = float(np.abs(change).max()) or 1.0
    norm, colours = Normalize(-most, most), _towards(WORSE, each.lower_is_better)
    axes.imshow(change, cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
    rows, columns = np.nonzero((np.asarray(each.low) <= 0) & (np.asarray(each.high) >= 0))
    axes.plot(columns, rows, **dot)
    points = float(np.clip(0.75 * pitch * 72, 4.5, 6.0))
    for axis, count in ((axes.xaxis, heads), (axes.yaxis, layers)):
        # Across, names are as wide as their digits; down, as high as a line.
        room = style.text_width(f"{count}", points) if axis is axes.xaxis else points / 72
        ticks = range(0, count, 1 + int(room / pitch))
        axis.set_ticks(ticks, [f"{tick + 1}" for tick in ticks], fontsize=points)
    axes.set(xlabel="head", ylabel="layer")
    axes.set(xlim=(-0.5, heads - 0.5), ylim=(layers - 0.5, -0.5))
    _bare(axes)
    return norm, colours


def _towards(colours: str, lower_is_better: bool) -> Colormap:
    """Colours that go from worse to better as a value gets better."""
    return matplotlib.colormaps[f"{colours}_r" if lower_is_better else colours]


def _bare(axes: Axes) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=2)


def _draw_titles(figure: Figure, box: tuple, name: str, label: str, note: str = "") -> None:
    """Name of a task with a note behind it and, below, what its colours show."""
    left, top, wide, _ = box
    room = wide - (style.text_width(note, 6.5) + 0.1 if note else 0.0)
    name = style.fitted(name, room, 7.0, "bold")
    style.write(figure, left, top - 0.21, name, weight="bold")
    behind = left + style.text_width(name, 7.0, "bold") + 0.1
    style.write(figure, behind, top - 0.21, note, fontsize=6.5, color="#444444")
    text = style.fitted(label, wide, 6.5)
    style.write(figure, left, top - 0.07, text, fontsize=6.5, color="#444444")


def _draw_scale(figure: Figure, box: tuple, colours: Colormap, norm: Normalize) -> None:
    """Key of a heat map to the right of its box."""
    left, top, wide, high = box
    axes = style.place(figure, left + wide + 0.12, top, KEY, high)
    ends = (norm.vmin, norm.vmax)
    ramp = np.linspace(*ends, 256)[:, None]
    axes.imshow(ramp, cmap=colours, norm=norm, extent=(0, 1, *ends), origin="lower", aspect="auto")
    axes.set(xticks=[], ylim=ends)
    axes.grid(visible=False)
    axes.yaxis.tick_right()
    axes.yaxis.set_major_locator(MaxNLocator(max(2, int(high / 0.3)), steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", pad=1.5)


def _write_cells(axes: Axes, values: np.ndarray, colours: np.ndarray, box: tuple) -> None:
    """Values in the cells of a heat map, with as many decimals as have room."""
    _, _, wide, high = box
    room, points = wide / values.shape[1] - 0.03, style.SMALL
    if high / values.shape[0] < points / 72:
        return
    for digits in range(decimals(values), -1, -1):
        texts = np.array([style.signed(value, digits) for value in values.ravel()])
        if max(style.text_width(text, points) for text in texts) <= room:
            break
    else:
        return
    dark = (colours[..., :3] @ (0.299, 0.587, 0.114) < 0.5).ravel()
    for index, (row, column) in enumerate(np.ndindex(values.shape)):
        look = {"color": "white" if dark[index] else "black", "fontsize": points}
        axes.text(column, row, texts[index], ha="center", va="center_baseline", **look)


def _times(spans: Sequence[int | None], seconds: float, inches: float) -> list[str]:
    """Spans with their length in ms below; a length that would touch the one before is left out."""
    pitch, end, texts = inches / len(spans), -np.inf, []
    for index, (span, text) in enumerate(zip(spans, span_texts(spans), strict=True)):
        below = "" if span is None else f"{1000 * span * seconds:.4g}"
        half = style.text_width(below, 6.0) / 2 if below else 0.0
        if index * pitch - half < end:
            below = ""
        elif below:
            end = index * pitch + half + 0.04
        texts.append(f"{text}\n{below}")
    return texts
