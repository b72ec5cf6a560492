"""How alike layers are: maps of all pairs, pairs of one depth, neurons against layers."""

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.records.similarity import SimilarityMap, check_maps, models_of, same_depth

LAYERS = """\
How alike the layer of a row is to the layer of a column, from single neurons to whole layers;
layer 0 is the first layer's input, white lines part models. Neurons: maxcorr, the mean over the
row's neurons of the largest |correlation| with any neuron of the column. Mixed: linreg, the
correlation of each of the row's neurons with its best linear prediction from the whole column, and
its square. Layers: svcca, the mean canonical correlation of the directions that hold 99 % of the
variance; pwcca, canonical correlations weighted by how much of the row's layer they account for;
cka, linear centred kernel alignment, which a few neurons of large variance can dominate, and the
same of standardised neurons."""

HEADS = """\
How alike attention maps are: for each head of the row's layer the most similar head of the
column's, the mean over heads. attn_fro is 1 minus the Frobenius distance as a share of the largest
possible; attn_pearson the correlation of rows of attention; attn_js is 1 minus their Jensen-Shannon
divergence in bits, which is high for all but sharp maps. attn_cka and attn_svcca compare all heads
of two layers at once, as columns over all pairs of positions."""

NEURONS_LAYERS = """\
Every pair of layers: how alike single neurons are (maxcorr) against how alike the layers are as
subspaces (pwcca). Pairs within one model in grey, pairs of two models in colour. Points in the
upper left are layers that say the same with other neurons."""

SAME_DEPTHS = """\
Layers of the same depth in two models, one line per pair of models. Where one model was fine-tuned
from the other, a falling line shows the layers that moved. Bands are 95 % intervals over resampled
parts of the utterances, where these were made."""

LEFT, GAP, KEY = 0.4, 0.62, 0.07
MOST_PAIRS = len(style.SERIES)
NAMES = {"linreg_r2": "linreg, squared", "cka_standardised": "cka, standardised"}


