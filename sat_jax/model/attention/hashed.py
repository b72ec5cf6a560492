"""Attention to the keys that a random projection finds alike (locality-sensitive hashing).

After arXiv:2006.05174: queries and keys share one projection x; each query i keeps the `keys` keys
with the largest hash score (a_i . Q(x_i)) (a_i . P(x_j)), where a_i is a Gaussian direction of its
own, the same for all heads, and P and Q make of the largest inner product the smallest angle. No
gradient flows through the choice. As every query has a direction of its own, the scores are those
of all pairs of positions: choosing takes quadratic time, and only the softmax is over few keys.
"""

import jax
import jax.numpy as jnp
from jax import lax

from sat_jax.config import attention as settings
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.shared_query import SharedQuery, shared_logits
from sat_jax.model.attention.softmax import masked_softmax

Pair = tuple[jax.Array, jax.Array]


def norms(x: jax.Array) -> jax.Array:
    """Euclidean norms (..., 1) of x (..., K)."""
    return jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))


def largest(norm: jax.Array, valid: jax.Array) -> jax.Array:
    """The largest norm (B, H, 1, 1) of the valid positions; 1 where all are 0."""
    most = jnp.where(valid[:, None, :, None], norm, 0.0).max(axis=2, keepdims=True)
    return jnp.where(most > 0, most, 1.0)


def rest(norm: jax.Array, total: jax.Array | float = 1.0) -> jax.Array:
    """What a vector of this norm lacks to one of norm `total`."""
    return jnp.sqrt(jnp.maximum(total * total - norm * norm, 0.0))


def kth_largest(x: jax.Array, k: int) -> jax.Array:
    """The k-th largest of the last axis, float32 without NaN: (..., S) to (..., 1).

    Bit by bit of the ordered integers that stand for floats, the highest first: 32 comparisons of
    all values, which XLA:CPU does many times as fast as it sorts.
    """
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    top = jnp.uint32(1 << 31)
    rising = jnp.where(bits >= top, ~bits, bits | top)

    def settle(number: jax.Array, found: jax.Array) -> jax.Array:
        higher = found | (top >> number.astype(jnp.uint32))
        return jnp.where((rising >= higher).sum(-1, keepdims=True) >= k, higher, found)

    found = lax.fori_loop(0, 32, settle, jnp.zeros((*x.shape[:-1], 1), jnp.uint32))
    return lax.bitcast_convert_type(jnp.where(found >= top, found ^ top, ~found), jnp.float32)


class Hashed(SharedQuery):
    """Maps over the chosen keys. A subclass has `transformed(x, valid)`: Q, P (B, H, T, K + m)."""

    config: settings.Hashed

    @staticmethod
    def flops(positions: int, pairs: int, width: int, config: settings.Hashed) -> int:
        """Hash scores, logits and mixture of all pairs."""
        del positions, config
        return 6 * width * pairs

    def __call__(self, x: jax.Array, scope: Scope, *, query: jax.Array) -> jax.Array:
        """Maps (B, H, T, S), float32, of the projection (B, H, T, K); `x` is not used."""
        del x
        allowed = self.chosen(lax.stop_gradient(query).astype(jnp.float32), scope)
        if scope.allowed is not None and allowed is not None:
            allowed &= scope.allowed
        elif allowed is None:
            allowed = scope.allowed
        return masked_softmax(shared_logits(query), scope.valid, allowed)

    def mix(self, x: jax.Array, scope: Scope, value: jax.Array, *, query: jax.Array) -> None:
        """None: hash scores are of all pairs, and gathering keys takes longer than a product."""
        del x, scope, value, query

    def chosen(self, query: jax.Array, scope: Scope) -> jax.Array | None:
        """Which keys each query keeps (B, H, T, S); None where it keeps all. Ties: the first."""
        length, most = query.shape[2], self.config.keys
        if most >= length:
            return None
        hashed = self.hash_scores(query, scope)
        hashed = jnp.where(scope.valid[:, None, None, :], hashed, -jnp.inf)
        last = kth_largest(hashed, most)
        above, level = hashed > last, hashed == last
        left = most - above.sum(-1, keepdims=True)
        return above | (level & (jnp.cumsum(level, axis=-1) <= left))

    def hash_scores(self, query: jax.Array, scope: Scope) -> jax.Array:
        """Scores (B, H, T, S) of every key for every query."""
        asking, kept = self.transformed(query, scope.valid)
        key = jax.random.key(self.config.hash_seed) if scope.rng is None else scope.rng
        shape = (self.longest, asking.shape[-1])
        direction = jax.random.normal(key, shape)[: query.shape[2]]
        of_keys = jnp.einsum("tk,bhsk->bhts", direction, kept)
        if self.config.faithful:
            return jnp.einsum("tk,bhsk->bhts", direction, asking) * of_keys
        return jnp.einsum("tk,bhtk->bht", direction, asking)[..., None] * of_keys


