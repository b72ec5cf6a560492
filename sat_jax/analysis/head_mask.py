"""Values of the heads that a model has left in; arrays (L, H) out, NaN where a head is gone.

A refined model keeps the numbers of its heads: `left` (L, H) is True for those that are there.
"""

import numpy as np

PRUNED = "pruned"
"""The category of a head that was removed."""


def nothing_pruned(shape: tuple[int, ...]) -> np.ndarray:
    """`left` of an intact model of `shape` = (L, H)."""
    return np.ones(shape, bool)


def in_place(values: np.ndarray, left: np.ndarray, axis: int = 0) -> np.ndarray:
    """Values (..., N, ...) of the N heads that are left, `axis` opened to (L, H).

    Integers become float64, as heads that are gone are NaN. Raises ValueError where N is not the
    number of heads in `left` (L, H).
    """
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    if left.all():
        return values.reshape(*before, *left.shape, *after)
    flat = np.full((*before, left.size, *after), np.nan, values.dtype)
    flat[(slice(None),) * axis + (np.flatnonzero(left),)] = values
    return flat.reshape(*before, *left.shape, *after)


def layer_means(values: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Means over the heads of each layer that are left of (..., L, H, N): (..., L, N).

    NaN for a layer without heads. Values of heads that are gone are not looked at.
    """
    means = np.full((*values.shape[:-2], values.shape[-1]), np.nan, values.dtype)
    for layer, heads in enumerate(left):
        if heads.any():
            means[..., layer, :] = values[..., layer, :, :][..., heads, :].mean(-2)
    return means
