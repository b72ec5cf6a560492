"""Parameters of heads in, parameters of some of them out."""

from typing import Any

import jax
import numpy as np

from sat_jax.config import Model


def keep_heads(attention: Any, index: jax.Array, heads: int) -> Any:
    """Parameters of a `SelfAttention` of `heads` heads with only those in `index` (N,) left.

    Their order is that of `index`. Without any head, the bias of the output projection is left.
    """
    out = attention["out"]
    if not len(index):
        return {"out": {"bias": out["bias"]}}
    streams = attention["streams"]
    width = streams["kernel"].shape[0]
    kernel = streams["kernel"].reshape(width, heads, -1)[:, index].reshape(width, -1)
    bias = streams["bias"].reshape(heads, -1)[index].reshape(-1)
    back = out["kernel"].reshape(heads, -1, width)[index].reshape(-1, width)
    return {
        "streams": {"kernel": kernel, "bias": bias},
        "out": {"kernel": back, "bias": out["bias"]},
    }


def refine_params(params: Any, old: Model, new: Model) -> Any:
    """Parameters of an unrolled model `old` with only the heads that `new` has left.

    Heads of `new` have to be among those of `old`.
    """
    encoder = dict(params["encoder"])
    for index, (before, after) in enumerate(zip(old.head_mask, new.head_mask, strict=True)):
        layer = dict(encoder[f"layer_{index}"])
        place = np.array([before.index(head) for head in after], np.int32)
        layer["attention"] = keep_heads(layer["attention"], place, len(before))
        encoder[f"layer_{index}"] = layer
    return {**params, "encoder": encoder}