def appended(x: jax.Array, *more: jax.Array) -> jax.Array:
    """x (..., K) with further coordinates (..., 1)."""
    return jnp.concatenate([x, *(jnp.broadcast_to(m, norms(x).shape) for m in more)], axis=-1)


class SignAlsh(Hashed):
    """Sign-ALSH, m = 2 (Shrivastava & Li 2015): Q = [x; 0; 0], P = [x; 1/2 - |x|^2; 1/2 - |x|^4].

    x is scaled to a largest norm of 0.75. `faithful`: powers of the norm before scaling.
    """

    def transformed(self, x: jax.Array, valid: jax.Array) -> Pair:
        """Q(x) and P(x)."""
        raw = norms(x)
        x = 0.75 * x / largest(raw, valid)
        norm = raw if self.config.faithful else norms(x)
        zero = jnp.zeros(())
        return appended(x, zero, zero), appended(x, 0.5 - norm**2, 0.5 - norm**4)


class Xbox(Hashed):
    """XBOX (Bachrach et al. 2014): Q = [x; 0], P = [x; sqrt(phi^2 - |x|^2)], phi the top norm."""

    def transformed(self, x: jax.Array, valid: jax.Array) -> Pair:
        """Q(x) and P(x)."""
        norm = norms(x)
        return appended(x, jnp.zeros(())), appended(x, rest(norm, largest(norm, valid)))


class XboxQnf(Hashed):
    """XBOX with queries brought to the norm phi of the keys (Huang et al. 2018, QNF)."""

    def transformed(self, x: jax.Array, valid: jax.Array) -> Pair:
        """Q(x) and P(x)."""
        norm = norms(x)
        phi = largest(norm, valid)
        asking = phi * x / jnp.where(norm > 0, norm, 1.0)
        return appended(asking, jnp.zeros(())), appended(x, rest(norm, phi))


class Simple(Hashed):
    """Simple-LSH (Neyshabur & Srebro 2015): Q = [x / |x|; 0], P = [x; sqrt(1 - |x|^2)].

    x of P is scaled to a largest norm of 1. `faithful`: the last coordinate is that of the
    normalised vector, 0, beside the vector as it is.
    """

    def transformed(self, x: jax.Array, valid: jax.Array) -> Pair:
        """Q(x) and P(x)."""
        norm = norms(x)
        if self.config.faithful:
            return appended(x, jnp.zeros(())), appended(x, jnp.zeros(()))
        scaled = x / largest(norm, valid)
        asking = x / jnp.where(norm > 0, norm, 1.0)
        return appended(asking, jnp.zeros(())), appended(scaled, rest(norms(scaled)))


class SimpleAlsh(Hashed):
    """Simple-ALSH: Q = [x; sqrt(1 - |x|^2); 0], P = [x; 0; sqrt(1 - |x|^2)], largest norm 1
    (Neyshabur & Srebro 2015, section 5)."""

    def transformed(self, x: jax.Array, valid: jax.Array) -> Pair:
        """Q(x) and P(x)."""
        scaled = x / largest(norms(x), valid)
        lacking, zero = rest(norms(scaled)), jnp.zeros(())
        return appended(scaled, lacking, zero), appended(scaled, zero, lacking)
