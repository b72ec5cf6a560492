"""Maps of the heads that are not pruned out of a trace; how many are pruned, in words."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def joined_unpruned_maps(probs: Sequence[jax.Array | None]) -> jax.Array:
    """The maps of all heads that are not pruned, layer by layer: (B, N, T, S)."""
    return jnp.concatenate([maps for maps in probs if maps is not None], 1)


def pruned_sentence(head_mask: np.ndarray) -> str:
    """How many heads were pruned, as a sentence for a reader; empty for an intact model."""
    count = int((~head_mask).sum())
    if not count:
        return ""
    verb = "head was" if count == 1 else "heads were"
    return f"{count} of {head_mask.size} {verb} pruned; the others keep their numbers."
