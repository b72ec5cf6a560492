"""Per-utterance numbers in, their intervals over resampled utterances out: no second pass.

One draw picks as many utterances as there are, with replacement; the same draws serve every
statistic of a study, so that differences between heads are paired.
"""

import jax
import jax.numpy as jnp
import numpy as np

INTERVAL = (2.5, 97.5)
"""Percentiles of the draws that bound every interval."""


def bootstrap_weights(key: jax.Array, utterances: int, draws: int) -> jax.Array:
    """How often each utterance is drawn, as shares (draws, utterances) that sum to 1."""
    picks = jax.random.randint(key, (draws, utterances), 0, utterances)
    rows = jnp.arange(draws)[:, None]
    return jnp.zeros((draws, utterances)).at[rows, picks].add(1.0 / utterances)


def drawn_means(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Weighted means of values (U, ...) for every draw of weights (G, U): (G, ...), float32."""
    flat = values.reshape(len(values), -1).astype(jnp.float32)
    means = jnp.einsum("gu,un->gn", weights, flat, precision="highest")
    return means.reshape(len(weights), *values.shape[1:])


def interval(drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lower and upper end of the 95 % interval over draws (G, ...); NaN draws are left out."""
    low, high = jnp.nanpercentile(drawn.astype(jnp.float32), jnp.array(INTERVAL), axis=0)
    return low, high


def interval_around(value: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of `value` (...): the spread of draws (G, ...) about their mean.

    For measures that fit something to the utterances. A draw has fewer different ones, so that all
    of them come out higher than the value itself; what they tell is how far they scatter. Where
    value and draws lie between 0 and 1, so do the ends.
    """
    low, high = value + np.percentile(drawn - drawn.mean(0), INTERVAL, axis=0)
    least, most = np.minimum(drawn.min(0), value), np.maximum(drawn.max(0), value)
    low = np.where(least >= 0, np.maximum(low, 0.0), low)
    return low, np.where(most <= 1, np.minimum(high, 1.0), high)
