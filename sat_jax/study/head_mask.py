"""A model's settings in, which of its heads there are out; maps of these heads out of a trace."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.config import Model
from sat_jax.errors import InputError


def head_mask(model: Model) -> np.ndarray:
    """Which heads a model has left, (L, H) bool; raises `InputError` where there is none."""
    left = np.zeros((model.layers, model.heads), bool)
    for layer, heads in enumerate(model.head_mask):
        left[layer, list(heads)] = True
    if not left.any():
        raise InputError("model.kept: no head is left, so there is nothing to see; keep at least 1")
    return left


def unpruned_maps(probs: Sequence[jax.Array], left: np.ndarray) -> list[jax.Array]:
    """Maps (B, H, T, S) of each layer, cut to the heads in `left` (L, H)."""
    return [
        maps if heads.all() else maps[:, np.flatnonzero(heads)]
        for maps, heads in zip(probs, left, strict=True)
    ]


def joined_unpruned_maps(probs: Sequence[jax.Array], left: np.ndarray) -> jax.Array:
    """The maps of all heads in `left` (L, H), layer by layer: (B, N, T, S)."""
    return jnp.concatenate(unpruned_maps(probs, left), 1)


def removed(left: np.ndarray) -> str:
    """How many heads are gone, as a sentence for a reader; empty for an intact model."""
    gone = int((~left).sum())
    if not gone:
        return ""
    verb = "head was" if gone == 1 else "heads were"
    return f"{gone} of {left.size} {verb} removed; those that are left keep their numbers."
