"""States of the layers of models in, how alike each two layers are out, in one pass.

Processes take the pairs of layers in turns: each hears all of the speech, and holds and compares
the products of its own pairs.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh as DeviceMesh
from rich.console import Console
from rich.progress import track

from sat_jax.analysis import moments as sums
from sat_jax.analysis.bootstrap import interval_around
from sat_jax.analysis.moments import Covariances, Moments
from sat_jax.analysis.one_thread import one_thread
from sat_jax.analysis.similarity import (
    MEASURES,
    best_correlations,
    compare,
    kept_directions,
    layer_of,
)
from sat_jax.audio.prepared import spread
from sat_jax.config import Similarity
from sat_jax.errors import InputError
from sat_jax.exchange import everywhere, in_turns
from sat_jax.grid import Grid
from sat_jax.records.similarity import LayerName, SimilarityMap
from sat_jax.study.similarity.states import Heard, states_of


def compare_layers(
    models: Sequence[Heard],
    split: Any,
    settings: Similarity,
    seed: int,
    size: int,
    devices: DeviceMesh,
) -> tuple[list[SimilarityMap], list[dict[str, Any]], list[str]]:
    """Maps of all measures of layers, rows on neurons, and notes on what was done how.

    Raises `InputError` where no utterance of the split is long enough.
    """
    notes: list[str] = []
    grid = max((model.spec.grid for model in models), key=lambda grid: grid.stride)
    strides = sorted({model.spec.grid.stride for model in models})
    if len(strides) > 1:
        spans = ", ".join(f"{stride / 16:g} ms" for stride in strides)
        notes.append(
            f"Positions lie {spans} apart: all were compared every {grid.stride / 16:g} ms, each "
            "model by its position whose centre is nearest."
        )
    layers = [LayerName(model.name, layer) for model in models for layer in range(model.layers)]
    width = [model.spec.width for model in models for _ in range(model.layers)]
    heard = spread(split, settings.utterances)
    budget = int(settings.memory_mib * 2**20)
    shards = min(settings.shards, len(heard))
    if 8 * shards * (sum(width) ** 2 + sum(w * w for w in width)) // 2 > budget:
        shards = 1
        notes.append("Without intervals, as sums by shards do not fit --similarity.memory-mib.")
    pairs = sums.pairs_of(len(layers))
    mine = [pairs[number] for number in in_turns(len(pairs))]
    groups = sums.passes_over(width, mine, shards, budget)
    if len(groups) > 1:
        notes.append(f"Taken in {len(groups)} passes over the speech, to fit the memory given.")
    parts = [
        pass_over(models, heard, grid, group, shards, size, devices, f"similarity, pass {i + 1}")
        for i, group in enumerate(groups)
    ]
    found = sums.merged(parts)
    notes.insert(
        0, f"{len(heard)} utterances, {int(found.count.sum())} positions of {len(layers)} layers."
    )
    maps = layer_maps(found, layers, settings, seed)
    neurons = neuron_rows(sums.covariances(found), layers)
    return maps, neurons, notes


def pass_over(
    models: Sequence[Heard],
    split: Any,
    grid: Grid,
    pairs: list[sums.Pair],
    shards: int,
    size: int,
    devices: DeviceMesh,
    title: str,
) -> Moments:
    """Moments of all layers, and products of `pairs` of them, over a split."""
    found = None
    stream = states_of(models, split, grid, size, devices)
    for number, rows in bar(stream, title, len(split)):
        found = sums.begin(rows, pairs, shards) if found is None else found
        sums.add(found, rows, number % shards)
    if found is None:
        raise InputError("similarity: no utterance gives one position; use longer recordings")
    return found


def bar(steps: Iterable[Any], title: str, total: int) -> Iterable[Any]:
    """The same steps with a progress bar, where there is a terminal."""
    console = Console(stderr=True)
    shown = {"console": console, "disable": not console.is_terminal, "transient": True}
    return track(steps, title, total=total, **shown)


def layer_maps(
    found: Moments, layers: Sequence[LayerName], settings: Similarity, seed: int
) -> list[SimilarityMap]:
    """One map per measure, with intervals over resampled shards where there are several.

    Of the pairs in `found`, and of those that other processes have.
    """
    mine = [pair for pair in found.products if pair[0] != pair[1]]
    value = of_all_pairs(
        compared(sums.covariances(found), settings.faithful, "similarity: pairs of layers"), mine
    )
    shards = len(found.count)
    low = high = {name: np.full_like(each, np.nan) for name, each in value.items()}
    if shards > 1 and settings.draws:
        picks = np.random.default_rng(seed).multinomial(
            shards, np.full(shards, 1 / shards), settings.draws
        )
        drawn = [
            compared(sums.covariances(found, w), settings.faithful)
            for w in bar(picks, "similarity: intervals", len(picks))
        ]
        stacked = {name: np.stack([each[name] for each in drawn]) for name in value}
        ends = {
            name: interval_around(value[name], each)
            for name, each in of_all_pairs(stacked, mine).items()
        }
        low, high = ({name: each[i] for name, each in ends.items()} for i in (0, 1))
    return [
        SimilarityMap(name, tuple(layers), value[name], low[name], high[name]) for name in MEASURES
    ]


def of_all_pairs(own: dict[str, np.ndarray], mine: Sequence[sums.Pair]) -> dict[str, np.ndarray]:
    """Arrays (..., M, M), right where a layer meets itself and for the pairs `mine`, with those of
    other processes in their places."""
    whole = {name: each.copy() for name, each in own.items()}
    for pairs, theirs in everywhere((mine, own)):
        i, j = np.array(pairs, int).reshape(-1, 2).T
        for name, each in theirs.items():
            whole[name][..., i, j] = each[..., i, j]
            whole[name][..., j, i] = each[..., j, i]
    return whole


@one_thread()
def compared(covariances: Covariances, faithful: bool, title: str = "") -> dict[str, np.ndarray]:
    """All measures of the pairs of layers: name to (M, M); with a `title` a progress bar."""
    layers = [layer_of(own) for own in covariances.own]
    found = {name: np.ones((len(layers),) * 2) for name in MEASURES}
    for i, layer in enumerate(layers):
        if not kept_directions(layer.values, faithful):
            found["svcca"][i, i] = np.nan
    pairs = covariances.cross.items()
    for (i, j), cross in bar(pairs, title, len(pairs)) if title else pairs:
        there, back = compare(layers[i], layers[j], cross, faithful)
        for name in MEASURES:
            found[name][i, j], found[name][j, i] = there[name], back[name]
    return found


def neuron_rows(covariances: Covariances, layers: Sequence[LayerName]) -> list[dict[str, Any]]:
    """maxcorr and mincorr: each neuron's best correlation with any neuron of another model; over
    the other models the largest and the smallest of these, their means over a layer's neurons."""
    models = list(dict.fromkeys(layer.model for layer in layers))
    if len(models) < 2:
        return []
    known = [layer_of(own) for own in covariances.own]
    own: dict[tuple[int, str], np.ndarray] = {}
    for (i, j), cross in covariances.cross.items():
        for of, by, products in ((i, j, cross), (j, i, cross.T)):
            if layers[of].model != layers[by].model:
                each = best_correlations(known[of], known[by], products)
                place = of, layers[by].model
                own[place] = np.maximum(own.get(place, each), each)
    parts, rows = everywhere(own), []
    for i, layer in enumerate(layers):
        best = [
            np.max([part[i, other] for part in parts if (i, other) in part], axis=0)
            for other in models
            if other != layer.model
        ]
        rows.append(
            {
                "model": layer.model,
                "layer": layer.layer,
                "neurons": int(known[i].moving.sum()),
                "constant": int((~known[i].moving).sum()),
                "maxcorr": float(np.max(best, axis=0).mean()),
                "mincorr": float(np.min(best, axis=0).mean()),
            }
        )
    return rows
