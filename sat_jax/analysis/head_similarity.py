"""Attention maps of G heads of one utterance in, how alike each two of them are out.

Measures of arXiv:2406.16099, section 3. Corrected by default: `attn_fro` is divided by its largest
value sqrt(2 T), `attn_pearson` is a correlation proper, and `attn_js` has the base 2, so that all
lie in 0 to 1 (-1 to 1) whatever the length. `faithful` gives the published code's.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import linalg

from sat_jax.analysis.similarity import aligned, kept_directions

HEAD_MEASURES = ("attn_fro", "attn_pearson", "attn_js")
"""Measures of two heads; of two layers, the mean over heads of the first of the best of the
second."""
FLAT_MEASURES = ("attn_cka", "attn_svcca")
"""Measures of two layers whose heads are columns and whose pairs of positions are rows."""


def head_pairs(maps: jax.Array, valid: jax.Array, faithful: bool = False) -> dict[str, jax.Array]:
    """`HEAD_MEASURES` (G, G) of maps (G, T, T) with valid (T,) positions, and for the others
    `count`, `sums` (G,) and `products` (G, G) of all entries that are valid.

    Padded queries and keys have no part in it. Rows whose attention is the same for all keys have
    no correlation: it counts as 0.
    """
    n = valid.sum().astype(jnp.float32)
    both = valid[:, None] & valid[None, :]
    maps = jnp.where(both, maps.astype(jnp.float32), 0.0)
    flat = maps.reshape(len(maps), -1)
    products = jnp.einsum("gx,hx->gh", flat, flat, precision="highest")
    size = jnp.diag(products)
    apart = jnp.sqrt(jnp.maximum(size[:, None] + size[None, :] - 2 * products, 0.0))
    rows = jnp.where(both, maps - 1.0 / n, 0.0)
    norm = jnp.sqrt((rows**2).sum(-1, keepdims=True))
    rows = jnp.where(norm > 1e-7, rows / jnp.where(norm > 1e-7, norm, 1.0), 0.0)
    rows = rows.reshape(len(maps), -1)
    correlation = jnp.einsum("gx,hx->gh", rows, rows, precision="highest") / n
    own = jax.vmap(_entropy)(maps)
    upper = lax.map(lambda number: _divergences(number, maps, own), jnp.arange(len(maps)))
    divergence = (upper + upper.T) / n
    if faithful:
        fro, pearson, js = 1 - apart, correlation * (n - 1) / n, 1 - divergence
    else:
        fro, pearson = 1 - apart / jnp.sqrt(2 * n), correlation
        js = 1 - divergence / np.log(2)
    return {
        "attn_fro": fro,
        "attn_pearson": pearson,
        "attn_js": js,
        "count": n**2,
        "sums": flat.sum(1),
        "products": products,
    }


def _divergences(number: jax.Array, maps: jax.Array, entropy: jax.Array) -> jax.Array:
    """Jensen-Shannon divergences (G,) in nats of one of maps (G, T, T), of entropies (G,), to each
    later one, summed over queries; 0 for the others."""

    def apart(later: jax.Array) -> jax.Array:
        both = _entropy((maps[number] + maps[later]) / 2)
        return jnp.maximum(both - (entropy[number] + entropy[later]) / 2, 0.0)

    def to(later: jax.Array) -> jax.Array:
        # Logarithms are most of the work: each pair once.
        return lax.cond(later > number, apart, lambda _: jnp.float32(0), later)

    return lax.map(to, jnp.arange(len(maps)))


def _entropy(probability: jax.Array) -> jax.Array:
    return jax.scipy.special.entr(probability).sum()


def between_layers(pairs: np.ndarray, of: np.ndarray, by: np.ndarray) -> float:
    """For each head `of` a layer the most similar one `by` the other, the mean: pairs (G, G)."""
    return float(pairs[np.ix_(of, by)].max(1).mean())


def flat_measures(
    covariance: np.ndarray, of: np.ndarray, by: np.ndarray, faithful: bool = False
) -> dict[str, float]:
    """`FLAT_MEASURES` of the heads `of` one layer and `by` the other: covariance (G, G) of all."""
    cross = covariance[np.ix_(of, by)]
    own, other = (covariance[np.ix_(part, part)] for part in (of, by))
    return {
        "attn_cka": aligned(cross, own, other),
        "attn_svcca": _svcca(cross, own, other, faithful),
    }


def _svcca(cross: np.ndarray, own: np.ndarray, other: np.ndarray, faithful: bool) -> float:
    deviations = [np.sqrt(np.maximum(np.diag(c), np.finfo(np.float64).tiny)) for c in (own, other)]
    bases = []
    for covariance, deviation in zip((own, other), deviations, strict=True):
        values, vectors = linalg.eigh(covariance / np.outer(deviation, deviation))
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        kept = kept_directions(values, faithful)
        bases.append(vectors[:, :kept] / np.sqrt(np.maximum(values[:kept], 1e-12 * values[0])))
    if not all(basis.shape[1] for basis in bases):
        return float("nan")
    correlation = cross / np.outer(*deviations)
    found = linalg.svdvals(bases[0].T @ correlation @ bases[1])
    return float(np.clip(found, 0, 1).mean())
