"""Ablation settings and the ops of an encoder in, what is left under every setting out.

Settings form a trie over layers: two that agree up to a layer share everything up to it. The trie
is walked depth first. At a node, heads are attended with once for all of its children; a child
only combines heads and goes on. Heads that no child keeps are not computed, and a layer without
heads has no attention at all. What a setting leaves is reduced on the device, at its leaf.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from sat_jax.model.attention.edit import NO_SPAN


class Settings(NamedTuple):
    """What is done to every head in each of G settings."""

    gate: np.ndarray
    """(G, L, H) float32: 1 keeps a head, 0 prunes it."""
    span: np.ndarray
    """(G, L, H) int32: positions that a head may look away; `NO_SPAN` is no limit."""
    swap: np.ndarray
    """(G, L, H) bool: heads whose attention is replaced by its mean over a corpus."""


class Units(NamedTuple):
    """Heads of one layer that are to be attended with, each in one way."""

    head: np.ndarray
    """(N,) int32."""
    span: np.ndarray
    """(N,) int32."""
    swap: np.ndarray
    """(N,) bool."""


class BatchOps(NamedTuple):
    """An encoder in ops, over one batch.

    States are (P, C, D): P positions under C nodes at a time.
    """

    start: Callable[[], Any]
    """Nothing to the first layer's input, C = 1."""
    attend: Callable[[int, Any, Units], Any]
    """Layer, states and N units to their contexts (P, C, N, K)."""
    merge: Callable[[int, Any, Any, np.ndarray, np.ndarray], Any]
    """Layer, states, contexts, parent (C2,) and gate (C2, N) of each child to its states."""
    step: Callable[[int, Any, Units, np.ndarray, np.ndarray], Any]
    """Both at once, where no other child needs the contexts."""
    skip: Callable[[int, Any, np.ndarray], Any]
    """Layer, states, parent (C2,) of children without heads to their states."""
    finish: Callable[[Any], Any]
    """The last layer's states to a tree of arrays (any, C, ...)."""
    whole: Callable[[Settings], Any]
    """C settings to the tree of `finish`, by plain forward passes: the reference."""


def make_settings(
    gates: np.ndarray, spans: np.ndarray | int | None = None, swap: np.ndarray | bool = False
) -> Settings:
    """Settings of gates (G, L, H), with spans and swapped heads that broadcast to their shape."""
    gate = np.asarray(gates, np.float32)
    span = np.broadcast_to(NO_SPAN if spans is None else spans, gate.shape).astype(np.int32)
    return Settings(gate, span, np.broadcast_to(swap, gate.shape).astype(bool))


def take(settings: Settings, index: Any) -> Settings:
    """Some of the settings, by index or slice."""
    return Settings(*(field[index] for field in settings))


def join(settings: list[Settings]) -> Settings:
    """Settings one after the other."""
    return Settings(*(np.concatenate(fields) for fields in zip(*settings, strict=True)))


def as_rows(settings: Settings) -> np.ndarray:
    """(G, L, 3 H) numbers that are equal where two settings are the same function of their input.

    How a pruned head would look at anything does not matter.
    """
    kept = settings.gate != 0
    span = np.where(kept, settings.span, NO_SPAN)
    swap = np.where(kept, settings.swap, False)
    return np.concatenate([settings.gate, span, swap], axis=-1).astype(np.float64)


def distinct(settings: Settings) -> tuple[Settings, np.ndarray]:
    """Settings without repeats in the order in which the trie is walked, and where each went."""
    rows = as_rows(settings)
    _, first, inverse = np.unique(
        rows.reshape(len(rows), -1), axis=0, return_index=True, return_inverse=True
    )
    return take(settings, first), inverse.reshape(-1)


def node_counts(settings: Settings) -> np.ndarray:
    """Nodes of the trie at every layer, (L,): forward passes through it that have to be made."""
    rows = as_rows(settings)
    count, layers, _ = rows.shape
    return np.array(
        [len(np.unique(rows[:, : layer + 1].reshape(count, -1), axis=0)) for layer in range(layers)]
    )


def sweep(batch_ops: BatchOps, settings: Settings, *, engine: str = "trie", width: int = 1) -> Any:
    """What is left under every setting: the tree of `batch_ops.finish`, arrays (G, any, ...).

    `engine` is trie, or vmap for plain forward passes of `width` settings at a time. `width` are
    the nodes that the trie computes at once: one where a node fills the device (a CPU), more where
    it does not. Repeated settings cost nothing. Raises `KeyError` for another engine.
    """
    unique, inverse = distinct(settings)
    leaves = list(ENGINES[engine](batch_ops, unique, width))
    order = np.argsort([index for index, _, _ in leaves])
    places = order[inverse]

    def collect(*arrays: Any) -> np.ndarray:
        host = {id(array): np.asarray(array) for array in arrays}
        return np.stack([host[id(arrays[i])][:, leaves[i][1]] for i in places])

    return jax.tree.map(collect, *(tree for _, _, tree in leaves))


