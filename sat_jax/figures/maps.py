"""Attention maps of one utterance as figures: an `Example` and its `HeadTable` in, `Figure` out.

Colour is attention relative to uniform attention, `A[q, k] * T`, on one logarithmic scale from 0.1
to 100 for every head, model and utterance: 1 is what an indifferent head gives to each key. A
diffuse head is then visibly flat and a sharp one visibly sharp, and two figures can be compared.
Maps with more positions than a panel has pixels are averaged over blocks, which keeps this density.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.utterance import (
    LABEL_HEIGHT,
    SOUND_HEIGHT,
    Example,
    check_example,
    draw_phones,
    draw_sound,
    label_rows,
    round_times,
    time_span,
)
from sat_jax.records.check import CATEGORIES, PRUNED, head_mask_of
from sat_jax.records.heads import CATEGORY_OF, HeadTable, check_heads

DENSITY = (0.1, 100.0)  # ends of the colour scale, in multiples of uniform attention
MAP_DPI = 200  # a map is averaged down to what its panel can show at this resolution
LEFT, RIGHT, FOOT = 0.85, 0.42, 0.84

MAPS = """\
Queries run down, keys run right, both in seconds. Colour is attention relative to uniform
attention, A[q,k] \u00b7 T, on one logarithmic scale from 0.1 to 100 that is the same for every
head, model and utterance: 1 means as much as an indifferent head gives to each key, 10 ten times
as much; values beyond the ends take the colour of the ends. Long maps are averaged over blocks.
Ticks outside the upper and right edges are phone boundaries; on long utterances in small panels
they are left out. The colour of a frame is the head's category over all utterances, which one
utterance need not show. Spectrograms are grey, from the utterance's smallest value (white) to its
largest (black)."""

GALLERY = (
    """\
