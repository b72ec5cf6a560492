"""A model's compiled functions and one batch in, what `trie.sweep` walks with out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from sat_jax.model.attention.edit import NO_SPAN, HeadEdit
from sat_jax.model.packing import Packing
from sat_jax.sweep.ops import EncoderOps
from sat_jax.sweep.trie import BatchOps, Settings, Units

NUMBERS = 6
"""Numbers of heads, above none, that functions are compiled for."""


class Counts(NamedTuple):
    """What a sweep has cost."""

    compiled: set[tuple[Any, ...]]
    """Names of functions and the shapes that they were called with: as many compilations."""
    nodes: dict[str, int]
    """How often each function was called."""


class Contexts(NamedTuple):
    """What `attend` hands to `merge`."""

    head: np.ndarray
    """(N,) int32, the heads attended with, filled up."""
    values: jax.Array
    """(P, C, N, K)."""


def rounded(count: int, heads: int) -> int:
    """The number of heads that a function is compiled for to serve `count` of them."""
    quantum = -(-heads // NUMBERS)
    return -(-count // quantum) * quantum


def batch_ops(
    ops: EncoderOps,
    params: Any,
    heads: int,
    inputs: Any,
    valid: jax.Array,
    packing: Packing,
    finish: Callable[[jax.Array], Any],
    counts: Counts,
    maps: jax.Array | None = None,
) -> BatchOps:
    """A sweep's view of one batch: inputs and valid (B, T), as the model's `prepare` gives
    them, split over the mesh.

    `packing` puts the valid positions into P rows, see `packing_of`. `finish` makes a tree of
    arrays (any, C, ...) of the encoder's outputs (P, C, D); `counts` is added to; `maps`
    (L, H, T, S) stand in for those of swapped heads, see `HeadEdit`.
    """
    side: list[Any] = []

    def run(name: str, key: tuple[Any, ...], *arguments: Any) -> jax.Array:
        counts.compiled.add((name, valid.shape, packing.position.shape, *key))
        counts.nodes[name] = counts.nodes.get(name, 0) + 1
        return getattr(ops, name)(*arguments)

    def padded(units: Units) -> Units:
        # The last unit fills up; its gates there are 0.
        index = np.minimum(np.arange(rounded(len(units.head), heads)), len(units.head) - 1)
        return Units(*(field[index] for field in units))

    def widened(gates: np.ndarray, count: int) -> np.ndarray:
        return np.pad(gates, ((0, 0), (0, count - gates.shape[1])))

    def edit_of(layer: int, units: Units) -> HeadEdit:
        limited, swapped = (units.span < NO_SPAN).any(), units.swap.any()
        return HeadEdit(
            span=units.span if limited else None,
            swap=units.swap if swapped else None,
            maps=maps[layer] if swapped else None,
        )

    def kind_of(units: Units, *arrays: Any) -> tuple[Any, ...]:
        flags = bool((units.span < NO_SPAN).any()), bool(units.swap.any())
        return (len(units.head), *flags, *(array.shape[1] for array in arrays))

    def start() -> jax.Array:
        states, made = run("embed", (), params, inputs, valid, packing)
        side[:] = [made]
        return states

    def attend(layer: int, states: jax.Array, units: Units) -> Contexts:
        units = padded(units)
        contexts = run(
            "attend",
            kind_of(units, states),
            *(ops.layer(params, layer), side[0], units.head, edit_of(layer, units)),
            *(states, valid, packing),
        )
        return Contexts(units.head, contexts)

    def merge(
        layer: int, states: jax.Array, contexts: Contexts, parent: np.ndarray, gate: np.ndarray
    ) -> jax.Array:
        head = contexts.head
        key = len(head), states.shape[1], len(parent)
        arguments = ops.layer(params, layer), head, parent, widened(gate, len(head))
        return run("merge", key, *arguments, states, contexts.values)

    def step(
        layer: int, states: jax.Array, units: Units, parent: np.ndarray, gate: np.ndarray
    ) -> jax.Array:
        units = padded(units)
        key = *kind_of(units, states), len(parent)
        edit, gate = edit_of(layer, units), widened(gate, len(units.head))
        arguments = ops.layer(params, layer), side[0], units.head, edit, parent, gate
        return run("step", key, *arguments, states, valid, packing)

    def skip(layer: int, states: jax.Array, parent: np.ndarray) -> jax.Array:
        key = states.shape[1], len(parent)
        return run("skip", key, ops.layer(params, layer), parent, states)

    def close(states: jax.Array) -> jax.Array:
        return run("close", states.shape[1:2], params, states) if ops.close else states

    def whole(settings: Settings) -> Any:
        swapped = settings.swap.any()
        edit = HeadEdit(settings.gate, settings.span, *((settings.swap, maps) if swapped else ()))
        key = len(settings.gate), bool(swapped)
        return finish(run("whole", key, params, edit, inputs, valid, packing))

    return BatchOps(
        start=start,
        attend=attend,
        merge=merge,
        step=step,
        skip=skip,
        finish=lambda states: finish(close(states)),
        whole=whole,
    )