Leaf = tuple[int, int, Any]
"""A setting's index, its place among the nodes that were finished together, and their tree."""


def walk_trie(batch_ops: BatchOps, settings: Settings, width: int) -> Iterator[Leaf]:
    """Leaves of the trie over settings that `distinct` gave, depth first."""
    rows = as_rows(settings)
    layers = rows.shape[1]

    def descend(layer: int, states: Any, nodes: list[tuple[int, int]]) -> Iterator[Leaf]:
        # A node is the range of settings that share everything up to this layer.
        if layer == layers:
            tree = batch_ops.finish(states)
            yield from ((first, place, tree) for place, (first, _) in enumerate(nodes))
            return
        children = [
            (parent, *child)
            for parent, node in enumerate(nodes)
            for child in runs(rows[:, layer], *node)
        ]
        bare = [child for child in children if not settings.gate[child[1], layer].any()]
        for part in parts(bare, width):
            yield from descend(
                layer + 1, batch_ops.skip(layer, states, parents_of(part, width)), ranges(part)
            )
        attending = [child for child in children if settings.gate[child[1], layer].any()]
        if not attending:
            return
        units, gates = units_of(take(settings, [child[1] for child in attending]), layer)
        if len(attending) <= width:
            states = batch_ops.step(
                layer, states, units, parents_of(attending, width), filled(gates, width)
            )
            yield from descend(layer + 1, states, ranges(attending))
            return
        contexts = batch_ops.attend(layer, states, units)
        for part, gate in zip(parts(attending, width), parts(gates, width), strict=True):
            merged = batch_ops.merge(
                layer, states, contexts, parents_of(part, width), filled(gate, width)
            )
            yield from descend(layer + 1, merged, ranges(part))

    yield from descend(0, batch_ops.start(), [(0, len(rows))])


def run_plainly(batch_ops: BatchOps, settings: Settings, width: int) -> Iterator[Leaf]:
    """Every setting by a forward pass of its own, `width` of them at a time."""
    count = len(settings.gate)
    for first in range(0, count, width):
        index = np.minimum(np.arange(first, first + width), count - 1)
        tree = batch_ops.whole(take(settings, index))
        yield from ((i, i - first, tree) for i in range(first, min(first + width, count)))


def runs(rows: np.ndarray, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Ranges of equal neighbours among rows[first:last]."""
    change = (rows[first + 1 : last] != rows[first : last - 1]).any(-1)
    edges = [first, *(first + 1 + np.flatnonzero(change)), last]
    yield from ((int(a), int(b)) for a, b in itertools.pairwise(edges))


def parts(items: Any, width: int) -> Iterator[Any]:
    """Slices of at most `width` items."""
    yield from (items[at : at + width] for at in range(0, len(items), width))


def ranges(children: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Children (parent, first, last) as nodes."""
    return [(first, last) for _, first, last in children]


def parents_of(children: list[tuple[int, int, int]], width: int) -> np.ndarray:
    """Their parents, filled up as `filled` does."""
    return filled(np.array([parent for parent, _, _ in children], np.int32), width)


def filled(items: np.ndarray, width: int) -> np.ndarray:
    """`items` with the last one repeated up to a power of two, at most `width`.

    So nodes come in few numbers, and what computes them is compiled a few times only.
    """
    buffer = min(1 << (len(items) - 1).bit_length(), width)
    return items[np.minimum(np.arange(buffer), len(items) - 1)]


def units_of(settings: Settings, layer: int) -> tuple[Units, np.ndarray]:
    """The ways in which any of C settings uses a head of a layer, and its gates (C, N) on them."""
    gate, span, swap = (field[:, layer] for field in settings)
    setting, kept = np.nonzero(gate)
    # A way as one number: comparing rows of head, span and swap takes five times as long.
    way = (np.arange(gate.shape[1]) * 2 * NO_SPAN + span) * 2 + swap
    _, first, unit = np.unique(way[setting, kept], return_index=True, return_inverse=True)
    gates = np.zeros((len(gate), len(first)), np.float32)
    gates[setting, unit] = gate[setting, kept]
    setting, kept = setting[first], kept[first]
    return Units(kept.astype(np.int32), span[setting, kept], swap[setting, kept]), gates


ENGINES = {"trie": walk_trie, "vmap": run_plainly}
