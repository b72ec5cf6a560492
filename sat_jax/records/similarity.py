"""How alike layers of several models are: what the study measures and figures draw."""

from typing import NamedTuple

import numpy as np

from sat_jax.errors import InputError


class LayerName(NamedTuple):
    """One row and column of a map."""

    model: str
    layer: int
    """0 is the first layer's input; heads' maps begin with layer 1."""


class SimilarityMap(NamedTuple):
    """One measure for all pairs of layers."""

    measure: str
    layers: tuple[LayerName, ...]
    value: np.ndarray
    """(M, M): how alike layer `row` is to layer `column`; NaN where there is none."""
    low: np.ndarray
    """(M, M) lower end of the 95 % interval; NaN where none was made."""
    high: np.ndarray
    """(M, M) upper end."""


def check_maps(maps: tuple[SimilarityMap, ...]) -> None:
    """Raise `InputError` where there is no map, or one is not square in its layers."""
    if not maps:
        raise InputError("similarity: no measure to draw; give at least one")
    for each in maps:
        shape = (len(each.layers),) * 2
        if not len(each.layers) or any(a.shape != shape for a in each[2:]):
            raise InputError(f"similarity: {each.measure} has {each.value.shape}, expected {shape}")


def models_of(maps: SimilarityMap) -> list[str]:
    """The models, in order."""
    return list(dict.fromkeys(layer.model for layer in maps.layers))


def same_depth(found: SimilarityMap, of: str, by: str) -> tuple[list[int], list[int]]:
    """Layers that both models have, and where they stand among all: rows i, columns j."""
    place = {layer: i for i, layer in enumerate(found.layers)}
    depth = [layer.layer for layer in found.layers if layer.model == of]
    shared = [d for d in depth if LayerName(by, d) in place]
    return [place[LayerName(of, d)] for d in shared], [place[LayerName(by, d)] for d in shared]
