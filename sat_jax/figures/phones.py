"""Attention between phones as maps: a `PhoneTable` in, `Figure` out."""

import math

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.phone_axes import (
    LINES,
    PHONE_POINTS,
    draw_key,
    draw_ratio,
    draw_relation,
    manner_groups,
    name_manners,
    name_phones,
    phone_width,
)
from sat_jax.records.check import PRUNED, head_mask_of
from sat_jax.records.phones import PhoneTable, check_phones

RELATION = """\
A is the attention of one head on one utterance of T frames, y_q the phone of frame q; frames are
the analysis windows of the features, and a position of the model stands for all of its frames. For
query phone m and key phone n, averaged over utterances (E),

    P'[m,n] = E[ (1/T) \u03a3_q \u03a3_k 1(y_q = m) 1(y_k = n) A[q,k] ]

    P_U[m,n] = E[ (1/T\u00b2) \u03a3_q \u03a3_k 1(y_q = m) 1(y_k = n) ]

    P[m,n] = (P'[m,n] - P_U[m,n]) / P_U[m,n]

P_U is P' of uniform attention. P is -1 where frames of m never attend to frames of n, 0 where they
attend as much as an indifferent head would, 1 where they attend twice as much. The definition is
that of Yang, Liu and Lee, Interspeech 2020 (arXiv:2006.03265)."""

COLOURS = """\
Colour is attention relative to uniform attention, 1 + P, on one logarithmic scale from 1/8 (blue)
to 8 (red) that is the same for every head and model: white is as uniform, twice as much and half
as much are equally strong colours, values beyond the ends take the colour of the ends. Grey pairs
never occur together in an utterance. Phones stand with silence first, then by manner; lines part
the manners."""

PHONE_MAPS = (
    """\
Phone relation maps of single heads: query phones run down, key phones run right. A column of one
colour is a head that looks for a phone whatever the query; a red diagonal is a head that looks for
the query's own phone, and for a head that attends to near frames this is the same segment, not
another occurrence. Rare phones rest on few frames: their rows and columns are noisier. The title
says what the head was found to do, the colour of the frame is its category. """
    + COLOURS
    + "\n\n"
    + RELATION
)

PHONE_MAPS_ELSEWHERE = (
    """\
The same maps without the frames of the query's own segment, in the head and in uniform attention
alike, so that "same phone" means another occurrence of it. """
    + PHONE_MAPS
)


def phone_maps(table: PhoneTable, shown: list[tuple[int, int]], elsewhere: bool = False) -> Figure:
    """Phone relation maps of the heads `shown`, (layer, head) from 0, with every phone named.

    Two in a row, three where all phones of a small set can be named. A frame has the colour of
    the head's category. `elsewhere` leaves the query's own segment out of every pair. Raises
    InputError as `check_phones` does and where `shown` is empty or names no head of the table.
    """
    check_phones(table)
    check_shown(table, shown)
    count = len(table.phones)
    around = max((style.text_width(n, style.SMALL) for n in table.manners), default=0.0)
    around = around + 0.1 if around else 0.0
    width = phone_width(table.phones)
    for columns, levels in ((3, 1), *((2, levels) for levels in range(1, 9))):
        room = 0.05 + levels * (width + 0.03)
        side = (style.PAGE - 0.3 - around) / columns - room - 0.08
        if levels * side / count * 72 >= 0.95 * PHONE_POINTS:
            break
    rows = math.ceil(len(shown) / columns)
    head, down = 0.46 + around + room, side + room + 0.26
    height = head + rows * down - room + 0.52
    values = table.summary.elsewhere if elsewhere else table.summary.relation

    with style.applied():
        figure = Figure(figsize=(style.PAGE, height))
        heading(figure, table, ", own segment left out" if elsewhere else "")
        for index, (layer, number) in enumerate(shown):
            row, column = divmod(index, columns)
            x, y = 0.22 + around + room + column * (side + room + 0.08), head + row * down
            axes = style.place(figure, x, y, side, side)
            colour = style.COLOURS[table.category[layer, number]]
            box = (0, count, count, 0)
            draw_relation(axes, values[layer, number], table.manners, box, colour, 0.35)
            axes.set(xlim=(0, count), ylim=(count, 0), xticks=[], yticks=[])
            pitches = (side / count, side / count)
            name_phones(axes, table.phones, pitches, levels, True, 90)
            name_phones(axes, table.phones, pitches, levels, False)
            if row == 0:
                name_manners(axes, table.manners, pitches, room, True, 90)
            if column == 0:
                name_manners(axes, table.manners, pitches, room, False)
                style.write(figure, 0.06, y + side / 2, "query phone", rotation=90, va="center")
            if index + columns >= len(shown):
                axes.set_xlabel("key phone", labelpad=3)
            lift = room + (around if row == 0 else 0)
            style.write(figure, x, y - lift - 0.04, title(table, layer, number, side))
        draw_key(figure, 0.3, height - 0.34, "P", "frame:")
        return figure


