"""Routing attention (Roy et al. 2020, arXiv:2003.05997): keys of the query's own cluster."""

import jax
import jax.numpy as jnp
from jax import lax

from sat_jax.config import attention as settings
from sat_jax.model.attention.scope import Scope, lengths_of
from sat_jax.model.attention.shared_query import SharedQuery, shared_logits
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.attention.sparse import stride_of


class Routing(SharedQuery):
    """Maps over keys that fall into the same of floor(sqrt(length)) clusters as the query.

    Clusters are found anew in every utterance and head by spherical k-means, which begins with
    evenly spaced positions and takes `rounds` rounds: no state is kept between batches, and no
    gradient flows through the choice. A query always sees itself. Clusters are of any size, so that
    no static shape holds them and all logits are computed.
    """

    config: settings.Routing

    @staticmethod
    def flops(positions: int, pairs: int, width: int, config: settings.Routing) -> int:
        """Logits and mixture of all pairs, and distances to sqrt(T) clusters in every round."""
        clusters = int(positions**0.5)
        return 4 * width * (pairs + (config.rounds + 1) * positions * clusters)

    def __call__(self, x: jax.Array, scope: Scope, *, query: jax.Array) -> jax.Array:
        """Maps (B, H, T, S), float32, of the projection (B, H, T, K); `x` is not used."""
        del x
        found = clusters(query, lengths_of(scope), self.config.rounds)
        allowed = found[..., :, None] == found[..., None, :]
        if scope.allowed is not None:
            allowed &= scope.allowed
        return masked_softmax(shared_logits(query), scope.valid, allowed)

    def mix(self, x: jax.Array, scope: Scope, value: jax.Array, *, query: jax.Array) -> None:
        """None: clusters are of any size."""
        del x, scope, value, query


def clusters(points: jax.Array, lengths: jax.Array, rounds: int) -> jax.Array:
    """Cluster (B, H, T) int32 of each of points (B, H, T, K), of which lengths (B,) are valid.

    Points count by their direction. Ties go to the cluster with the lower number; one that nothing
    falls into stays where it is.
    """
    points = lax.stop_gradient(points).astype(jnp.float32)
    points = points / jnp.maximum(jnp.linalg.norm(points, axis=-1, keepdims=True), 1e-12)
    t = points.shape[2]
    most = max(int(t**0.5), 1)
    count = stride_of(lengths)[:, None]
    number = jnp.arange(most)[None]
    begin = jnp.minimum(number * lengths[:, None] // count, t - 1)
    centres = jnp.take_along_axis(points, begin[:, None, :, None], axis=2)
    real = (jnp.arange(t) < lengths[:, None])[:, None, :, None]

    def nearest(centres: jax.Array) -> jax.Array:
        likeness = jnp.einsum("bhtk,bhck->bhtc", points, centres)
        return jnp.where(number < count, 0.0, -jnp.inf)[:, None, None] + likeness

    def improve(_: int, centres: jax.Array) -> jax.Array:
        member = jax.nn.one_hot(nearest(centres).argmax(-1), most) * real
        sums = jnp.einsum("bhtc,bhtk->bhck", member, points)
        norm = jnp.linalg.norm(sums, axis=-1, keepdims=True)
        return jnp.where(norm > 1e-6, sums / jnp.maximum(norm, 1e-6), centres)

    return nearest(lax.fori_loop(0, rounds, improve, centres)).argmax(-1).astype(jnp.int32)
