"""A trained model in, the same one with input-independent attention out: mean maps, or patterns."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax import mesh
from sat_jax.config import Config, Export
from sat_jax.config.attention import ATTENTIONS
from sat_jax.errors import InputError
from sat_jax.features import batches
from sat_jax.model.attention.edit import HeadEdit
from sat_jax.model.attention.self_attention import algorithm_of
from sat_jax.model.build import Spec, build_model, init_params
from sat_jax.model.encoder import layer_params, with_layer_params
from sat_jax.trace.importance import summed_maps

FLOOR = 0.05
"""Weight that all keys together get beside a mean map, so that none is out of reach of training."""


def check(config: Config, options: Export) -> None:
    """Raise `InputError` where a run's attention cannot be replaced as the options say."""
    kind = config.model.attention.kind
    if config.model.pruned:
        raise InputError(
            f"attention {options.attention}: the run has pruned heads or spans; give the run that "
            "it was made from, and prune afterwards"
        )
    if options.heads or options.span is not None:
        raise InputError(
            "attention, heads and span: replace the attention first, then prune the run that it "
            "makes"
        )
    if config.model.scan_layers or config.model.share_layers:
        name = "scan-layers" if config.model.scan_layers else "share-layers"
        raise InputError(
            f"attention {options.attention}: the run has model.{name}; give one that was trained "
            "without, whose layers have parameters of their own"
        )
    if not algorithm_of(config.model.attention).PROJECTIONS:
        raise InputError(
            f"from-maps: model.attention of the run is {kind}, whose maps do not come from queries "
            "and keys: give a run that has them (qk, q, sparse_strided, ...)"
        )


def with_attention(config: Config, spec: Spec, options: Export) -> Config:
    """The config with input-independent maps as long as training had utterances."""
    side = min(config.batches.max_frames // spec.grid.frames, spec.longest)
    attention = ATTENTIONS[options.attention](positions=side)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, attention=attention))


def mean_logits(
    config: Config, params: Any, split: Any, side: int, size: int, devices: DeviceMesh
) -> np.ndarray:
    """Logits (L, H, P, P) of the mean maps over a split, at the first `side` = P positions.

    Each pair of positions counts in the utterances that have both. Where a query's row is not seen
    at all, its keys are alike.
    """
    module = build_model(config)
    add = jax.jit(functools.partial(summed_maps, module))
    prepare = jax.jit(mesh.by_device(module.prepare, devices))
    total: Any = None
    edges = (module.grid.frames * side,)
    quiet = {"skip_short": True, "say": lambda _: None}
    read = batches.eval_batches(split, edges, size, module.grid, **quiet)
    for batch in read:
        inputs, valid = prepare(*mesh.place_batch((batch.audio, batch.lengths), devices))
        valid &= jnp.asarray(batch.index >= 0)[:, None]
        sums = add(params, inputs, valid)
        total = mesh.paced(sums if total is None else jax.tree.map(jnp.add, total, sums))
    maps, pairs = total
    mean = np.asarray(maps / jnp.maximum(pairs, 1), np.float64)
    mean = np.pad(mean, ((0, 0), (0, 0), *((0, side - mean.shape[-1]),) * 2))
    mean /= np.maximum(mean.sum(-1, keepdims=True), 1e-12)
    return np.log(mean * (1 - FLOOR) + FLOOR / side).astype(np.float32)


def replaced(params: Any, old: Config, new: Config, logits: np.ndarray | None) -> Any:
    """Parameters of `old` with the attention of `new`: its own start, or these logits."""
    begun = init_params(jax.random.key(new.seed), build_model(new))
    projections = len(algorithm_of(old.model.attention).PROJECTIONS)
    heads, layers = old.model.heads, []
    for index in range(old.model.layers):
        layer = layer_params(params, old.model, index)
        streams = layer["attention"]["streams"]
        width = streams["kernel"].shape[0]
        kernel = streams["kernel"].reshape(width, heads, projections + 1, -1)[:, :, -1]
        bias = streams["bias"].reshape(heads, projections + 1, -1)[:, -1]
        own = layer_params(begun, new.model, index)["attention"]["algorithm"]
        if logits is not None:
            own = {**own, "maps": jnp.asarray(logits[index])}
        attention = {
            "streams": {"kernel": kernel.reshape(width, -1), "bias": bias.reshape(-1)},
            "algorithm": own,
            "out": layer["attention"]["out"],
        }
        layers.append({**layer, "attention": attention})
    return with_layer_params(params, layers)


def edit_of(params: Any, config: Config) -> HeadEdit:
    """What makes the whole model equal to the new one: all maps replaced by those of `params`."""
    logits = jnp.stack(
        [
            layer_params(params, config.model, index)["attention"]["algorithm"]["maps"]
            for index in range(config.model.layers)
        ]
    )
    swap = np.ones((config.model.layers, config.model.heads), bool)
    return HeadEdit(swap=swap, maps=jax.nn.softmax(logits, axis=-1))
