"""Mean maps and their embeddings: records in, `Figure`s out."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.records.patterns import HeadPatterns

CASE_COLOURS = {
    "diagonal": "#882255",
    "shifted or banded": "#44AA99",
    "vertical": "#E69F00",
    "diffuse": "#777777",
}
EMBEDDING = """\
One point per head: its mean map over utterances, brought to a common grid of 24 x 24 parts of the
utterance, square roots of the entries, in two dimensions by PCA and by t-SNE. Filled: trained;
hollow: the same heads before training, which every embedding holds as well. The colour is the
layer, the category (highest rank among global, vertical and diagonal) or the general case
(arXiv:2006.05174, section 5). The case is diagonal where at least half of a query's attention falls
within 5 positions, half of that on its own position and the two beside it, and no other offset gets
more than its own position; shifted or banded where only the first holds; of the other heads
vertical where the mean over queries differs from uniform attention by at least a quarter of its
mass; else diffuse. Axes of t-SNE have no unit, and distances between far groups mean nothing."""
BEFORE_AFTER = """\
Mean maps of every head before training (upper row of each pair) and after it (lower row), on a
common grid of 24 x 24 parts of the utterance, as ratios to uniform attention on a logarithmic
scale. Frames: the general case after training."""
SIDE, TOP, GAP = 2.0, 0.5, 0.28


def embeddings(before: HeadPatterns, after: HeadPatterns) -> Figure:
    """PCA and t-SNE of all heads of both models together, coloured three ways."""
    if not len(after.place):
        raise InputError(f"patterns of {after.name}: no head is left to be drawn")
    methods, sides = list(after.embedding), (before, after)
    layers = int(after.place[:, 0].max()) + 1
    scale = mpl.colormaps["viridis"]
    with style.applied():
        figure = Figure(figsize=(style.PAGE, TOP + len(methods) * (SIDE + GAP) + 0.35))
        for row, method in enumerate(methods):
            for column in range(3):
                left, top = 0.3 + column * (SIDE + GAP), TOP + row * (SIDE + GAP)
                axes = style.place(figure, left, top, SIDE, SIDE)
                for patterns in sides:
                    colours = [
                        [scale(layer / max(layers - 1, 1)) for layer in patterns.place[:, 0]],
                        [style.COLOURS[name] for name in patterns.category],
                        [CASE_COLOURS[name] for name in patterns.case],
                    ][column]
                    at = patterns.embedding[method]
                    faces = colours if patterns is after else "none"
                    axes.scatter(*at.T, s=14, facecolors=faces, edgecolors=colours, lw=0.7)
                axes.set_xticks([])
                axes.set_yticks([])
                if column == 0:
                    axes.set_ylabel(method)
        _explain(figure, layers)
        return figure


def _explain(figure: Figure, layers: int) -> None:
    """What the colours of each column are."""
    scale = mpl.colormaps["viridis"]
    entries = [
        {
            f"layer {i + 1}": scale(i / max(layers - 1, 1))
            for i in sorted({0, layers // 2, layers - 1})
        },
        style.COLOURS,
        CASE_COLOURS,
    ]
    for column, named in enumerate(entries):
        axes = figure.axes[column]
        for name, colour in named.items():
            axes.scatter([], [], s=14, color=colour, label=name)
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.03, 1.0),
            ncols=2,
            handletextpad=0.1,
            columnspacing=0.6,
            fontsize=style.SMALL,
        )


def before_and_after(before: HeadPatterns, after: HeadPatterns) -> Figure:
    """Mean maps of every head before and after training, a pair of rows per layer."""
    if not len(after.place):
        raise InputError(f"patterns of {after.name}: no head is left to be drawn")
    layers, heads = after.place.max(0) + 1
    pitch = min((style.PAGE - 0.7) / heads, 0.8)
    with style.applied():
        high = layers * (2 * pitch + 0.12)
        figure = Figure(figsize=(style.PAGE, 0.3 + high + 0.15))
        for patterns, down in ((before, 0), (after, 1)):
            for (layer, head), grid, case in zip(
                patterns.place, patterns.maps, patterns.case, strict=True
            ):
                top = 0.3 + layer * (2 * pitch + 0.12) + down * pitch
                axes = style.place(figure, 0.7 + head * pitch, top, pitch - 0.05, pitch - 0.05)
                _draw_map(axes, grid, CASE_COLOURS[case] if down else "#BBBBBB")
                if layer == 0 and down == 0:
                    axes.set_title(f"H{head + 1}")
                if head == patterns.place[patterns.place[:, 0] == layer, 1].min():
                    axes.set_ylabel(f"L{layer + 1} " + ("after" if down else "before"))
        return figure


def _draw_map(axes: Axes, grid: np.ndarray, frame: str) -> None:
    ratio = np.log10(np.clip(grid * len(grid), 0.1, 100))
    axes.imshow(ratio, cmap=style.MAP_COLOURS, vmin=-1, vmax=2, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame, lw=1.2)


def pattern_rows(sides: Sequence[HeadPatterns]) -> list[dict[str, object]]:
    """Rows of patterns.csv: one per model and head."""
    return [
        {
            "model": side.name,
            "layer": int(layer) + 1,
            "head": int(head) + 1,
            "category": side.category[i],
            "case": side.case[i],
            "near": float(side.near[i]),
            "columns": float(side.columns[i]),
        }
        | {
            f"{method.lower().replace('-', '')}_{axis}": float(side.embedding[method][i, axis - 1])
            for method in side.embedding
            for axis in (1, 2)
        }
        for side in sides
        for i, (layer, head) in enumerate(side.place)
    ]
