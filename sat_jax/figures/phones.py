"""Attention between phones as maps: a `PhoneTable` in, `Figure` out."""

import math
from typing import NamedTuple

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


class PhoneTable(NamedTuple):
    """Attention between phones of one model on one corpus. `low` and `high` end 95 % intervals."""

    name: str  # the model, e.g. "toy (step 2400)"
    phones: tuple[str, ...]  # (P,) axis order: silence first, then grouped by manner
    manners: tuple[str, ...]  # (P,) manner of each phone, e.g. "vowel"; "" where unknown
    relation: np.ndarray  # (L, H, P, P) P_h[query, key]; -1: none, 0: uniform, NaN: never occurs
    elsewhere: np.ndarray  # (L, H, P, P) the same without the frames of the query's own segment
    concentration: np.ndarray  # (L, H, P) mean of relation over queries; NaN: never occurs
    concentration_low: np.ndarray
    concentration_high: np.ndarray
    silence: np.ndarray  # (L, H) share of the attention on silence; NaN if silence_uniform is
    silence_low: np.ndarray
    silence_high: np.ndarray
    silence_uniform: float  # what uniform attention would give; NaN: no silence in the corpus
    own: np.ndarray  # (L, H) share of the attention that stays in the query's own segment
    own_low: np.ndarray
    own_high: np.ndarray
    own_uniform: float
    same: np.ndarray  # (L, H) attention to the same phone elsewhere, as a ratio to uniform
    same_low: np.ndarray
    same_high: np.ndarray
    verticality: np.ndarray  # (L, H)
    category: np.ndarray  # (L, H) "global", "vertical", "diagonal", or "pruned": all else is NaN
    operations: tuple[tuple[str, ...], ...]  # (L)(H) what the head does, "" if nothing is known
    utterances: int  # how many are behind every mean


def check_phones(table: PhoneTable) -> None:
    """Raise InputError where shapes disagree or a value is missing that has to be there."""
    where = f"phone table {table.name!r}"
    shape, count = np.shape(table.category), len(table.phones)
    if not count:
        raise InputError(f"{where}: 0 phones; expected at least one")
    style.check_categories(where, table.category)
    gone = style.gone(table.category)
    if len(table.manners) != count:
        raise InputError(f"{where}: {len(table.manners)} manners for {count} phones; use '' too")
    if [len(row) for row in table.operations] != [shape[1]] * shape[0]:
        raise InputError(f"{where}: operations are not {shape[0]} x {shape[1]} texts; use '' too")
    pairs = dict.fromkeys(("relation", "elsewhere"), (*shape, count, count))
    phones = dict.fromkeys(("concentration", "concentration_low", "concentration_high"))
    kinds = ("silence", "own", "same")
    heads = [kind + end for kind in kinds for end in ("", "_low", "_high")] + ["verticality"]
    expected = pairs | dict.fromkeys(phones, (*shape, count)) | dict.fromkeys(heads, shape)
    for field, size in expected.items():
        values = np.asarray(getattr(table, field))
        if values.shape != size:
            raise InputError(f"{where}: {field} has shape {values.shape}, expected {size}")
        least = -1.0 if field in pairs else -np.inf
        # Concentrations are missing together; silence is missing where the corpus has none.
        absent = np.isnan(table.concentration) if field in phones else field in pairs
        if field.startswith("silence"):
            absent = np.isnan(table.silence_uniform)
        if field.startswith("same"):
            absent = np.isnan(table.same)  # a head that never leaves its own segment
        wrong = ~((np.isfinite(values) & (values >= least - 1e-4)) | (np.isnan(values) & absent))
        wrong[gone] = ~np.isnan(values[gone])
        if wrong.any():
            at = np.argwhere(wrong)[0]
            raise InputError(
                f"{where}: {field} is {values[tuple(at)]} at L{at[0] + 1} H{at[1] + 1}; look for "
                "empty utterances or a checkpoint that diverged"
            )
    if np.isnan(table.concentration[~gone]).all(axis=-1).any():
        raise InputError(f"{where}: a head has no concentration; give utterances with phones")


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
    values = table.elsewhere if elsewhere else table.relation

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


def all_phone_maps(table: PhoneTable) -> Figure:
    """Every head's phone relation map, one row per layer, one column per head.

    Lines part the manners; phones are not named. A frame has the colour of the head's category; the
    place of a head that is gone is blank. Raises InputError as `check_phones` does.
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
            if kind == style.PRUNED:
                axes.add_patch(Rectangle((x, y), side, side, **style.BLANK))
                continue
            box = (x, x + side, y + side, y)
            relation, colour = table.relation[layer, number], style.COLOURS[kind]
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


def focus_chart(table: PhoneTable) -> Figure:
    """Concentration of every head on every phone, heads in rows and phones in columns.

    Heads are named layer-head, as many as can be read, beside a bar in the colour of their
    category. The row of a head that is gone is blank. Up to 144 heads stand on one page. Raises
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
        draw_ratio(axes, table.concentration.reshape(-1, count), box)
        edges = [first for _, first, _ in manner_groups(table.manners)[1:]]
        axes.vlines(edges, 0, layers * heads, colors=LINES, lw=0.35)
        # Over the lines between manners as well: a row without them is not one of white cells.
        for row in np.flatnonzero(style.gone(table.category)):
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
            if kind != style.PRUNED:
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
    """Raise InputError where `shown` is empty or holds a head that is not there, or is gone."""
    layers, heads = np.shape(table.category)
    where = f"phone table {table.name!r}"
    if not len(shown):
        raise InputError(f"{where}: no head is shown; name at least one as (layer, head) from 0")
    for layer, head in shown:
        if not (0 <= layer < layers and 0 <= head < heads):
            raise InputError(
                f"{where}: head ({layer}, {head}) is not one of {layers} x {heads}; count from 0"
            )
        if table.category[layer, head] == style.PRUNED:
            raise InputError(f"{where}: head ({layer}, {head}) is gone; show one that is left")


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
