"""Rows of features in, phone boundaries out: where neighbouring frames stop resembling each other.

Source: supplement 2 of arXiv:2006.03265. Rows are attention, hidden states, MFCC or log-mel. With
K[i,j] = exp(-|v_i - v_j| / alpha), a frame's neighbourhood grows from the diagonal while K[i,j] >
beta * mean_j K[i,j]; S[t] counts the neighbourhoods that are laid across t, mirrored at t; its
minima are the boundaries. Nothing loops over frames, and nothing but the distances is (T, T) in
memory: a neighbourhood is an interval, so that S is a sum of intervals.

Where positions are `stack` frames, the paper repeats rows (and columns) to reach frames. Frames of
one position then have distance 0 and everything up to S follows from positions, exactly.
"""

import jax
import jax.numpy as jnp
from jax import lax

FEW = 4
"""Limits up to which looking at every distance takes less time than preparing a search."""


def distances(rows: jax.Array, valid: jax.Array) -> jax.Array:
    """Euclidean distances (T, T) between rows (T, F) of one utterance; infinite to padding.

    valid (T,). Products of differences to the mean row: large common parts would cost digits.
    """
    real = jnp.where(valid[:, None], rows.astype(jnp.float32), 0.0)
    count = jnp.maximum(valid.sum(), 1)
    centred = jnp.where(valid[:, None], real - real.sum(0) / count, 0.0)
    products = jnp.matmul(centred, centred.T, precision="highest")
    squares = jnp.diagonal(products)
    squared = jnp.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    apart = jnp.sqrt(squared) * (1.0 - jnp.eye(len(rows)))
    return jnp.where(valid[:, None] & valid[None, :], apart, jnp.inf)


def mean_distance(distance: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean distance of two different frames, the natural unit of alpha; 0 for one frame."""
    pairs = valid[:, None] & valid[None, :] & ~jnp.eye(len(valid), dtype=bool)
    return jnp.where(pairs, distance, 0.0).sum() / jnp.maximum(pairs.sum(), 1)


def mean_similarity(distance: jax.Array, valid: jax.Array, alpha: jax.Array) -> jax.Array:
    """Mean similarity mean_j exp(-distance / alpha) of every row, (T,); padding is not counted."""
    return jnp.exp(-distance / alpha).sum(-1) / jnp.maximum(valid.sum(), 1)


def furthest(distance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Largest distance on the way from query to key, (T, T) to the left and to the right.

    Row i of the right one rises from 0 at key i and is 0 before it; the left one is mirrored, so
    that both can be searched: key T - 1 - j is at j.
    """
    place = jnp.arange(len(distance))
    right = jnp.where(place[None, :] >= place[:, None], distance, 0.0)
    left = jnp.where(place[None, :] <= place[:, None], distance, 0.0)
    return lax.cummax(left[:, ::-1], axis=1), lax.cummax(right, axis=1)


def reaches(left: jax.Array, right: jax.Array, limit: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How far each row's neighbourhood grows to the left and right, (G, T) int32 each.

    left and right (T, T) as from `furthest`; for every limit (G, T) a neighbourhood holds the keys
    that are reached before the distance is limit or more; -1 where the query does not even
    resemble itself enough (limit <= 0). A search, so that a limit costs log T and not T.
    """
    place = jnp.arange(limit.shape[-1])
    search = jax.vmap(lambda row, values: jnp.searchsorted(row, values, side="left"))
    to_left = search(left, limit.T).T - (len(place) - 1 - place) - 1
    to_right = search(right, limit.T).T - place - 1
    alive = limit > 0
    return jnp.where(alive, to_left, -1), jnp.where(alive, to_right, -1)


def nearest(distance: jax.Array, limit: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What `reaches` gives, from the distances themselves: cheaper for few limits (G, T)."""
    place = jnp.arange(limit.shape[-1])
    ahead = place[None, :] >= place[:, None]

    def extents(each: jax.Array) -> tuple[jax.Array, jax.Array]:
        ends = distance >= each[:, None]
        after = jnp.where(ends & ahead, place[None, :], len(place)).min(-1)
        before = jnp.where(ends & ahead.T, place[None, :], -1).max(-1)
        alive = each > 0
        return jnp.where(alive, place - before - 1, -1), jnp.where(alive, after - place - 1, -1)

    return jax.vmap(extents)(limit)


def overlap(left: jax.Array, right: jax.Array, stack: int) -> jax.Array:
    """The score S (T * stack,) int32 of neighbourhoods that reach left and right (T,) positions.

    S[t] = sum_k Kf[t-k, t+k]: the neighbourhood of frame i covers the cells (i, i - l .. i + r),
    which lie on the anti-diagonals of the frames i - l // 2 .. i + r // 2.
    """
    t = len(left)
    inside = jnp.arange(stack)
    frame = jnp.arange(t)[:, None] * stack + inside
    first = frame - (left[:, None] * stack + inside) // 2
    last = frame + ((right[:, None] + 1) * stack - 1 - inside) // 2
    alive = (left >= 0)[:, None].astype(jnp.int32)
    steps = jnp.zeros(t * stack + 1, jnp.int32)
    steps = steps.at[first].add(alive, mode="drop").at[last + 1].add(-alive, mode="drop")
    return jnp.cumsum(steps)[:-1]


def minima(score: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Local minima of score (T,): bool (T,) at the last frame of each, and twice its place (T,).

    A plateau is one minimum at its centre, which may lie between two frames: hence twice. The ends
    are no minima. Padding scores 0, so that the last valid frame never is one.
    """
    place = jnp.arange(len(score))
    step = jnp.diff(score, prepend=score[:1])
    # One number says where the latest change was and whether it was a fall.
    latest = lax.cummax(jnp.where(step != 0, 2 * place + (step < 0), -1))
    rises = jnp.append(step[1:] > 0, False)
    return rises & (latest >= 0) & (latest % 2 == 1), latest // 2 + place


def boundary_counts(
    distance: jax.Array,
    valid: jax.Array,
    target: jax.Array,
    alpha: jax.Array,
    beta: jax.Array,
    stack: int,
) -> jax.Array:
    """Hits and predictions (A, G, 2) int32 of one utterance for alpha (A,) and beta (A, G).

    distance (T, T) and valid (T,) are at positions of `stack` frames, target (2 * T * stack - 1,)
    is the reference that a boundary at each half frame would hit, -1 for none, never falling where
    it is not -1 (see `segment_score.targets`). Strict counting: a reference is hit once.
    """

    similarity = jax.vmap(lambda a: mean_similarity(distance, valid, a))(alpha)
    # K > beta * mean K, said of the distance: no exponential per beta.
    limit = -alpha[:, None, None] * jnp.log(beta[:, :, None] * similarity[:, None, :])
    limit = jnp.where(valid, limit, 0.0).reshape(-1, len(valid))
    few = len(limit) <= FEW
    extents = nearest(distance, limit) if few else reaches(*furthest(distance), limit)

    def counts(left: jax.Array, right: jax.Array) -> jax.Array:
        found, twice = minima(overlap(left, right, stack))
        best = lax.cummax(jnp.where(found, target[twice], -1))
        hits = (best > jnp.concatenate([jnp.full(1, -1), best[:-1]])).sum()
        return jnp.stack([hits, found.sum()]).astype(jnp.int32)

    return jax.vmap(counts)(*extents).reshape(*beta.shape, 2)