ALL_PHONE_MAPS = (
    """\
The phone relation map of every head, one row per layer, one column per head: query phones run
down, key phones run right. The colour of a frame is the head's category. """
    + COLOURS
)


def all_phone_maps(table: PhoneTable) -> Figure:
    """Every head's phone relation map, one row per layer, one column per head.

    Lines part the manners; phones are not named. A frame has the colour of the head's category; the
    place of a pruned head is blank. Raises InputError as `check_phones` does.
    """
    check_phones(table)
    layers, heads = np.shape(table.category)
    left, gap, head = 0.42, 0.08, 0.52
    pitch = min((style.PAGE - left - 0.1 + gap) / heads, 1.6)
    side = pitch - gap
    wide, high = heads * pitch - gap, layers * pitch - gap
    height = head + high + 0.72
    thin = min(0.35, 0.3 * side)

    with style.applied():
        figure = Figure(figsize=(style.PAGE, height))
        heading(figure, table)
        # One set of axes with inches as data: 144 axes of their own take ten times as long to draw.
        axes = style.place(figure, left, head, wide, high)
        axes.set_axis_off()
        for layer, number in np.ndindex(layers, heads):
            x, y = number * pitch, layer * pitch
            kind = table.category[layer, number]
            if kind == PRUNED:
                axes.add_patch(Rectangle((x, y), side, side, **style.BLANK))
                continue
            box = (x, x + side, y + side, y)
            relation, colour = table.summary.relation[layer, number], style.COLOURS[kind]
            draw_relation(axes, relation, table.manners, box, colour, thin)
        # Setting the limits again: an image moves them to its own extent.
        axes.set(xlim=(0, wide), ylim=(high, 0))
        look = {"weight": "bold", "fontsize": 6.5, "va": "center"}
        for number in range(heads):
            x = left + number * pitch + side / 2
            style.write(figure, x, head - 0.1, f"H{number + 1}", ha="center", **look)
        for layer in range(layers):
            y = head + layer * pitch + side / 2
            style.write(figure, left - 0.06, y, f"L{layer + 1}", ha="right", **look)
        style.write(figure, left, head + high + 0.15, "key phone")
        style.write(figure, 0.06, head + high / 2, "query phone", rotation=90, va="center")
        draw_key(figure, left, height - 0.34, "P", "frame:")
        return figure


FOCUS_CHART = """\
Heads in rows (layer-head), phones in columns. The concentration of a head on key phone n is the
mean of its phone relation map over the M query phones that occur together with n,

    C[n] = (1/M) \u03a3_m P[m,n]

Every query phone counts alike, however often it occurs. Colour is 1 + C: red phones are in focus,
blue ones are neglected, white ones get what uniform attention would give, grey ones never occur.
The scale is logarithmic from 1/8 to 8 and the same for every head and model. The bar beside a name
has the colour of the head's category."""

OPERATIONS = """\
An operation is named where a head's attention differs from uniform attention at least 1.5 times,
up or down, with the whole bootstrap 95 % interval on that side: attention to silence, to the same
phone outside the query's own segment (queries in silence left out), and the concentration on
single phones (focus, neglect). The effect is the ratio to uniform attention: 2 is twice as much as
an indifferent head gives, 0.5 half as much. With 39 phones and dozens of heads, about one interval
in twenty misses the truth by chance; it is the size of the effect that keeps the list honest."""


