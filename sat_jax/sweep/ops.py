"""A model in, the jitted functions out with which a sweep over ablations walks its encoder.

Each is compiled once for all layers and once for each number of heads that it is called with.
Every device works on the utterances that it holds. States are rows of valid positions: what is done
to every position by itself is not done to padding.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import PartitionSpec as P

from sat_jax.mesh import BATCH, by_device
from sat_jax.model.attention.edit import HeadEdit
from sat_jax.model.encoder import EncoderLayer, layer_params
from sat_jax.model.packing import Packing, of_nodes, pack
from sat_jax.model.prune import keep_heads


class EncoderOps(NamedTuple):
    """Jitted functions of parameters and states (P, C, D) of P rows, C nodes at a time.

    `side` is what the model hands to every layer, a tree of arrays (H, ...).
    """

    layer: Callable[[Any, int], Any]
    """A model's parameters and a layer's number to the parameters of that layer."""
    embed: Callable[..., tuple[jax.Array, Any]]
    attend: Callable[..., jax.Array]
    merge: Callable[..., jax.Array]
    step: Callable[..., jax.Array]
    skip: Callable[..., jax.Array]
    close: Callable[..., jax.Array] | None
    """What follows the last layer in a pre-LN encoder; None in a post-LN one."""
    whole: Callable[..., jax.Array]
    """Plain forward passes under C settings."""


def encoder_ops(model: nn.Module, mesh: DeviceMesh) -> EncoderOps:
    """The functions of a `model` with unrolled layers, for batches that are split over `mesh`."""
    config = model.config

    def layer_of(heads: int) -> EncoderLayer:
        return EncoderLayer(config, heads, model.encoder_length)

    def unpruned(layer: Any, head: jax.Array) -> Any:
        return keep_heads(layer, config, head, config.heads)

    def embed(params: Any, inputs: jax.Array, valid: jax.Array, packing: Packing) -> Any:
        x, side = model.apply({"params": params}, inputs, valid, method="embed")
        return pack(x, packing)[:, None], side

    def attend(
        layer: Any,
        side: Any,
        head: jax.Array,
        edit: HeadEdit,
        states: jax.Array,
        valid: jax.Array,
        packing: Packing,
    ) -> jax.Array:
        if edit.maps is not None:
            edit = edit._replace(maps=edit.maps[head])
        nodes = states.shape[1]
        contexts = layer_of(len(head)).apply(
            {"params": unpruned(layer, head)},
            joined(states),
            jnp.repeat(valid, nodes, axis=0),
            edit,
            jax.tree.map(lambda leaf: leaf[head], side),
            number=head,
            packing=of_nodes(packing, nodes),
            method="attend",
        )
        return contexts.reshape(*states.shape[:2], *contexts.shape[1:])

    def merge(
        layer: Any,
        head: jax.Array,
        parent: jax.Array,
        gate: jax.Array,
        states: jax.Array,
        contexts: jax.Array,
    ) -> jax.Array:
        states, contexts = children(states, parent), children(contexts, parent)
        return layer_of(len(head)).apply(
            {"params": unpruned(layer, head)}, states, contexts, gate, method="merge"
        )

    def step(
        layer: Any,
        side: Any,
        head: jax.Array,
        edit: HeadEdit,
        parent: jax.Array,
        gate: jax.Array,
        states: jax.Array,
        valid: jax.Array,
        packing: Packing,
    ) -> jax.Array:
        contexts = attend(layer, side, head, edit, states, valid, packing)
        return merge(layer, head, parent, gate, states, contexts)

    def skip(layer: Any, parent: jax.Array, states: jax.Array) -> jax.Array:
        bare = {"params": unpruned(layer, np.arange(0))}
        return layer_of(0).apply(bare, children(states, parent), None, method="merge")

    def close(params: Any, states: jax.Array) -> jax.Array:
        return model.apply({"params": params}, states, method="close")

    def whole(
        params: Any, edits: HeadEdit, inputs: jax.Array, valid: jax.Array, packing: Packing
    ) -> jax.Array:
        # Settings of fewer layers than the model has end earlier.
        depth = edits.gate.shape[1]
        shallow = model.clone(config=dataclasses.replace(config, layers=depth))

        def run(edit: HeadEdit) -> jax.Array:
            return shallow.apply({"params": params}, inputs, valid, edit, method="encode")

        axes = HeadEdit(*(None if field is None else 0 for field in edits[:3]))
        return pack(jax.vmap(run, in_axes=(axes,), out_axes=2)(edits), packing)

    def on_devices(
        function: Callable[..., Any], arguments: int, out: Any = BATCH
    ) -> Callable[..., Any]:
        return jax.jit(by_device(function, mesh, arguments, out))

    return EncoderOps(
        layer=lambda params, index: layer_params(params, config, index),
        embed=on_devices(embed, 1, (BATCH, P())),
        attend=on_devices(attend, 4),
        merge=on_devices(merge, 4),
        step=on_devices(step, 6),
        skip=on_devices(skip, 2),
        close=on_devices(close, 1) if config.pre_ln else None,
        whole=on_devices(whole, 2),
    )


def joined(states: jax.Array) -> jax.Array:
    """States (P, C, D) of C nodes as rows (P * C, D)."""
    return states.reshape(-1, states.shape[-1])


def children(arrays: jax.Array, parent: jax.Array) -> jax.Array:
    """Arrays (P, C, ...) of parents as arrays (P, C2, ...) of their children."""
    return arrays if arrays.shape[1] == len(parent) == 1 else arrays[:, parent]
