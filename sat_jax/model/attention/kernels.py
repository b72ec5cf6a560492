"""Queries, keys and values in, mixtures out without maps in memory: fused, and within a span.

Within a span, time and memory are linear in length: queries are cut into blocks. A block meets its
own keys and as many of its neighbours' as the span reaches into them, so that no array has a query
for every key.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.mesh import platform
from sat_jax.model.attention.edit import NO_SPAN, limit_of
from sat_jax.model.attention.flash import can_flash, flash_context
from sat_jax.model.attention.softmax import MASKED
from sat_jax.model.dropout import dropout
from sat_jax.model.products import mixture, scores

BLOCK = 16
"""Fewest queries in a block: shorter matrices would not keep a core busy."""


def fused_context(
    query: jax.Array, key: jax.Array, value: jax.Array, valid: jax.Array
) -> jax.Array:
    """Dot-product attention (B, H, T, K) without maps in memory on accelerators: cuDNN's or Pallas'
    kernel where there is one, else XLA's.

    `valid` (B, S) has to be a prefix of each row. An utterance without any valid key attends to its
    first one, as cuDNN gives NaN for none.
    """
    lengths = jnp.maximum(valid.sum(-1, dtype=jnp.int32), 1)
    if platform() == "tpu" and can_flash(query):
        return flash_context(query, key, value, lengths)
    cudnn = (
        platform() == "gpu"
        and query.dtype == jnp.bfloat16
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 128
    )
    context = jax.nn.dot_product_attention(
        query.transpose(0, 2, 1, 3),
        key.transpose(0, 2, 1, 3),
        value.transpose(0, 2, 1, 3),
        key_value_seq_lengths=lengths,
        implementation="cudnn" if cudnn else "xla",
    )
    return context.transpose(0, 2, 1, 3)


def block_shape(length: int, span: int) -> tuple[int, int]:
    """Queries in a block, and keys that each of them meets, at `length` positions.

    Where neighbours would not save anything, one block holds all.
    """
    queries = max(span, BLOCK)
    keys = queries + 2 * span
    return (queries, keys) if keys < length else (length, length)


def banded_context(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    valid: jax.Array,
    spans: tuple[int | None, ...],
    drop_key: jax.Array | None = None,
    rate: float = 0.0,
) -> jax.Array:
    """Dot-product attention (B, H, T, K) with the softmax over valid keys within each head's span.

    query, key, value (B, H, T, K), valid (B, T); `spans` are H numbers of positions, None
    for no limit. A query without any valid key in reach, which is padding, gets a finite mixture that
    means nothing. `drop_key` drops probabilities with probability `rate`.
    """
    length = query.shape[2]
    reach = np.array([NO_SPAN if limit_of(span) >= length else span for span in spans])
    groups = np.unique(reach).tolist()
    if len(groups) == 1:
        return _one_span(query, key, value, valid, groups[0], drop_key, rate)
    members = [np.flatnonzero(reach == span) for span in groups]
    contexts = [
        _one_span(
            *(part[:, heads] for part in (query, key, value)),
            valid,
            span,
            None if drop_key is None else jax.random.fold_in(drop_key, number),
            rate,
        )
        for number, (span, heads) in enumerate(zip(groups, members, strict=True))
    ]
    return jnp.concatenate(contexts, axis=1)[:, np.argsort(np.concatenate(members))]


def _one_span(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    valid: jax.Array,
    span: int,
    drop_key: jax.Array | None,
    rate: float,
) -> jax.Array:
    """`banded_context` of heads that share one span."""
    b, h, t, k = query.shape
    queries, keys = block_shape(t, span)
    beside = (keys - queries) // 2
    blocks = -(-t // queries)

    def folded(array: jax.Array) -> jax.Array:
        # Blocks stand beside heads: the products know one axis for both.
        return array.reshape(b, h * blocks, array.shape[-2], k)

    query = folded(blocks_of(query, queries))
    key, value = (
        folded(with_neighbours(blocks_of(part, queries), beside)) for part in (key, value)
    )
    reached = with_neighbours(blocks_of(valid[:, None, :, None], queries), beside)[..., 0]
    offset = np.arange(keys)[None, :] - beside - np.arange(queries)[:, None]
    mask = jnp.where(reached[:, :, :, None, :] & (np.abs(offset) <= span), 0.0, MASKED)
    logits = scores(query * k**-0.5, key).reshape(b, h, blocks, queries, keys)
    probs = dropout(drop_key, jax.nn.softmax(logits + mask, axis=-1), rate)
    probs = probs.reshape(b, h * blocks, queries, keys).astype(value.dtype)
    return mixture(probs, value).reshape(b, h, blocks * queries, k)[:, :, :t]


def blocks_of(array: jax.Array, width: int) -> jax.Array:
    """(B, H, T, K) as blocks (B, H, N, width, K), the last one filled up with 0."""
    b, h, t, k = array.shape
    array = jnp.pad(array, ((0, 0), (0, 0), (0, -t % width), (0, 0)))
    return array.reshape(b, h, -1, width, k)


def with_neighbours(blocks: jax.Array, beside: int) -> jax.Array:
    """Blocks (B, H, N, W, K) with `beside` positions of both neighbours, 0 beyond the ends."""
    if not beside:
        return blocks
    none = jnp.zeros_like(blocks[:, :, :1, :beside])
    before = jnp.concatenate([none, blocks[:, :, :-1, -beside:]], axis=2)
    after = jnp.concatenate([blocks[:, :, 1:, :beside], none], axis=2)
    return jnp.concatenate([before, blocks, after], axis=3)
