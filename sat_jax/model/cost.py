"""The shape of a model in, what a forward pass costs out."""

from typing import Any

import jax

from sat_jax.config import Model
from sat_jax.model.attention.self_attention import algorithm_of
from sat_jax.model.banded import block_shape


def parameter_count(params: Any) -> int:
    """Numbers in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def forward_flops(model: Model, positions: int, input_width: int, output_width: int) -> int:
    """Floating-point operations of all matrix products for one utterance of `positions`.

    A multiplication and an addition are two. A softmax within a span computes what its blocks hold
    (see `model.banded`), any other all keys. Softmax, normalisation and GELU are not counted.
    """
    width = model.width // model.heads
    streams = len(algorithm_of(model.attention).STREAMS) + 1
    total = 2 * positions * model.width * (input_width + model.width + output_width)
    for spans in model.spans_left:
        projections = 2 * positions * model.width * len(spans) * width * (streams + 1)
        maps = sum(_map_size(model, positions, span) for span in spans)
        total += projections + 4 * width * maps + 4 * positions * model.width * model.ffn
    return total


def _map_size(model: Model, positions: int, span: int) -> int:
    if model.span_softmax == "row":
        return positions**2
    queries, keys = block_shape(positions, span)
    return -(-positions // queries) * queries * keys
