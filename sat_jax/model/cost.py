"""The shape of a model in, what a forward pass costs out."""

from typing import Any

import flax.linen as nn
import jax

from sat_jax.config import Model
from sat_jax.model.attention.edit import limit_of
from sat_jax.model.attention.kernels import block_shape
from sat_jax.model.attention.self_attention import algorithm_of


def parameter_count(params: Any) -> int:
    """Numbers in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def forward_flops(module: nn.Module, positions: int) -> int:
    """Floating-point operations of all matrix products for one utterance of `positions`.

    What the module counts outside of its encoder, and the encoder's layers. A multiplication and an
    addition are two. A softmax within a span computes what its blocks hold
    (see `attention.kernels`), any other all keys. Softmax, normalisation and GELU are not counted.
    """
    model = module.config
    width = model.width // model.heads
    projections = len(algorithm_of(model.attention).PROJECTIONS) + 1
    total = module.flops(positions) + map_flops(module, positions)
    for spans in model.head_spans:
        total += 2 * positions * model.width * len(spans) * width * (projections + 1)
        total += 4 * positions * model.width * model.ffn
    return total


def map_flops(module: nn.Module, positions: int) -> int:
    """The part of `forward_flops` from projections to the heads' mixtures of values."""
    model = module.config
    width = model.width // model.heads
    algorithm = algorithm_of(model.attention)
    pairs = [_pairs(model, positions, span) for spans in model.head_spans for span in spans]
    return sum(algorithm.flops(positions, each, width, model.attention) for each in pairs)


def _pairs(model: Model, positions: int, span: int | None) -> int:
    """Pairs of positions whose products are computed."""
    if model.span_softmax == "row":
        return positions**2
    queries, keys = block_shape(positions, limit_of(span))
    return -(-positions // queries) * queries * keys
