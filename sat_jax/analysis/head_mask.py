"""Values of the N heads that are not pruned, put at their places among all heads (L, H).

`head_mask` (L, H) is True for heads that are not pruned; they keep their layer and number. Analysis
works on arrays with one axis of these N heads, layer by layer; only the records that it ends in
have places for pruned heads, and hold NaN there.
"""

import numpy as np


def nothing_pruned(shape: tuple[int, ...]) -> np.ndarray:
    """`head_mask` of an intact model of `shape` = (L, H)."""
    return np.ones(shape, bool)


def flat_heads(values: np.ndarray, head_mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Values (U, N, ...) and the mask of their heads, from such values and `head_mask`.

    Without a mask values are (U, L, H, ...) of an intact model. Raises ValueError where the mask
    has another number of heads.
    """
    if head_mask is None:
        head_mask = nothing_pruned(values.shape[1:3])
        values = values.reshape(len(values), -1, *values.shape[3:])
    if values.shape[1] != head_mask.sum():
        raise ValueError(f"values of {values.shape[1]} heads, head_mask has {head_mask.sum()}")
    return values, head_mask


def in_place(values: np.ndarray, head_mask: np.ndarray, axis: int = 0) -> np.ndarray:
    """Values (..., N, ...) of the N heads that are not pruned, `axis` opened to (L, H).

    Pruned heads are NaN; integers become float64 for that. Raises ValueError where N is not the
    number of heads in `head_mask` (L, H).
    """
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    if head_mask.all():
        return values.reshape(*before, *head_mask.shape, *after)
    flat = np.full((*before, head_mask.size, *after), np.nan, values.dtype)
    flat[(slice(None),) * axis + (np.flatnonzero(head_mask),)] = values
    return flat.reshape(*before, *head_mask.shape, *after)


def layer_means(values: np.ndarray, head_mask: np.ndarray) -> np.ndarray:
    """Means over the heads of each layer of (U, N, R): (U, L, R); NaN for a layer without heads."""
    means = np.full((len(values), len(head_mask), values.shape[-1]), np.nan, values.dtype)
    layer_of = np.nonzero(head_mask)[0]
    for layer in np.unique(layer_of):
        means[:, layer] = values[:, layer_of == layer].mean(1)
    return means
