"""Parameters of all heads in, parameters of some of them out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.config import Model
from sat_jax.model.attention.self_attention import algorithm_of
from sat_jax.model.encoder import layer_params, with_layer_params


def keep_heads(layer: Any, config: Model, index: jax.Array, heads: int) -> Any:
    """Parameters of an `EncoderLayer` of `heads` heads with only those in `index` (N,).

    Their order is that of `index`. Without any head, the bias of the output projection is left.
    """
    attention = layer["attention"]
    out = attention["out"]
    if not len(index):
        return {**layer, "attention": {"out": {"bias": out["bias"]}}}
    streams = attention["streams"]
    width = streams["kernel"].shape[0]
    kernel = streams["kernel"].reshape(width, heads, -1)[:, index].reshape(width, -1)
    bias = streams["bias"].reshape(heads, -1)[index].reshape(-1)
    back = out["kernel"].reshape(heads, -1, width)[index].reshape(-1, width)
    kept = {
        "streams": {"kernel": kernel, "bias": bias},
        "out": {"kernel": back, "bias": out["bias"]},
    }
    if "algorithm" in attention:
        axes = algorithm_of(config.attention).HEAD_AXES
        kept["algorithm"] = {
            name: jnp.take(leaf, jnp.asarray(index), axis=axes[name]) if name in axes else leaf
            for name, leaf in attention["algorithm"].items()
        }
    return {**layer, "attention": kept}


def prune_params(params: Any, old: Model, new: Model) -> Any:
    """Parameters of an unrolled model `old` with only the heads that `new` has.

    Heads of `new` have to be among those of `old`. Layers that shared their parameters have their
    own afterwards.
    """
    layers = []
    for index, (before, after) in enumerate(
        zip(old.unpruned_heads, new.unpruned_heads, strict=True)
    ):
        place = np.array([before.index(head) for head in after], np.int32)
        layers.append(keep_heads(layer_params(params, old, index), old, place, len(before)))
    return with_layer_params(params, layers)