def maps(found: Sequence[SimilarityMap]) -> Figure:
    """A map for each measure, four in a row; each has a key of its own.

    Raises `InputError` as `check_maps` does.
    """
    check_maps(tuple(found))
    models = models_of(found[0])
    columns = min(len(found), 4)
    rows = -(-len(found) // columns)
    left = 0.42 + max(style.text_width(name, style.SMALL) for name in short(models))
    side = (style.PAGE - left - 0.35 - (columns - 1) * 0.45) / columns
    foot = 0.4 + max(style.text_width(name, style.SMALL) for name in short(models))
    with style.applied():
        figure = Figure(figsize=(style.PAGE, 0.3 + rows * (side + 0.3) + foot))
        for number, each in enumerate(found):
            row, column = divmod(number, columns)
            at = left + column * (side + 0.45)
            axes = style.place(figure, at, 0.3 + row * (side + 0.3), side, side)
            low = min(0.0, float(np.nanmin(each.value)))
            look = {"cmap": style.MAP_COLOURS, "vmin": low, "vmax": 1.0}
            image = axes.imshow(each.value, interpolation="nearest", **look)
            axes.set_title(NAMES.get(each.measure, each.measure), pad=3)
            below = number + columns >= len(found)
            mark_models(axes, each, names_left=column == 0, names_below=below)
            key = style.place(figure, at + side + 0.05, 0.3 + row * (side + 0.3), KEY, side)
            figure.colorbar(image, cax=key)
            key.tick_params(labelsize=style.SMALL, length=1.5, pad=1)
            key.locator_params(nbins=4)
        return figure


def short(models: Sequence[str]) -> list[str]:
    """Names of models, cut where they are long."""
    return [style.fitted(name, 1.1, style.SMALL) for name in models]


def mark_models(axes: Axes, found: SimilarityMap, names_left: bool, names_below: bool) -> None:
    """Lines between models, their names, and numbers of some layers on the axes of a map."""
    models = models_of(found)
    owner = [layer.model for layer in found.layers]
    count = len(owner)
    axes.grid(visible=False)
    step = max(1, -(-count // 24))
    at = [i for i, layer in enumerate(found.layers) if layer.layer % step == 0]
    # The last layer of a model goes without its number where the next model's first is too near.
    at = [i for i, after in pairwise([*at, count + step]) if after - i >= step]
    numbers = [str(found.layers[i].layer) for i in at]
    for axis, shown in ((axes.yaxis, names_left), (axes.xaxis, names_below)):
        axis.set_ticks(at if shown else [], numbers if shown else [])
    axes.tick_params(labelsize=4, length=1, pad=1)
    for name, text in zip(models, short(models), strict=True):
        mine = [i for i, each in enumerate(owner) if each == name]
        if mine[0]:
            for line in (axes.axhline, axes.axvline):
                line(mine[0] - 0.5, color="white", lw=0.8)
        look = {"fontsize": style.SMALL, "color": "#222222"}
        middle = (mine[0] + mine[-1]) / 2
        gap = 0.09 * count + 0.5
        if names_left:
            axes.text(-gap - 0.5, middle, text, ha="right", va="center", **look)
        if names_below:
            turned = {"rotation": 90, "ha": "center", "va": "top"}
            axes.text(middle, count + gap - 0.5, text, **turned, **look)


def can_pair(found: SimilarityMap) -> bool:
    """Whether two models have a depth in common."""
    return len(models_of(found)) > 1 and bool(depth_pairs(found))


def depth_pairs(found: SimilarityMap) -> list[tuple[str, str]]:
    """Pairs of models that share at least two depths."""
    return [
        pair for pair in combinations(models_of(found), 2) if len(same_depth(found, *pair)[0]) > 1
    ]


def depth_caption(found: SimilarityMap) -> str:
    """What `same_depths` shows, and which pairs it has no room for."""
    count = len(depth_pairs(found))
    if count <= MOST_PAIRS:
        return SAME_DEPTHS
    return f"{SAME_DEPTHS} The first {MOST_PAIRS} of {count} pairs; similarity.csv has all."


def same_depths(found: Sequence[SimilarityMap]) -> Figure:
    """One panel per measure, layer against layer of the same depth, a line per pair of models, of
    the first `MOST_PAIRS`.

    Raises `InputError` where no two models share a depth.
    """
    check_maps(tuple(found))
    pairs = depth_pairs(found[0])[:MOST_PAIRS]
    if not pairs:
        raise InputError("similarity: no two models share a depth; give two of one architecture")
    columns = 4
    rows = -(-len(found) // columns)
    wide, high = (style.PAGE - LEFT - 3 * 0.32 - 0.1) / columns, 1.15
    names = [f"{of} against {by}" for of, by in pairs]
    key = style.key_height(names, LEFT)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, key + 0.3 + rows * (high + GAP)))
        style.write_key(figure, names, LEFT)
        for number, each in enumerate(found):
            row, column = divmod(number, columns)
            at = LEFT + column * (wide + 0.32), key + 0.3 + row * (high + GAP)
            axes = style.place(figure, *at, wide, high)
            for (of, by), colour in zip(pairs, style.SERIES, strict=False):
                i, j = same_depth(each, of, by)
                depth = [each.layers[place].layer for place in i]
                axes.plot(depth, each.value[i, j], color=colour, lw=1, marker="o", ms=2)
                low, high_end = each.low[i, j], each.high[i, j]
                axes.fill_between(depth, low, high_end, color=colour, alpha=0.2, lw=0)
            axes.set_ylim(min(0.0, float(np.nanmin(each.value))), 1.02)
            axes.set_title(NAMES.get(each.measure, each.measure))
            axes.set_xlabel("layer")
            axes.xaxis.get_major_locator().set_params(integer=True)
        return figure


def neurons_and_layers(neurons: SimilarityMap, layers: SimilarityMap) -> Figure:
    """A point for each pair of layers; raises `InputError` as `check_maps` does."""
    check_maps((neurons, layers))
    owner = np.array([layer.model for layer in neurons.layers])
    i, j = np.where(~np.eye(len(owner), dtype=bool))
    within = owner[i] == owner[j]
    with style.applied():
        figure = Figure(figsize=(style.COLUMN, 2.6))
        axes = style.place(figure, 0.45, 0.15, style.COLUMN - 0.6, 2.0)
        look = {"ls": "none", "ms": 3, "mew": 0, "alpha": 0.6}
        for mask, colour, marker, name in (
            (within, "#777777", "o", "one model"),
            (~within, "#882255", "D", "two models"),
        ):
            if mask.any():
                points = neurons.value[i, j][mask], layers.value[i, j][mask]
                axes.plot(*points, color=colour, marker=marker, label=name, **look)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("neurons: maxcorr")
        axes.set_ylabel("layers: pwcca")
        axes.legend(loc="lower right", title="pairs of layers in")
        return figure
