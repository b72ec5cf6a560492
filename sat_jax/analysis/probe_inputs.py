"""Features of one setting in, the inputs that its probes learn from out.

A frozen representation is far from what an optimiser likes: a few directions hold nearly all of its
variance. Standardising each dimension leaves that as it is. Decorrelating as well does not change
what a probe can express, for its first layer undoes any invertible map, but what it learns in few
steps: without it, a small budget measures the shape of the representation instead of its content.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

CONSTANT = 1e-5
"""A dimension whose deviation is below this share of its mean does not vary: float32 sums of a
constant are no better."""


class Inputs(NamedTuple):
    """One setting, ready to learn from, and how to get from its features to its inputs."""

    train: jax.Array
    """(n, D)."""
    checked: jax.Array
    """(m, D), rows of the validation set."""
    mean: jax.Array
    """(D,), of the training rows."""
    scale: jax.Array
    """(D,), 1 over their deviation; 0 where there is none."""
    turn: jax.Array | None
    """(D, D), decorrelates what is centred and scaled; None: left alone."""


def standardised(
    features: jax.Array, train: jax.Array, checked: jax.Array, ridge: float | None
) -> Inputs:
    """Rows `train` (n,) and `checked` (m,) of features (N, D), by statistics of the former alone.

    Each dimension gets mean 0 and deviation 1; one that does not vary becomes 0. With a ridge the
    dimensions are then decorrelated: inverse Cholesky factor of their correlations plus ridge.
    """
    known = features[train]
    mean = known.mean(0)
    known = known - mean
    deviation = jnp.sqrt(jnp.mean(known**2, 0))
    varies = deviation > CONSTANT * jnp.abs(mean)
    scale = jnp.where(varies, 1 / jnp.where(varies, deviation, 1), 0)
    known, other = known * scale, (features[checked] - mean) * scale
    if ridge is None:
        return Inputs(known, other, mean, scale, None)
    # TF32 would lose the directions that the ridge leaves.
    product = functools.partial(jnp.matmul, precision="highest")
    eye = jnp.eye(len(mean))
    lower = jnp.linalg.cholesky(product(known.T, known) / len(known) + ridge * eye)
    turn = jax.scipy.linalg.solve_triangular(lower, eye, lower=True).T
    return Inputs(product(known, turn), product(other, turn), mean, scale, turn)


def for_features(inputs: Inputs, kernel: jax.Array) -> jax.Array:
    """Kernel (D, F) of inputs as the kernel of features that are only centred."""
    if inputs.turn is not None:
        kernel = jnp.matmul(inputs.turn, kernel, precision="highest")
    return inputs.scale[:, None] * kernel