The heads with the highest globalness, verticality and diagonality, one row each; the value in a
title is the mean over all utterances. """
    + MAPS
)


def gallery(example: Example, table: HeadTable, top: int = 4) -> Figure:
    """Maps of the `top` heads of globalness, verticality and diagonality, one row per metric.

    Above the maps stand phones, waveform and log-mel spectrogram; ticks outside the upper and right
    edges of the maps are phone boundaries, named where all labels fit. A frame has the colour of
    the head's category, a title the head's mean over the table's utterances. Raises InputError
    where `top` is below 1 or the records disagree.
    """
    check_heads(table)
    head_mask = head_mask_of(table.category)
    check_example(example, head_mask)
    if top < 1:
        raise InputError(f"gallery: top is {top}, expected at least 1 head per metric")
    top = min(top, int(head_mask.sum()))
    gap, between = 0.16, 0.26
    side = min((style.PAGE - LEFT - RIGHT - (top - 1) * gap) / top, 2.2)
    rows = label_rows(example, side, 4.5)
    head = SOUND_HEIGHT + 0.24 + rows * LABEL_HEIGHT
    height = head + 3 * side + 2 * between + FOOT
    start, end = time_span(example)
    times = round_times(start, end, side)

    with style.applied():
        figure = Figure(figsize=(style.PAGE, height))
        draw_sound(figure, example, table.name, LEFT, style.PAGE - LEFT - RIGHT)
        for row, (metric, kind) in enumerate(CATEGORY_OF.items()):
            values = table.metrics[metric]
            y = head + row * (side + between)
            text = {"rotation": 90, "ha": "left", "va": "center", "weight": "bold"}
            colour = style.COLOURS[kind]
            style.write(figure, 0.1, y + side / 2, f"highest {metric}", color=colour, **text)
            order = np.argsort(-values.ravel(), kind="stable")[:top]  # NaN comes last
            for column, index in enumerate(order):
                layer, number = np.unravel_index(index, values.shape)
                axes = style.place(figure, LEFT + column * (side + gap), y, side, side)
                _draw_map(axes, example.maps[layer, number], (start, end, end, start), side)
                axes.set(xlim=(start, end), ylim=(end, start))
                axes.grid(visible=False)
                for spine in axes.spines.values():
                    spine.set(
                        visible=True, lw=1.4, color=style.COLOURS[table.category[layer, number]]
                    )
                names = (rows if row == 0 else 0, rows if column == top - 1 else 0)
                unit = (end - start) / side
                draw_phones(axes, example, (start, start), side, unit, names)
                lift = names[0] * LABEL_HEIGHT * 72
                value = style.signed(values[layer, number], 3 if metric == "diagonality" else 2)
                text = f"L{layer + 1} H{number + 1}, {style.METRIC_SYMBOLS[metric]} = {value}"
                axes.set_title(text, pad=4.5 + lift)
                for axis in (axes.xaxis, axes.yaxis):
                    axis.set_ticks(times, [f"{t:g}" for t in times])
                if column == 0:
                    axes.set_ylabel("query time (s)", labelpad=2)
                else:
                    axes.tick_params(axis="y", left=False, labelleft=False)
                if row == 2:
                    axes.set_xlabel("key time (s)", labelpad=2)
                else:
                    axes.tick_params(axis="x", bottom=False, labelbottom=False)
        _draw_key(figure, height - 0.36)
        return figure


ALL_HEADS = "Every head, one row per layer. " + MAPS


def all_heads(example: Example, table: HeadTable) -> Figure:
    """Every head's map of one utterance, one row per layer, one column per head.

    Above stand phones, waveform and log-mel spectrogram. Ticks outside the upper and right edges
    of a panel are phone boundaries (left out where they would run into each other), named on the
    outer panels where all labels fit; a frame has the colour of the head's category. The place of
    a pruned head is blank. Raises InputError where the records disagree.
    """
    check_heads(table)
    check_example(example, head_mask_of(table.category))
    layers, heads = np.shape(table.category)
    gap = 0.08
    pitch = min((style.PAGE - LEFT - RIGHT + gap) / heads, 1.6)
    side = pitch - gap
    rows = label_rows(example, side, 4.0)
    head = SOUND_HEIGHT + 0.26 + rows * LABEL_HEIGHT
    wide, high = heads * pitch - gap, layers * pitch - gap
    height = head + high + FOOT
    start, end = time_span(example)
    times = round_times(start, end, side, 0.24)

    with style.applied():
        figure = Figure(figsize=(style.PAGE, height))
        draw_sound(figure, example, table.name, LEFT, style.PAGE - LEFT - RIGHT)
        # One set of axes with inches as data: 144 axes of their own take ten times as long to draw.
        axes = style.place(figure, LEFT, head, wide, high)
        axes.set(xlim=(0, wide), ylim=(high, 0))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        for layer, number in np.ndindex(layers, heads):
            x, y = number * pitch, layer * pitch
            kind = table.category[layer, number]
            names = (rows if layer == 0 else 0, rows if number == heads - 1 else 0)
            if kind == PRUNED:
                axes.add_patch(Rectangle((x, y), side, side, **style.BLANK))
                if any(names):
                    draw_phones(axes, example, (x, y), side, 1.0, names, 4.0)
                continue
            box = (x, x + side, y + side, y)
            _draw_map(axes, example.maps[layer, number], box, side)
            frame = {"fill": False, "edgecolor": style.COLOURS[kind], "lw": 1.4, "clip_on": False}
            axes.add_patch(Rectangle((x, y), side, side, **frame))
            draw_phones(axes, example, (x, y), side, 1.0, names, 4.0)
        # Setting the limits again: an image moves them to its own extent.
        axes.set(xlim=(0, wide), ylim=(high, 0))
        for axis, panels in ((axes.xaxis, heads), (axes.yaxis, layers)):
            at = np.arange(panels)[:, None] * pitch + (times - start) / (end - start) * side
            axis.set_ticks(at.ravel(), [f"{t:g}" for t in times] * panels, fontsize=5.0)
            axis.set_tick_params(length=2, pad=1.5)
        bold = {"weight": "bold", "fontsize": 6.5}
        for number in range(heads):
            x, y = LEFT + number * pitch + side / 2, head - rows * LABEL_HEIGHT - 0.08
            style.write(figure, x, y, f"H{number + 1}", ha="center", **bold)
        for layer in range(layers):
            x, y = LEFT - 0.3, head + layer * pitch + side / 2
            style.write(figure, x, y, f"L{layer + 1}", ha="right", va="center", **bold)
        axes.set_xlabel("key time (s)", labelpad=2)
        middle = head + high / 2
        style.write(figure, 0.1, middle, "query time (s)", rotation=90, ha="left", va="center")
        _draw_key(figure, height - 0.36)
        return figure


def block_means(values: np.ndarray, cells: int) -> np.ndarray:
    """Means of a `(T, T)` map over `cells` x `cells` like blocks; the map itself if T <= cells."""
    size = len(values)
    if size <= cells:
        return values
    edges = np.round(np.arange(cells) * size / cells).astype(int)
    counts = np.diff(edges, append=size)
    sums = np.add.reduceat(np.add.reduceat(values, edges, axis=0), edges, axis=1)
    return sums / np.outer(counts, counts)


def _draw_map(axes: Axes, probs: np.ndarray, box: tuple, inches: float) -> None:
    density = block_means(np.asarray(probs, np.float32), int(inches * MAP_DPI)) * len(probs)
    # Zeros have no logarithm: everything below the scale takes the colour of its lower end.
    axes.imshow(
        np.maximum(density, DENSITY[0]),
        cmap=style.MAP_COLOURS,
        norm=LogNorm(*DENSITY, clip=True),
        extent=box,
        aspect="auto",
        interpolation="nearest",
    )


def _draw_key(figure: Figure, top: float) -> None:
    """Colour scale of the maps and colours of the frames, side by side at the foot."""
    axes = style.place(figure, LEFT, top, 2.2, 0.09)
    low, high = np.log10(DENSITY)
    axes.imshow(
        np.linspace(low, high, 256)[None],
        cmap=style.MAP_COLOURS,
        extent=(low, high, 0, 1),
        aspect="auto",
    )
    axes.grid(visible=False)
    ticks = np.arange(low, high + 1)
    texts = [f"{10.0**t:g}" for t in ticks]
    texts[0], texts[-1] = f"≤ {texts[0]}", f"≥ {texts[-1]}"
    axes.set_xticks(ticks, texts)
    axes.set_yticks([])
    axes.tick_params(pad=1.5)
    look = {"va": "center", "fontsize": 6.5}
    text = "attention / uniform attention (A \N{MULTIPLICATION SIGN} T), log scale"
    style.write(figure, LEFT + 2.45, top + 0.045, text, **look)
    at = LEFT + 2.45
    for text in ("frame:", *CATEGORIES):
        colour = style.COLOURS.get(text, "black")
        weight = "bold" if text in style.COLOURS else "normal"
        style.write(figure, at, top + 0.18, text, color=colour, weight=weight, **look)
        at += style.text_width(text, 6.5, weight) + 0.1
