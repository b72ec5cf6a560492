"""One representation in, how much of another follows from it linearly out."""

import jax
import jax.numpy as jnp


def explained_variance(
    features: jax.Array, targets: jax.Array, train: jax.Array, test: jax.Array, ridge: float = 1e-4
) -> jax.Array:
    """R2 of targets (N, F) by ridge regression on features (N, D), over all their dimensions.

    Learned in closed form from the rows `train` (n,), measured on the rows `test` (m,), against the
    training mean: negative where that is better. `ridge` is relative to each feature's variance.
    """
    mean, centre = features[train].mean(0), targets[train].mean(0)
    known, wanted = features[train] - mean, targets[train] - centre
    deviation = jnp.sqrt(jnp.mean(known**2, 0))
    scale = jnp.where(deviation > 1e-5 * jnp.abs(mean), 1 / jnp.maximum(deviation, 1e-30), 0)
    known, other = known * scale, (features[test] - mean) * scale
    correlations = jnp.matmul(known.T, known, precision="highest") / len(known)
    common = jnp.matmul(known.T, wanted, precision="highest") / len(known)
    eye = jnp.eye(len(mean))
    solution = jax.scipy.linalg.solve(correlations + ridge * eye, common, assume_a="pos")
    true = targets[test] - centre
    wrong = true - jnp.matmul(other, solution, precision="highest")
    return 1 - (wrong**2).sum() / (true**2).sum()