def focus_chart(table: PhoneTable) -> Figure:
    """Concentration of every head on every phone, heads in rows and phones in columns.

    Heads are named layer-head, as many as can be read, beside a bar in the colour of their
    category. The row of a pruned head is blank. Up to 144 heads stand on one page. Raises
    InputError as `check_phones` does.
    """
    check_phones(table)
    (layers, heads), count = np.shape(table.category), len(table.phones)
    left, wide = 0.5, style.PAGE - 0.6
    x_pitch, y_pitch = wide / count, float(np.clip(7.6 / (layers * heads), 0.02, 0.13))
    width = phone_width(table.phones)
    rotation, levels = 0, 1
    if width > x_pitch - 0.02:
        rotation, levels = 90, math.ceil(0.95 * PHONE_POINTS / 72 / x_pitch)
    room = 0.05 + (levels * (width + 0.03) if rotation else 0.09)
    head = 0.36 + room + (0.16 if any(table.manners) else 0)
    high = layers * heads * y_pitch
    height = head + high + 0.55

    with style.applied():
        figure = Figure(figsize=(style.PAGE, height))
        heading(figure, table)
        axes = style.place(figure, left, head, wide, high)
        box = (0, count, layers * heads, 0)
        draw_ratio(axes, table.summary.concentration.value.reshape(-1, count), box)
        edges = [first for _, first, _ in manner_groups(table.manners)[1:]]
        axes.vlines(edges, 0, layers * heads, colors=LINES, lw=0.35)
        # Over the lines between manners as well: a row without them is not one of white cells.
        for row in np.flatnonzero(~head_mask_of(table.category)):
            axes.axhspan(row, row + 1, color="white", lw=0, zorder=2)
        axes.hlines(np.arange(1, layers) * heads, 0, count, colors=LINES, lw=0.9)
        axes.spines[:].set_visible(True)
        axes.set(xticks=[], yticks=[], xlim=(0, count), ylim=(layers * heads, 0))
        name_phones(axes, table.phones, (x_pitch, y_pitch), levels, True, rotation)
        name_manners(axes, table.manners, (x_pitch, y_pitch), room, True)
        points = float(np.clip(y_pitch * 72 * 0.98, PHONE_POINTS, style.SMALL))
        step = math.ceil(0.9 * points / 72 / y_pitch)
        bars, colours, near = [], [], -0.06 / x_pitch
        for row, (layer, number) in enumerate(np.ndindex(layers, heads)):
            kind = table.category[layer, number]
            if kind != PRUNED:
                bars.append([(near, row), (near, row + 1)])
                colours.append(style.COLOURS[kind])
            if number % step == 0:
                text = f"{layer + 1}-{number + 1}"
                look = {"fontsize": points, "ha": "right", "va": "center_baseline"}
                axes.text(near - 0.06 / x_pitch, row + 0.5, text, **look)
        look = {"colors": colours, "lw": 4, "capstyle": "butt", "clip_on": False}
        axes.add_collection(LineCollection(bars, **look), autolim=False)
        draw_key(figure, left, height - 0.34, "C", "bar at the left:")
        return figure


def check_shown(table: PhoneTable, shown: list[tuple[int, int]]) -> None:
    """Raise InputError where `shown` is empty or holds a head that is not there, or is pruned."""
    layers, heads = np.shape(table.category)
    where = f"phone table {table.name!r}"
    if not len(shown):
        raise InputError(f"{where}: no head is shown; name at least one as (layer, head) from 0")
    for layer, head in shown:
        if not (0 <= layer < layers and 0 <= head < heads):
            raise InputError(
                f"{where}: head ({layer}, {head}) is not one of {layers} x {heads}; count from 0"
            )
        if table.category[layer, head] == PRUNED:
            raise InputError(f"{where}: head ({layer}, {head}) is pruned; show one that is not")


def heading(figure: Figure, table: PhoneTable, more: str = "", top: float = 0.16) -> None:
    """Name of the model and number of utterances at the top left of a figure."""
    look = {"weight": "bold", "fontsize": 7.5}
    more = f"{more} ({table.utterances} utterances)"
    room = style.PAGE - 0.3 - style.text_width(more, 7.5, "bold")
    style.write(figure, 0.2, top, style.fitted(table.name, room, 7.5, "bold") + more, **look)


def title(table: PhoneTable, layer: int, head: int, inches: float, before: str = "") -> str:
    """ "L3 H2: what it does", cut where it is wider than `inches`."""
    operation = table.operations[layer][head]
    text = f"{before}L{layer + 1} H{head + 1}" + (f": {operation}" if operation else "")
    return style.fitted(text, inches, 7.0)
