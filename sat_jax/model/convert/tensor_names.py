"""Where each parameter of a raw-audio model stands in a checkpoint of `transformers`, both ways.

A `Place` is one tensor of ours and the tensors of theirs that it is made of.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sat_jax.config import Config, GatedBias, Model
from sat_jax.errors import InputError
from sat_jax.model.convert.tensors import Tensors

PREFIXES = {
    "wav2vec2": "wav2vec2.",
    "hubert": "hubert.",
    "wavlm": "wavlm.",
    "data2vec": "data2vec_audio.",
}
"""What the names of a model with a head begin with; those of a bare one have no prefix."""


class Place(NamedTuple):
    """One parameter."""

    path: tuple[str, ...]
    """Among ours."""
    names: tuple[str, ...]
    """Theirs."""
    ours: Callable[..., np.ndarray]
    """Their arrays to ours."""
    theirs: Callable[[np.ndarray], Sequence[np.ndarray]]
    """The inverse."""


def _same(path: Sequence[str], name: str) -> Place:
    return Place(tuple(path), (name,), lambda a: a, lambda a: (a,))


def _moved(path: Sequence[str], name: str, *axes: int) -> Place:
    back = np.argsort(axes)
    return Place(tuple(path), (name,), lambda a: a.transpose(axes), lambda a: (a.transpose(back),))


def _shaped(
    path: Sequence[str], name: str, ours: tuple[int, ...], theirs: tuple[int, ...]
) -> Place:
    return Place(tuple(path), (name,), lambda a: a.reshape(ours), lambda a: (a.reshape(theirs),))


def dense(path: Sequence[str], name: str) -> Iterator[Place]:
    """Kernel and bias of a dense layer."""
    yield _moved((*path, "kernel"), f"{name}.weight", 1, 0)
    yield _same((*path, "bias"), f"{name}.bias")


def norm(path: Sequence[str], name: str) -> Iterator[Place]:
    """Scale and bias of a layer normalisation."""
    yield _same((*path, "scale"), f"{name}.weight")
    yield _same((*path, "bias"), f"{name}.bias")


def fused_streams(path: Sequence[str], names: Sequence[str], model: Model) -> Iterator[Place]:
    """The fused projection (D, H, 3, K) of queries, keys and values, from one of each."""
    heads, width = model.heads, model.width
    parts = len(names)

    def kernel(*each: np.ndarray) -> np.ndarray:
        by_head = [a.T.reshape(width, heads, 1, -1) for a in each]
        return np.concatenate(by_head, axis=2).reshape(width, -1)

    def kernels(fused: np.ndarray) -> list[np.ndarray]:
        split = fused.reshape(width, heads, parts, -1)
        return [split[:, :, i].reshape(width, -1).T for i in range(parts)]

    def bias(*each: np.ndarray) -> np.ndarray:
        return np.stack([a.reshape(heads, -1) for a in each], axis=1).reshape(-1)

    def biases(fused: np.ndarray) -> list[np.ndarray]:
        split = fused.reshape(heads, parts, -1)
        return [split[:, i].reshape(-1) for i in range(parts)]

    yield Place((*path, "kernel"), tuple(f"{n}.weight" for n in names), kernel, kernels)
    yield Place((*path, "bias"), tuple(f"{n}.bias" for n in names), bias, biases)


def places_of(config: Config) -> list[Place]:
    """Every parameter of a raw-audio model, under the names of a bare model without a prefix."""
    model, front = config.model, config.model.frontend
    places: list[Place] = []
    for i in range(len(front.channels)):
        theirs = f"feature_extractor.conv_layers.{i}"
        places.append(_moved(("stem", f"kernel_{i}"), f"{theirs}.conv.weight", 2, 1, 0))
        if front.bias:
            places.append(_same(("stem", f"bias_{i}"), f"{theirs}.conv.bias"))
        if front.norm == "layer" or i == 0:
            places += norm(("stem", f"norm_{i}"), f"{theirs}.layer_norm")
    if front.project_norm:
        places += norm(("input_norm",), "feature_projection.layer_norm")
    places += dense(("input",), "feature_projection.projection")
    if front.mask_embedding:
        places.append(_same(("mask_embedding",), "masked_spec_embed"))
    places += _convolved(config)
    last = ("encoder", "norm") if model.pre_ln else ("embedding_norm",)
    places += norm(last, "encoder.layer_norm")
    if isinstance(model.attention, GatedBias):
        places.append(_same(("position_bias",), "encoder.layers.0.attention.rel_attn_embed.weight"))
    for i in range(model.layers):
        places += _layer(config, i)
    if model.letters:
        places += dense(("letter_head",), "lm_head")
    return places


def _convolved(config: Config) -> Iterator[Place]:
    front = config.model.frontend
    for i in range(front.position_layers):
        theirs = "encoder.pos_conv_embed.conv"
        if front.position_norm == "layer":
            theirs = f"encoder.pos_conv_embed.layers.{i}.conv"
        weight = f"{theirs}.weight"
        if front.position_norm == "weight":
            weight = f"{theirs}.parametrizations.weight.original1"
            length = f"{theirs}.parametrizations.weight.original0"
            shapes = (-1,), (1, 1, -1)
            yield _shaped(("positions", f"length_{i}"), length, *shapes)
        yield _moved(("positions", f"kernel_{i}"), weight, 2, 1, 0)
        yield _same(("positions", f"bias_{i}"), f"{theirs}.bias")
        if front.position_norm == "batch":
            kept = {"mean": "running_mean", "variance": "running_var"}
            for ours, name in (kept | {"scale": "weight", "shift": "bias"}).items():
                yield _same(
                    ("positions", f"{ours}_{i}"), f"encoder.pos_conv_embed.batch_norm.{name}"
                )


def _layer(config: Config, index: int) -> Iterator[Place]:
    path, theirs = ("encoder", f"layer_{index}"), f"encoder.layers.{index}"
    attention = (*path, "attention")
    names = [f"{theirs}.attention.{part}_proj" for part in "qkv"]
    yield from fused_streams((*attention, "streams"), names, config.model)
    yield from dense((*attention, "out"), f"{theirs}.attention.out_proj")
    yield from norm((*path, "norm_attention"), f"{theirs}.layer_norm")
    yield from norm((*path, "norm_ffn"), f"{theirs}.final_layer_norm")
    yield from dense((*path, "ffn_in"), f"{theirs}.feed_forward.intermediate_dense")
    yield from dense((*path, "ffn_out"), f"{theirs}.feed_forward.output_dense")
    if isinstance(config.model.attention, GatedBias):
        gate = (*attention, "algorithm")
        yield _moved((*gate, "gate_kernel"), f"{theirs}.attention.gru_rel_pos_linear.weight", 1, 0)
        yield _same((*gate, "gate_bias"), f"{theirs}.attention.gru_rel_pos_linear.bias")
        shapes = (-1,), (1, -1, 1, 1)
        yield _shaped((*gate, "constant"), f"{theirs}.attention.gru_rel_pos_const", *shapes)


def to_params(
    places: Sequence[Place], tensors: Tensors, where: Any = "the tensors"
) -> dict[str, Any]:
    """The tree of parameters, float32, of tensors that hold all that the places name.

    `where` names their file. Raises `InputError` for a tensor that cannot be brought to the form of
    its parameter.
    """
    params: dict[str, Any] = {}
    for place in places:
        node = params
        for key in place.path[:-1]:
            node = node.setdefault(key, {})
        each = [np.asarray(tensors[name], np.float32) for name in place.names]
        try:
            node[place.path[-1]] = np.ascontiguousarray(place.ours(*each))
        except ValueError:
            raise InputError(
                f"{where}: {place.names[0]} has the shape {each[0].shape}, which does not fit the "
                "config: check that it belongs to these weights"
            ) from None
    return params


def to_tensors(places: Sequence[Place], params: Mapping[str, Any]) -> Tensors:
    """The inverse of `to_params`."""
    found: Tensors = {}
    for place in places:
        node: Any = params
        for key in place.path:
            node = node[key]
        for name, array in zip(place.names, place.theirs(np.asarray(node)), strict=True):
            found[name] = np.ascontiguousarray(array)
    return found
