"""Queries, keys and values in, mixtures out without maps in memory, by Pallas' kernel for TPUs."""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.flash_attention import BlockSizes, SegmentIds, flash_attention

from sat_jax.mesh import on_own_heads

LANES = 128
"""Positions are a multiple of it in the kernel."""
BLOCKS = (512, 384, 256, LANES)
"""Positions that the kernel holds at once: the most of these that divide the length."""
WIDEST = 128
"""Widest head of which the kernel makes no multiple of it."""


def can_flash(query: jax.Array) -> bool:
    """Whether the kernel knows heads of this width (B, H, T, K)."""
    return query.shape[-1] <= WIDEST or query.shape[-1] % WIDEST == 0


def flash_context(
    query: jax.Array, key: jax.Array, value: jax.Array, lengths: jax.Array
) -> jax.Array:
    """Dot-product attention (B, H, T, K) over the first `lengths` (B,) keys of each utterance.

    Every device computes its own utterances and heads. Padded queries get mixtures of the valid
    keys, which mean nothing. Dao et al., FlashAttention (arXiv:2205.14135).
    """
    return on_own_heads(_flash, query.shape[1])(query, key, value, lengths)


def _flash(query: jax.Array, key: jax.Array, value: jax.Array, lengths: jax.Array) -> jax.Array:
    length, width = query.shape[2:]
    padded = -(-length // LANES) * LANES
    rows = ((0, 0), (0, 0), (0, padded - length), (0, 0))
    query, key, value = (jnp.pad(part, rows) for part in (query, key, value))
    inside = (jnp.arange(padded) < lengths[:, None]).astype(jnp.int32)
    segments = SegmentIds(jnp.ones_like(inside), inside)
    block = next(size for size in BLOCKS if padded % size == 0)
    mixed = flash_attention(
        *(query, key, value),
        segment_ids=segments,
        sm_scale=width**-0.5,
        block_sizes=_blocks(block),
    )
    return mixed[:, :, :length]


def _blocks(size: int) -> BlockSizes:
    forward = dict.fromkeys(("block_q", "block_k_major", "block_k"), size)
    keys = ("block_q_major_dkv", "block_k_major_dkv", "block_k_dkv", "block_q_dkv")
    queries = ("block_k_major_dq", "block_k_dq", "block_q_dq")
    return BlockSizes(**forward, block_b=1, **dict.fromkeys((*keys, *queries), size))
