"""Cumulative attention diagonality of heads in; a figure out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.phone_curves import TICKS, UNIFORM

CUMULATIVE_DIAGONALITY = """\
Mean share of a query's attention that lies within r positions of it, one panel per layer,

    CAD(r) = E[ (1/T) \u03a3_q \u03a3_{|k-q| \u2264 r} A[q,k] ]

Thin lines are heads, the thick line is their mean with its bootstrap 95 % interval over
utterances, the dashed line is uniform attention on the same utterances. A line that rises early
belongs to a head that attends to near positions: limiting its span to the radius where it is close
to 1 takes little from it. The radius is linear up to 1 and logarithmic beyond. The measure follows
Shim, Choi and Sung, ICLR 2022."""
MODELS = ("#00735C", "#8C8C8C", "#CC79A7", "#56B4E9")  # none is the colour of a category


def cumulative_diagonality(
    names: Sequence[str],
    radii: np.ndarray,
    curves: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    uniform: np.ndarray,
    seconds_per_position: float,
    head_mask: np.ndarray | None = None,
) -> Figure:
    """Mean share of a query's attention within a radius, a panel per layer and a line per head.

    `names` `(M,)` of models, the first in a strong colour and the second in grey; `radii` `(R,)` in
    positions, rising from 0 or more; `curves` `(M, L, H, R)`; `low` and `high` `(M, L, R)` are the
    bootstrap interval of the mean over heads, which is the thick line; `uniform` `(R,)` is what
    uniform attention would give. Heads that are pruned, False in `head_mask` `(L, H)`, have no
    line; by default none is. Raises InputError where shapes disagree or a value is no share.
    """
    shape = np.shape(curves)
    if len(shape) != 4 or 0 in shape or not 0 < len(names) <= len(MODELS):
        raise InputError(
            f"cumulative diagonality: {len(names)} models, curves {shape}; expected 1 to "
            f"{len(MODELS)} models and (M, L, H, R)"
        )
    models, layers, heads, count = shape
    head_mask = np.ones((layers, heads), bool) if head_mask is None else np.asarray(head_mask)
    per_layer = (models, layers, count)
    expected = {"names": (models,), "radii": (count,), "uniform": (count,)}
    expected |= {"low": per_layer, "high": per_layer, "curves": shape, "head_mask": (layers, heads)}
    given = {"names": names, "radii": radii, "uniform": uniform}
    given |= {"head_mask": head_mask, "low": low, "high": high, "curves": curves}
    known_layers = head_mask.any(1) if head_mask.ndim == 2 else None
    for field, values in given.items():
        if np.shape(values) != expected[field]:
            raise InputError(
                f"cumulative diagonality: {field} has shape {np.shape(values)}, "
                f"expected {expected[field]}"
            )
        known = {"curves": head_mask, "low": known_layers, "high": known_layers}.get(field)
        shares = np.asarray(values) if known is None else np.asarray(values)[:, known]
        if (
            field not in ("names", "radii", "head_mask")
            and not (np.abs(shares - 0.5) < 0.501).all()
        ):
            raise InputError(f"cumulative diagonality: {field} holds values that are not in 0..1")
    if np.any(np.diff(radii) <= 0) or radii[0] < 0 or not seconds_per_position > 0:
        raise InputError(
            "cumulative diagonality: radii must rise from 0 or more, positions last > 0 s"
        )
    columns = 3 if layers % 4 and layers % 3 == 0 else min(4, layers)
    rows = -(-layers // columns)
    edge, head, gap, down, foot = 0.5, 0.55, 0.2, 1.5, 0.52
    page = style.PAGE if columns > 1 else style.COLUMN
    wide = (page - edge - 0.14 + gap) / columns - gap

    with style.applied():
        figure = Figure(figsize=(page, head + rows * down - 0.26 + foot))
        handles = [
            Line2D([], [], color=colour, lw=1.8, label=style.fitted(name, 1.6, 6.5))
            for name, colour in zip(names, MODELS, strict=False)
        ]
        figure.legend(
            handles=[*handles, Line2D([], [], **UNIFORM, label="uniform attention")],
            loc="upper left",
            bbox_to_anchor=((edge - 0.08) / page, 1 - 0.04 / figure.get_figheight()),
            ncols=len(names) + 1 if columns > 1 else 2,
            borderpad=0.2,
        )
        for layer in range(layers):
            row, column = divmod(layer, columns)
            box = (edge + column * (wide + gap), head + row * down, wide, down - 0.26)
            axes = style.place(figure, *box)
            for model in reversed(range(models)) if head_mask[layer].any() else ():
                colour = MODELS[model]
                lines = curves[model, layer, head_mask[layer]]
                axes.plot(radii, lines.T, color=colour, lw=0.5, alpha=0.6)
                ends = (low[model, layer], high[model, layer])
                axes.fill_between(radii, *ends, color=colour, alpha=0.3, lw=0)
                axes.plot(radii, lines.mean(axis=0), color=colour, lw=1.8)
            axes.plot(radii, uniform, **UNIFORM)
            axes.set_xscale("symlog", linthresh=1, linscale=0.5)
            axes.set(xlim=(radii[0], radii[-1] * 1.02 or 1), ylim=(0, 1.02))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title(f"layer {layer + 1}", pad=2.5)
            ticks = spaced(axes, radii, 1000 * seconds_per_position, wide)
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.tick_params(labelleft=column == 0, labelbottom=layer + columns >= layers)
            look = {"transform": axes.get_xaxis_transform(), "ha": "center", "fontsize": 6.0}
            for tick in ticks if layer + columns >= layers else ():
                milliseconds = f"{1000 * tick * seconds_per_position:g}"
                axes.text(tick, -0.26 / (down - 0.26), milliseconds, **look)
        x, y = 0.06, head + (rows * down - 0.26) / 2
        text = "share of attention within the radius"
        style.write(figure, x, y, text, rotation=90, va="center", fontsize=7.0)
        text = "radius in positions and, below, in ms"
        style.write(figure, edge, figure.get_figheight() - 0.08, text, fontsize=7.0)
        return figure


def spaced(axes: Axes, radii: np.ndarray, milliseconds: float, inches: float) -> list[float]:
    """Round radii whose labels in milliseconds keep clear of each other on an axis of `inches`."""
    kept, end = [], -np.inf
    for tick in (t for t in TICKS if radii[0] <= t <= radii[-1]):
        at = axes.transLimits.transform(axes.transScale.transform((tick, 0)))[0] * inches
        half = style.text_width(f"{tick * milliseconds:g}", 6.0) / 2
        if at - half >= end and at + half <= inches + 0.12:
            kept.append(tick)
            end = at + half + 0.06
    return kept
