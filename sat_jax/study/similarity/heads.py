"""Attention maps of models in, how alike their heads are out, layer by layer.

Processes take the utterances in turns.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax.analysis.bootstrap import interval_around
from sat_jax.analysis.head_similarity import (
    FLAT_MEASURES,
    HEAD_MEASURES,
    between_layers,
    flat_measures,
    head_pairs,
)
from sat_jax.analysis.one_thread import one_thread
from sat_jax.audio.prepared import spread, take
from sat_jax.config import Similarity
from sat_jax.errors import InputError
from sat_jax.exchange import in_turns, joined
from sat_jax.features import batches, buckets
from sat_jax.mesh import by_device, place_batch, replicated
from sat_jax.records.similarity import LayerName, SimilarityMap
from sat_jax.study.corpus import long_enough
from sat_jax.study.similarity.states import Heard
from sat_jax.trace.capture import capture


def compare_heads(
    models: Sequence[Heard], split: Any, settings: Similarity, seed: int, devices: DeviceMesh
) -> tuple[list[SimilarityMap], list[str]]:
    """Maps of the measures of heads, of the models whose positions lie as those of the first."""
    grid = models[0].spec.grid
    alike = [model for model in models if model.spec.grid == grid]
    said = []
    if left := [model.name for model in models if model.spec.grid != grid]:
        said.append(
            f"Heads of {', '.join(left)} were left out, as their maps have other positions than "
            f"those of {models[0].name}."
        )
    layers = [LayerName(m.name, layer + 1) for m in alike for layer in range(m.spec.layers)]
    owner = np.concatenate(
        [
            np.full(int(heads.sum()), number)
            for number, heads in enumerate(itertools.chain(*(m.spec.head_mask for m in alike)))
        ]
    )
    heard = long_enough(grid, spread(split, settings.map_utterances))
    if not len(heard):
        raise InputError("similarity: no utterance gives one position; use longer recordings")
    mine = in_turns(len(heard))
    utterances = joined(len(heard), head_measures(alike, heard, mine, settings, devices))
    whole = {name: np.stack([each[name] for each in utterances]) for name in utterances[0]}
    groups = [np.flatnonzero(owner == number) for number in range(len(layers))]
    n = len(utterances)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), settings.draws or 0)
    values = [of_layers(whole, groups, w, settings.faithful) for w in (np.ones(n), *drawn)]
    maps = []
    for name in (*HEAD_MEASURES, *FLAT_MEASURES):
        value, others = values[0][name], [each[name] for each in values[1:]]
        low = high = np.full_like(value, np.nan)
        if others:
            low, high = interval_around(value, np.stack(others))
        maps.append(SimilarityMap(name, tuple(layers), value, low, high))
    said.append(f"Heads were compared on {n} utterances.")
    return maps, said


def head_measures(
    models: Sequence[Heard],
    split: Any,
    mine: np.ndarray,
    settings: Similarity,
    devices: DeviceMesh,
) -> list[dict[str, np.ndarray]]:
    """What `head_pairs` makes of the utterances `mine`, all heads of all models together."""
    if not len(mine):
        return []
    grid = models[0].spec.grid
    most = min(model.spec.longest for model in models) * grid.frames
    edges = buckets.bucket_edges(np.asarray(split.lengths), most, 1, grid)
    prepares = [by_device(model.module.prepare, devices) for model in models]

    def of_maps(maps: jax.Array, valid: jax.Array) -> dict[str, jax.Array]:
        return jax.lax.map(lambda each: head_pairs(*each, settings.faithful), (maps, valid))

    def of_batch(params: Any, audio: jax.Array, lengths: jax.Array) -> dict[str, jax.Array]:
        found = []
        for model, prepare, own in zip(models, prepares, params, strict=True):
            trace = capture(model.module, own, *prepare(audio, lengths))
            found += [each for each in trace.probs if each is not None]
        maps = jnp.concatenate(found, axis=1)
        return by_device(of_maps, devices)(maps, trace.valid)

    step = jax.jit(of_batch, out_shardings=replicated(devices))
    measured: dict[int, dict[str, np.ndarray]] = {}
    quiet = {"skip_short": True, "say": lambda _: None}
    some = take(split, mine)
    for batch in batches.eval_batches(some, edges, devices.size, grid, **quiet):
        placed = place_batch((batch.audio, batch.lengths), devices)
        found = step([model.params for model in models], *placed)
        arrays = {name: np.asarray(each) for name, each in found.items()}
        for row, number in enumerate(batch.index):
            if number >= 0:
                measured[int(number)] = {name: each[row] for name, each in arrays.items()}
    return [measured[number] for number in range(len(mine))]


@one_thread()
def of_layers(
    whole: dict[str, np.ndarray], groups: list[np.ndarray], weights: np.ndarray, faithful: bool
) -> dict[str, np.ndarray]:
    """All measures of heads for all pairs of layers, utterances (U,) counted by `weights`."""
    share = weights / weights.sum()
    pairs = {name: np.tensordot(share, whole[name].astype(np.float64), 1) for name in HEAD_MEASURES}
    count, total, products = (
        np.tensordot(weights, whole[name].astype(np.float64), 1)
        for name in ("count", "sums", "products")
    )
    covariance = products / count - np.outer(total, total) / count**2
    shape = (len(groups),) * 2
    found = {name: np.full(shape, np.nan) for name in (*HEAD_MEASURES, *FLAT_MEASURES)}
    for (i, of), (j, by) in itertools.product(enumerate(groups), repeat=2):
        if not (len(of) and len(by)):
            continue
        for name in HEAD_MEASURES:
            found[name][i, j] = between_layers(pairs[name], of, by)
        for name, value in flat_measures(covariance, of, by, faithful).items():
            found[name][i, j] = value
    return found
