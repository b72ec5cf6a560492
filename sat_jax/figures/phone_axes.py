"""Axes between phones: names, manners and ratios to uniform attention in, drawn on axes.

Colour is attention relative to uniform attention on one logarithmic scale from 1/8 to 8 for every
head, model and corpus: white is as uniform, twice and half as much are equally strong colours.
"""

from collections.abc import Sequence
from itertools import groupby

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sat_jax.figures import style
from sat_jax.figures.labels import label_centres
from sat_jax.records.check import CATEGORIES

RATIO = (1 / 8, 8.0)  # ends of the colour scale, in multiples of uniform attention
RATIO_TEXTS = ("≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8")
MISSING = "#b0b0b0"  # pairs that never occur; no colour of the scale is grey
PHONE_POINTS = 4.5  # points of the smallest phone and head labels
LINES = "#333333"
LETTERS = "abcd"


def draw_ratio(axes: Axes, excess: np.ndarray, box: tuple) -> None:
    """Image of 1 + `excess` on the colour scale of all figures; NaN is grey."""
    axes.imshow(
        np.ma.masked_invalid(np.clip(1 + np.asarray(excess, float), *RATIO)),
        cmap=matplotlib.colormaps["RdBu_r"].with_extremes(bad=MISSING),
        norm=LogNorm(*RATIO),
        extent=box,
        aspect="auto",
        interpolation="nearest",
    )


def draw_relation(
    axes: Axes, relation: np.ndarray, manners: Sequence[str], box: tuple, colour: str, lw: float
) -> None:
    """Framed `(P, P)` map of a head in `box` (left, right, bottom, top); `lw`: manner lines."""
    left, right, bottom, top = box
    draw_ratio(axes, relation, box)
    edges = np.array([first for _, first, _ in manner_groups(manners)][1:])
    at = edges / len(manners) * (right - left)
    lines = [[(left + a, top), (left + a, bottom)] for a in at]
    lines += [[(left, top + a), (right, top + a)] for a in at]
    axes.add_collection(LineCollection(lines, colors=LINES, lw=lw), autolim=False)
    size = (right - left, bottom - top)
    look = {"fill": False, "edgecolor": colour, "lw": 1.3, "clip_on": False, "zorder": 3}
    axes.add_patch(Rectangle((left, top), *size, **look))


def manner_groups(manners: Sequence[str]) -> list[tuple[str, int, int]]:
    """Name, first phone and phone after the last of each run of one manner."""
    groups, first = [], 0
    for name, run in groupby(manners):
        last = first + len(list(run))
        groups.append((name, first, last))
        first = last
    return groups


def phone_width(phones: Sequence[str]) -> float:
    """Inches that names of phones take, longer ones being cut."""
    return min(max(style.text_width(phone, style.SMALL) for phone in phones), 0.3)


def name_phones(
    axes: Axes,
    phones: Sequence[str],
    pitches: tuple[float, float],
    levels: int,
    upper: bool,
    rotation: int = 0,
) -> None:
    """Names of phones outside the upper or the left edge of axes with one data unit per phone.

    `pitches` are the inches of a unit along and across the edge. Names are spread over `levels`
    rows or columns; a thin line leads to those that are not next to the edge.
    """
    along, across = pitches
    width = phone_width(phones)
    points = float(np.clip(levels * along * 72 * 0.95, PHONE_POINTS, style.SMALL))
    flat = upper and not rotation
    look = {"fontsize": points, "rotation": rotation, "clip_on": False}
    look |= _anchor(upper, rotation)
    leaders = []
    for index, phone in enumerate(phones):
        away = (0.03 + (index % levels) * (width + 0.03)) / across
        at = _outside(index + 0.5, away, upper)
        axes.text(*at, style.fitted(phone, 1.0 if flat else width, points), **look)
        if index % levels:
            leaders.append([_outside(index + 0.5, d, upper) for d in (0.0, away - 0.01 / across)])
    look = {"colors": "#999999", "lw": 0.3, "clip_on": False}
    axes.add_collection(LineCollection(leaders, **look), autolim=False)


def name_manners(
    axes: Axes,
    manners: Sequence[str],
    pitches: tuple[float, float],
    room: float,
    upper: bool,
    rotation: int = 0,
) -> None:
    """Brackets and names of manners outside the names of phones, which take `room` inches.

    Manners that are unknown, and names that would touch the one before, are left out; no name
    stands out beyond the last phone.
    """
    along, across = pitches
    upright = upper == bool(rotation)  # then a name is as thick along the edge as its letters high
    brackets, end = [], -np.inf
    look = {"fontsize": style.SMALL, "rotation": rotation, "clip_on": False, "color": "#333333"}
    look |= _anchor(upper, rotation)
    for name, first, last in manner_groups(manners):
        half = 0.5 * (0.9 * style.SMALL / 72 if upright else style.text_width(name, style.SMALL))
        middle = min((first + last) / 2 * along, len(manners) * along + 0.05 - half)
        if name:
            ends = (first + 0.15, last - 0.15)
            brackets.append([_outside(at, room / across, upper) for at in ends])
        if name and middle - half >= end:
            end = middle + half
            away = (room + 0.03) / across
            axes.text(*_outside(middle / along, away, upper), name, **look)
    brackets = LineCollection(brackets, colors="#333333", lw=0.7, clip_on=False)
    axes.add_collection(brackets, autolim=False)


