"""Attention maps and frame labels in, attention between phones out: one utterance at a time.

Source: arXiv:2006.03265, eq. 4-6, with the authors' correction of eq. 4 (one T in the
denominator); without the query's own segment: PAR of Shim et al., ICLR 2022. The paper repeats the
rows and columns of a map R times to reach frames and divides by R; that sum over frames is done
here on positions, with the number of frames of each phone in each position, which is the same
number for a ninth of the work at R = 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class PhoneFrames(NamedTuple):
    """Which phone is where in a batch of utterances, at the resolution of a model's positions."""

    counts: jax.Array
    """(B, T, P) frames of each phone in each position; 0 in padding."""
    labels: jax.Array
    """(B, T, R) phone of each frame of a position, -1 in padding."""
    segment: jax.Array
    """(B, T, R) number of the stretch of one label that a frame lies in, -1 in padding."""


def phone_frames(labels: jax.Array, valid: jax.Array, stack: int, phones: int) -> PhoneFrames:
    """Frame labels (B, frames) int, grouped into the positions of valid (B, T).

    Frames that do not fill a last position are dropped, as the model drops them. Two neighbouring
    phones of the same label are one segment.
    """
    b, t = valid.shape
    labels = labels[:, : t * stack]
    change = jnp.concatenate(
        [jnp.zeros((b, 1), bool), labels[:, 1:] != labels[:, :-1]], axis=1
    ).reshape(b, t, stack)
    segment = change.reshape(b, -1).cumsum(1).reshape(b, t, stack)
    real = valid[:, :, None]
    grouped = jnp.where(real, labels.reshape(b, t, stack), -1)
    counts = jax.nn.one_hot(grouped, phones, dtype=jnp.float32).sum(2)
    return PhoneFrames(counts, grouped, jnp.where(real, segment, -1))


def phone_attention(
    probs: jax.Array, valid: jax.Array, frames: PhoneFrames
) -> tuple[jax.Array, jax.Array]:
    """Attention from phone to phone of every head, and the part inside the query's own segment.

    probs (B, H, T, T), valid (B, T). Returns joint (B, H, P, P), the share of the attention that
    queries of phone m give to keys of phone n (P' before the mean over utterances, eq. 4, sums to
    1), and own (B, H, P), the share on the query's own segment. Padding is not counted. Heads one
    after the other, which on a CPU keeps a map in cache.
    """
    stack = frames.labels.shape[-1]
    positions = jnp.maximum(valid.sum(-1), 1).astype(jnp.float32)
    scale = 1.0 / (stack * stack * positions)
    phones = frames.counts.shape[-1]
    spoken = jax.nn.one_hot(frames.labels, phones, dtype=jnp.float32)
    inside = same_segment(frames.segment)

    def measure(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = maps.astype(jnp.float32)
        heard = jnp.einsum("bts,bsp->btp", rows, frames.counts, precision="highest")
        joint = jnp.einsum("btm,btn->bmn", frames.counts, heard, precision="highest")
        kept = (rows[:, None] * inside).sum(-1)
        own = jnp.einsum("brt,btrp->bp", kept, spoken, precision="highest")
        return joint * scale[:, None, None], own * scale[:, None]

    joint, own = lax.map(measure, probs.swapaxes(0, 1))
    return joint.swapaxes(0, 1), own.swapaxes(0, 1)


def same_segment(segment: jax.Array) -> jax.Array:
    """Frames of key position s in the segment of frame r of query position t: (B, R, T, S)."""
    query = segment.swapaxes(1, 2)[:, :, :, None, None]
    key = segment[:, None, None]
    return ((query == key) & (query >= 0)).sum(-1).astype(jnp.float32)


def uniform_phone_attention(valid: jax.Array, frames: PhoneFrames) -> tuple[jax.Array, jax.Array]:
    """What `phone_attention` gives for uniform attention: joint (B, P, P) (eq. 5), own (B, P)."""
    stack = frames.labels.shape[-1]
    total = jnp.maximum(valid.sum(-1), 1).astype(jnp.float32) * stack
    share = frames.counts.sum(1) / total[:, None]
    spoken = jax.nn.one_hot(frames.labels, frames.counts.shape[-1], dtype=jnp.float32)
    inside = same_segment(frames.segment).sum(-1)
    own = jnp.einsum("brt,btrp->bp", inside, spoken, precision="highest")
    return share[:, :, None] * share[:, None, :], own / (total * total)[:, None]
