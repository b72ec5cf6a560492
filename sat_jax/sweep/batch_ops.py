"""A model's ops and one batch in, what `analysis.ablate.sweep` wants to be handed out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from sat_jax.model.attention.self_attention import HeadEdit
from sat_jax.model.packing import Packing
from sat_jax.sweep.ops import EncoderOps
from sat_jax.sweep.trie import FULL, BatchOps, Settings, Units

NUMBERS = 6
"""Numbers of heads, above none, that ops are compiled for."""


class Counts(NamedTuple):
    """What a sweep has cost."""

    compiled: set[tuple[Any, ...]]
    """Names of ops and the shapes that they were called with: as many compilations."""
    nodes: dict[str, int]
    """How often each piece was called."""


class Contexts(NamedTuple):
    """What `attend` hands to `merge`."""

    head: np.ndarray
    """(N,) int32, the heads attended with, filled up."""
    values: jax.Array
    """(P, C, N, K)."""


def rounded(count: int, heads: int) -> int:
    """The number of heads that a piece is compiled for to serve `count` of them."""
    quantum = -(-heads // NUMBERS)
    return -(-count // quantum) * quantum


def batch_ops(
    ops: EncoderOps,
    params: Any,
    heads: int,
    inputs: jax.Array,
    valid: jax.Array,
    packing: Packing,
    finish: Callable[[jax.Array], Any],
    counts: Counts,
    maps: jax.Array | None = None,
) -> BatchOps:
    """A sweep's view of one batch: inputs (B, T, F), valid (B, T), split over the mesh.

    `packing` puts the valid positions into P rows, see `packing_of`. `finish` makes a tree of
    arrays (any, C, ...) of the encoder's outputs (P, C, D); `counts` is added to; `maps`
    (L, H, T, S) stand in for those of swapped heads, see `HeadEdit`.
    """
    encoder = params["encoder"]

    def run(name: str, key: tuple[Any, ...], *arguments: Any) -> jax.Array:
        counts.compiled.add((name, inputs.shape, packing.position.shape, *key))
        counts.nodes[name] = counts.nodes.get(name, 0) + 1
        return getattr(ops, name)(*arguments)

    def padded(units: Units) -> Units:
        # The last unit fills up; its gates there are 0.
        buffer = rounded(len(units.head), heads)
        index = np.minimum(np.arange(buffer), len(units.head) - 1)
        return Units(*(field[index] for field in units))

    def widened(gates: np.ndarray, buffer: int) -> np.ndarray:
        return np.pad(gates, ((0, 0), (0, buffer - gates.shape[1])))

    def edit_of(layer: int, units: Units) -> HeadEdit:
        limited, swapped = (units.span < FULL).any(), units.swap.any()
        return HeadEdit(
            span=units.span if limited else None,
            swap=units.swap if swapped else None,
            maps=maps[layer] if swapped else None,
        )

    def kind_of(units: Units, *arrays: Any) -> tuple[Any, ...]:
        flags = bool((units.span < FULL).any()), bool(units.swap.any())
        return (len(units.head), *flags, *(array.shape[1] for array in arrays))

    def attend(layer: int, states: jax.Array, units: Units) -> Contexts:
        units = padded(units)
        contexts = run(
            "attend",
            kind_of(units, states),
            *(encoder[f"layer_{layer}"], units.head, edit_of(layer, units), states, valid, packing),
        )
        return Contexts(units.head, contexts)

    def merge(
        layer: int, states: jax.Array, contexts: Contexts, parent: np.ndarray, gate: np.ndarray
    ) -> jax.Array:
        head = contexts.head
        key = len(head), states.shape[1], len(parent)
        arguments = encoder[f"layer_{layer}"], head, parent, widened(gate, len(head))
        return run("merge", key, *arguments, states, contexts.values)

    def step(
        layer: int, states: jax.Array, units: Units, parent: np.ndarray, gate: np.ndarray
    ) -> jax.Array:
        units = padded(units)
        key = *kind_of(units, states), len(parent)
        cut, gate = edit_of(layer, units), widened(gate, len(units.head))
        arguments = encoder[f"layer_{layer}"], units.head, cut, parent, gate
        return run("step", key, *arguments, states, valid, packing)

    def skip(layer: int, states: jax.Array, parent: np.ndarray) -> jax.Array:
        key = states.shape[1], len(parent)
        return run("skip", key, encoder[f"layer_{layer}"], parent, states)

    def close(states: jax.Array) -> jax.Array:
        return run("close", states.shape[1:2], params, states) if ops.close else states

    def whole(settings: Settings) -> Any:
        swapped = settings.swap.any()
        cut = HeadEdit(settings.gate, settings.span, *((settings.swap, maps) if swapped else ()))
        key = len(settings.gate), bool(swapped)
        return finish(run("whole", key, params, cut, inputs, valid, packing))

    return BatchOps(
        start=lambda: run("embed", (), params, inputs, packing),
        attend=attend,
        merge=merge,
        step=step,
        skip=skip,
        finish=lambda states: finish(close(states)),
        whole=whole,
    )
