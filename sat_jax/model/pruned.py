"""Parameters of heads in, parameters of some of them out."""

from typing import Any

import jax


def keep_heads(attention: Any, index: jax.Array, heads: int) -> Any:
    """Parameters of a `SelfAttention` of `heads` heads with only those in `index` (N,) left.

    Their order is that of `index`. Without any head, the bias of the output projection is left.
    """
    streams, out = attention["streams"], attention["out"]
    if not len(index):
        return {"out": {"bias": out["bias"]}}
    width = streams["kernel"].shape[0]
    kernel = streams["kernel"].reshape(width, heads, -1)[:, index].reshape(width, -1)
    bias = streams["bias"].reshape(heads, -1)[index].reshape(-1)
    back = out["kernel"].reshape(heads, -1, width)[index].reshape(-1, width)
    return {
        "streams": {"kernel": kernel, "bias": bias},
        "out": {"kernel": back, "bias": out["bias"]},
    }
