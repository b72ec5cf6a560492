"""Sparse attention (Child et al. 2019, arXiv:1904.10509; arXiv:2006.05174): two kinds of heads.

With s = floor(sqrt(length of the utterance)), half of the heads see keys near them and the other
half keys that are spread over the utterance. Queries and keys share one projection. A head meets
about sqrt(T) keys per query, and only these are computed where nobody asks for the whole maps: keys
are gathered into groups that are multiplied as small full matrices.
"""

import functools
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.config import attention as settings
from sat_jax.errors import InputError
from sat_jax.model.attention.kernels import blocks_of, with_neighbours
from sat_jax.model.attention.scope import Scope, lengths_of
from sat_jax.model.attention.shared_query import SharedQuery, shared_logits
from sat_jax.model.attention.softmax import MASKED, masked_softmax
from sat_jax.model.dropout import dropout
from sat_jax.model.products import mixture, scores

Drop = Callable[[jax.Array], jax.Array]
"""Weights in, some of them dropped, out."""


def stride_of(lengths: jax.Array) -> jax.Array:
    """s = floor(sqrt(length)), at least 1, int32, of lengths (B,)."""
    return jnp.maximum(jnp.sqrt(lengths.astype(jnp.float32)).astype(jnp.int32), 1)


class Sparse(SharedQuery):
    """What both schemes share: the first half of the heads sees `near`, the others `far`.

    Raises `InputError` for an odd number of heads, which have no halves.
    """

    config: settings.Sparse
    DROPS: ClassVar[bool] = True

    @staticmethod
    def flops(positions: int, pairs: int, width: int, config: settings.Sparse) -> int:
        """Logits and mixture of about 2 sqrt(T) keys for every query."""
        del config
        return 4 * width * min(pairs, 2 * positions * int(positions**0.5))

    def setup(self) -> None:
        """No parameters; heads must have two halves."""
        if self.total % 2:
            raise InputError(
                f"model.attention {self.config.kind} gives each half of the heads its own keys, "
                f"and model.heads is {self.total}: give an even number"
            )

    def __call__(self, x: jax.Array, scope: Scope, *, query: jax.Array) -> jax.Array:
        """Maps (B, H, T, S), float32, of the projection (B, H, T, K); `x` is not used."""
        del x
        stride = stride_of(lengths_of(scope))[:, None, None]
        place = jnp.arange(query.shape[2])
        first = jnp.asarray(scope.numbers(self.heads) < self.total // 2)[None, :, None, None]
        near, far = (seen[:, None] for seen in self.seen(place[:, None], place[None, :], stride))
        allowed = jnp.where(first, near, far)
        if scope.allowed is not None:
            allowed &= scope.allowed
        return masked_softmax(shared_logits(query), scope.valid, allowed)

    def mix(
        self, x: jax.Array, scope: Scope, value: jax.Array, *, query: jax.Array
    ) -> jax.Array | None:
        """Mixtures (B, H, T, K) of the keys that are seen; None where heads are not known yet.

        Weights are dropped where the scope says so: those of the keys that are seen.
        """
        del x
        number = scope.numbers(self.heads)
        if not isinstance(number, np.ndarray):
            return None
        first = number < self.total // 2
        lengths = lengths_of(scope)
        keys = (None, None) if scope.rng is None else jax.random.split(scope.rng)
        parts = [
            mixed(
                *(query[:, chosen], value[:, chosen], lengths),
                functools.partial(dropout, key, rate=scope.dropout),
            )
            for mixed, chosen, key in zip(
                (self.mix_near, self.mix_far), (first, ~first), keys, strict=True
            )
            if chosen.any()
        ]
        order = np.argsort(np.concatenate([np.flatnonzero(first), np.flatnonzero(~first)]))
        mixed = jnp.concatenate(parts, axis=1)
        return mixed if (order == np.arange(len(order))).all() else mixed[:, order]


class SparseStrided(Sparse):
    """Near: |q - k| <= s; far: (q - k) mod s = 0."""

    @staticmethod
    def seen(query: jax.Array, key: jax.Array, stride: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Which keys (S) each query (T) sees, near and far, by stride (B, 1, 1)."""
        return abs(query - key) <= stride, (query - key) % stride == 0

    @staticmethod
    def mix_near(query: jax.Array, value: jax.Array, lengths: jax.Array, drop: Drop) -> jax.Array:
        """Mixtures of a band as wide as the longest utterance asks for, in blocks."""
        return banded(query, value, lengths, stride_of(lengths), drop)

    @staticmethod
    def mix_far(query: jax.Array, value: jax.Array, lengths: jax.Array, drop: Drop) -> jax.Array:
        """Mixtures within the classes of positions that are equal modulo s."""
        t = query.shape[2]
        most = int(t**0.5)
        stride = stride_of(lengths)[:, None]
        # A length n < (s + 1)^2 has at most s + 2 positions in each class.
        slots = jnp.arange(most * (most + 2))[None]
        group, member = slots // (most + 2), slots % (most + 2)
        source = jnp.where(group < stride, group + member * stride, t)
        place = jnp.arange(t)[None]
        back = place % stride * (most + 2) + place // stride
        return grouped(query, value, lengths, source, back, (most, most + 2), drop)


class SparseFixed(Sparse):
    """Near: the query's own block of s positions; far: the last position of every whole block."""

    @staticmethod
    def seen(query: jax.Array, key: jax.Array, stride: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Which keys (S) each query (T) sees, near and far, by stride (B, 1, 1)."""
        last = jnp.broadcast_to(key % stride == stride - 1, jnp.broadcast_shapes(
            query.shape, key.shape, stride.shape))  # fmt: skip
        return query // stride == key // stride, last

    @staticmethod
    def mix_near(query: jax.Array, value: jax.Array, lengths: jax.Array, drop: Drop) -> jax.Array:
        """Mixtures within blocks."""
        t = query.shape[2]
        most = int(t**0.5)
        stride = stride_of(lengths)[:, None]
        slots = jnp.arange((most + 2) * most)[None]
        block, member = slots // most, slots % most
        source = jnp.where(member < stride, block * stride + member, t)
        place = jnp.arange(t)[None]
        back = place // stride * most + place % stride
        return grouped(query, value, lengths, source, back, (most + 2, most), drop)

    @staticmethod
    def mix_far(query: jax.Array, value: jax.Array, lengths: jax.Array, drop: Drop) -> jax.Array:
        """Mixtures of the last positions of blocks, the same keys for every query."""
        b, h, t, k = query.shape
        most = int(t**0.5)
        stride = stride_of(lengths)[:, None]
        last = (jnp.arange(most + 2)[None] + 1) * stride - 1
        seen = last < lengths[:, None]
        index = jnp.minimum(last, t - 1)[:, None, :, None]
        key, value = (
            jnp.take_along_axis(each, jnp.broadcast_to(index, (b, h, most + 2, k)), axis=2)
            for each in (query, value)
        )
        logits = scores(query * k**-0.5, key) + jnp.where(seen, 0.0, MASKED)[:, None, None]
        probs = drop(jax.nn.softmax(logits, axis=-1))
        return mixture(probs.astype(value.dtype), value)


def banded(
    query: jax.Array, value: jax.Array, lengths: jax.Array, reach: jax.Array, drop: Drop
) -> jax.Array:
    """Mixtures (B, H, T, K) over keys within `reach` (B,) positions, at most sqrt(T), in blocks."""
    b, h, t, k = query.shape
    most = max(int(t**0.5), 1)
    queries = max(most, 16)
    if queries + 2 * most >= t:
        queries, most = t, 0
    blocks = -(-t // queries)
    keys = queries + 2 * most

    def folded(array: jax.Array) -> jax.Array:
        return array.reshape(b, h * blocks, array.shape[-2], k)

    near = folded(blocks_of(query, queries))
    key, value = (folded(with_neighbours(blocks_of(a, queries), most)) for a in (query, value))
    place = np.arange(blocks)[:, None] * queries + np.arange(keys)[None] - most
    real = (place >= 0) & (place < lengths[:, None, None])
    offset = np.abs(np.arange(keys)[None] - most - np.arange(queries)[:, None])
    seen = (offset <= reach[:, None, None])[:, None] & real[:, :, None]
    logits = scores(near * k**-0.5, key).reshape(b, h, blocks, queries, keys)
    probs = jax.nn.softmax(logits + jnp.where(seen, 0.0, MASKED)[:, None], axis=-1)
    probs = drop(probs).reshape(b, h * blocks, queries, keys).astype(value.dtype)
    return mixture(probs, value).reshape(b, h, blocks * queries, k)[:, :, :t]


def grouped(
    query: jax.Array,
    value: jax.Array,
    lengths: jax.Array,
    source: jax.Array,
    back: jax.Array,
    shape: tuple[int, int],
    drop: Drop,
) -> jax.Array:
    """Mixtures (B, H, T, K) within groups: `source` (B, G * W) are positions, T and more for none.

    `back` (B, T) is the slot of each position, `shape` = (G, W). Padding gets what means nothing.
    """
    b, h, t, k = query.shape
    real = source < lengths[:, None]
    group, value = (
        regroup(each, source, back, real).reshape(b, h * shape[0], shape[1], k)
        for each in (query, value)
    )
    mask = jnp.where(real, 0.0, MASKED).reshape(b, 1, shape[0], 1, shape[1])
    logits = scores(group * k**-0.5, group).reshape(b, h, *shape, shape[1]) + mask
    probs = drop(jax.nn.softmax(logits, axis=-1))
    probs = probs.reshape(b, h * shape[0], shape[1], shape[1])
    mixed = mixture(probs.astype(value.dtype), value).reshape(b, h, -1, k)
    inside = jnp.arange(t)[None] < lengths[:, None]
    return regroup(mixed, back, source, inside)


@jax.custom_vjp
def regroup(rows: jax.Array, source: jax.Array, back: jax.Array, real: jax.Array) -> jax.Array:
    """Rows (B, H, N, K) at `source` (B, M), 0 where `real` (B, M) is False: (B, H, M, K).

    `back` (B, N) says where each row went, so that the gradient is a gather as well: XLA:CPU
    scatters one row after the other.
    """
    return _gathered(rows, source, real)


def _gathered(rows: jax.Array, source: jax.Array, real: jax.Array) -> jax.Array:
    index = jnp.clip(source, 0, rows.shape[2] - 1)[:, None, :, None]
    return jnp.where(real[:, None, :, None], jnp.take_along_axis(rows, index, axis=2), 0)


def _regroup_forward(
    rows: jax.Array, source: jax.Array, back: jax.Array, real: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return _gathered(rows, source, real), (source, back, real)


def _regroup_backward(saved: tuple[jax.Array, ...], change: jax.Array) -> tuple:
    source, back, real = saved
    b, n = back.shape
    # A row was taken if the slot that it went to is a real one that came from it.
    slot = jnp.clip(back, 0, source.shape[1] - 1)
    origin = jnp.take_along_axis(source, slot, axis=1)
    taken = jnp.take_along_axis(real, slot, axis=1) & (origin == jnp.arange(n)[None])
    taken &= back < source.shape[1]
    return _gathered(change, back, taken), None, None, None


regroup.defvjp(_regroup_forward, _regroup_backward)