def name_points(
    axes: Axes,
    places: Sequence[np.ndarray],
    names: Sequence[str],
    chosen: Sequence[int],
    box: tuple[float, float],
) -> None:
    """Names beside the points of a panel of `box` inches where there is room.

    `places` are x, y and the ends of the bar of each point. The points `chosen` are ringed and
    their names carry a letter and stand in the nearest free place, whatever its distance.
    """
    points, fraction = 5.0, axes.transScale + axes.transLimits
    x, *heights = (np.ravel(values) for values in places)
    at, low, high = (fraction.transform(np.stack([x, y], axis=-1)) * box for y in heights)
    taken = [np.hstack([at - 0.022, at + 0.022]), np.hstack([low, high])]
    chosen = list(chosen)
    taken.append(np.hstack([at[chosen] - 0.055, at[chosen] + 0.055]))
    look = {"ha": "center", "va": "center", "transform": axes.transAxes}
    for letter, index in zip(LETTERS, chosen, strict=False):
        text = f"{letter}: {names[index]}"
        half = np.array([style.text_width(text, 6.5, "bold"), 0.09]) / 2
        centre = _free_centre(at[index], half, np.vstack(taken), box)
        taken.append(np.hstack([centre - half, centre + half])[None])
        ring = {"marker": "o", "ms": 7, "mfc": "none", "mec": "#222222", "mew": 0.8}
        axes.plot(*(at[index] / box), transform=axes.transAxes, zorder=4, **ring)
        end = np.clip(at[index], centre - half, centre + half)
        if np.linalg.norm(end - at[index]) > 0.1:
            line = np.stack([at[index], end]) / box
            axes.plot(*line.T, color="#222222", lw=0.4, transform=axes.transAxes, zorder=1.5)
        axes.text(*(centre / box), text, weight="bold", fontsize=6.5, zorder=5, **look)
    sizes = np.array([(style.text_width(name, points), 0.8 * points / 72) for name in names])
    centres = label_centres(at, sizes, np.vstack(taken), box)
    for name, centre in zip(names, centres / box, strict=True):
        if np.isfinite(centre).all():  # the ring of a chosen point leaves no room for a second name
            axes.text(*centre, name, fontsize=points, color="#333333", **look)


def draw_key(figure: Figure, left: float, top: float, letter: str, coloured: str) -> None:
    """Colour scale of 1 + `letter` and what else has a colour, 0.3 inches high."""
    axes = style.place(figure, left, top, 2.0, 0.09)
    steps = np.log2(RATIO)
    ramp = np.exp2(np.linspace(*steps, 256))[None] - 1
    draw_ratio(axes, ramp, (*steps, 0, 1))
    axes.grid(visible=False)
    axes.set(xticks=range(-3, 4), xticklabels=RATIO_TEXTS, yticks=[])
    axes.tick_params(pad=1.5)
    look = {"va": "center", "fontsize": 6.5}
    at, y = left + 2.3, top + 0.045
    text = f"attention / uniform attention (1 + {letter}), log scale"
    style.write(figure, at, y, text, **look)
    grey = at + style.text_width(text, 6.5) + 0.15
    box = style.place(figure, grey, top, 0.16, 0.09)
    box.set(facecolor=MISSING, xticks=[], yticks=[])
    box.grid(visible=False)
    style.write(figure, grey + 0.22, y, "never occurs", **look)
    for text in (coloured, *CATEGORIES) if coloured else ():
        colour, weight = style.COLOURS.get(text, "black"), "bold" if text != coloured else "normal"
        style.write(figure, at, top + 0.19, text, color=colour, weight=weight, **look)
        at += style.text_width(text, 6.5, weight) + 0.1


def _anchor(upper: bool, rotation: int) -> dict[str, str]:
    """Alignment of names outside an edge: letters in line, whether they hang below or not."""
    if upper and rotation:
        return {"ha": "left", "va": "center_baseline", "rotation_mode": "anchor"}
    return {"ha": "center", "va": "baseline"} if upper else {"ha": "right", "va": "center_baseline"}


def _outside(along: float, away: float, upper: bool) -> tuple[float, float]:
    return (along, -away) if upper else (-away, along)


def _free_centre(point: np.ndarray, half: np.ndarray, taken: np.ndarray, box) -> np.ndarray:
    """Nearest centre around `point`, all in inches, where a box of `half` sides touches nothing."""
    angles = np.arange(16) * np.pi / 8
    for radius in np.arange(0.07, max(box), 0.03):
        for side in np.stack([np.cos(angles), np.sin(angles)], axis=-1):
            centre = point + (radius + half) * side
            low, high = centre - half, centre + half
            inside = (low >= 0).all() and (high <= box).all()
            if inside and ((taken[:, 2:] < low) | (taken[:, :2] > high)).any(axis=-1).all():
                return centre
    return point
