"""What an attention algorithm is told beside its projections, and what it has to offer.

An algorithm is a linen module `(config, heads, total, longest)`: the fields of its kind in the
config, the heads it has, the heads its layer had before any was pruned, and the most positions that
it will meet. It offers

- `PROJECTIONS`, the projections of the input that it needs beside the values;
- a call `(x, scope, **projections)` to maps (B, H, T, S) in float32;
- `mix(x, scope, value, **projections)` to mixtures (B, H, T, K) of the values without such maps, or
  None where it knows no way that is shorter;
- `HEAD_AXES`, name to axis of those of its own parameters that have a head axis: heads that are
  pruned lose their part of them;
- `start(kernels, model)`, how the kernels (D, H, P, K) of its projections begin in a model;
- `flops(positions, pairs, width, config)` of one head, from projections to its mixture, where
  `pairs` of positions would be computed at most;
- `DOT_PRODUCT`, whether it is plain scaled dot-product attention, which can be computed within a
  span, and `DROPS`, whether its `mix` drops weights where the scope says so.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Scope(NamedTuple):
    """Over what maps are made, beside the input and its projections."""

    valid: jax.Array
    """(B, S) bool, a prefix of each row: keys that are no padding."""
    allowed: jax.Array | None = None
    """(H, T, S) bool: the keys that the softmax may run over; None for all."""
    side: Any = None
    """What the model hands to every layer, a tree of arrays (H, ...)."""
    number: jax.Array | np.ndarray | None = None
    """(H,) numbers of the heads before any was pruned; None where none was."""
    rng: jax.Array | None = None
    """Randomness of a training step; None: the same numbers every time."""
    dropout: float = 0.0
    """Share of the weights that are dropped, where `rng` is given."""

    def numbers(self, heads: int) -> jax.Array | np.ndarray:
        """`number`, or 0 to `heads` - 1."""
        return np.arange(heads) if self.number is None else self.number


def lengths_of(scope: Scope) -> jax.Array:
    """(B,) int32 valid keys of each utterance."""
    return scope.valid.sum(-1, dtype=jnp.int32)
