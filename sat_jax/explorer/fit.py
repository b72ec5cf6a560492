"""Maps of models on utterances and a number of bytes in, packed maps that fit into them out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sat_jax.explorer.pack import PackedMaps, pack_maps

SAMPLED = 8
"""Heads from which the size of all is estimated."""
LEAST_SIDE = 64
"""Pixels below which no map is averaged further: fewer utterances are kept instead."""

Key = tuple[int, int]
"""Model and utterance."""


class Fitted(NamedTuple):
    """What the page holds."""

    maps: dict[Key, PackedMaps]
    utterances: int
    """How many, from the first on."""
    notes: tuple[str, ...]
    """What is less than was asked for, in words."""


def fit_maps(
    maps: Mapping[Key, np.ndarray], controls: Sequence[bool], budget: int, extra: Sequence[int]
) -> Fitted:
    """Pack maps (L, H, T, T) of every model and utterance into `budget` bytes.

    Pixels of untrained models, True in `controls`, average two positions: they are there to be
    compared with. Where the maps do not fit, pixels of the largest ones average ever more
    positions, those of untrained models first. Then utterances are left out, the last first;
    `extra` are the bytes that each takes besides its maps. One utterance is always kept.
    """
    given = count = len(extra)
    factors = {key: 1 + controls[key[0]] for key in maps}
    sizes = {key: estimated_size(maps[key], factors[key]) for key in maps}
    packed: dict[Key, PackedMaps] = {}
    while True:
        kept = [key for key in maps if key[1] < count]
        if sum(sizes[key] for key in kept) + sum(extra[:count]) <= budget:
            missing = [key for key in kept if key not in packed]
            if not missing:
                break
            # What fits by an estimate is packed, and counted as it is.
            packed |= {key: pack_maps(maps[key], factors[key]) for key in missing}
            sizes |= {key: packed[key].size for key in missing}
            continue
        coarser = [key for key in kept if next_side(maps[key], factors[key]) >= LEAST_SIDE]
        if coarser:
            largest = max(coarser, key=lambda key: sizes[key] * (1 + controls[key[0]]))
            factors[largest] += 1
            sizes[largest] = estimated_size(maps[largest], factors[largest])
            packed.pop(largest, None)
        elif count > 1:
            count -= 1
        else:
            packed |= {key: pack_maps(maps[key], factors[key]) for key in kept}
            break
    whole = {key: packed[key] for key in kept}
    return Fitted(whole, count, notes_of(whole, controls, given, count))


def next_side(maps: np.ndarray, factor: int) -> int:
    """Pixels of a map were it averaged over one position more than `factor`."""
    return -(-maps.shape[-1] // (factor + 1))


def estimated_size(maps: np.ndarray, factor: int) -> int:
    """About the bytes of packed maps (L, H, T, T), from a few of their heads."""
    heads = maps.reshape(-1, *maps.shape[-2:])
    some = np.unique(np.linspace(0, len(heads) - 1, SAMPLED).round().astype(int))
    return pack_maps(heads[None, some], factor).size * len(heads) // len(some)


def notes_of(
    packed: Mapping[Key, PackedMaps], controls: Sequence[bool], given: int, kept: int
) -> tuple[str, ...]:
    """What fitting has cost, for the reader of the page."""
    notes = []
    if kept < given:
        notes.append(
            f"{kept} of {given} utterances fit the size that was asked for: raise it with "
            "--explorer.megabytes."
        )
    for control, whose in ((False, "trained"), (True, "untrained")):
        factors = sorted({p.factor for (m, _), p in packed.items() if controls[m] == control})
        if factors and factors[-1] > 1:
            most = f"{factors[0]} to {factors[-1]}" if len(factors) > 1 else f"{factors[-1]}"
            notes.append(
                f"Pixels of {whose} models' maps average {most} positions along queries and keys, "
                "so that the page keeps its size; --explorer.megabytes raises it."
            )
    return tuple(notes)
