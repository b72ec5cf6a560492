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


class PhoneShares(NamedTuple):
    """Attention between phones of heads, or of a uniform map where there is no H; sums to 1."""

    joint: jax.Array
    """(B, H, P, P) share that queries of phone m give to keys of phone n."""
    own: jax.Array
    """(B, H, P) the part of joint's diagonal that is inside the query's own segment."""
    recurring: jax.Array
    """(B, H, P) the rest of that diagonal: other segments of the same phone."""


def phone_attention(probs: jax.Array, valid: jax.Array, frames: PhoneFrames) -> PhoneShares:
    """Attention from phone to phone of every head, and how much of it stays in a phone's segment.

    probs (B, H, T, T), valid (B, T). `joint` is P' before the mean over utterances (eq. 4). Padding
    is not counted. Heads one after the other, which on a CPU keeps a map in cache. `recurring` is a
    sum of its own: as joint's diagonal less `own` it would be what rounding leaves of two numbers
    that are nearly equal in a head that looks around its position.
    """
    stack = frames.labels.shape[-1]
    positions = jnp.maximum(valid.sum(-1), 1).astype(jnp.float32)
    scale = 1.0 / (stack * stack * positions)
    phones = frames.counts.shape[-1]
    spoken = jax.nn.one_hot(frames.labels, phones, dtype=jnp.float32)
    inside = same_segment(frames.segment)
    outside = same_phone(frames) - inside

    def measure(maps: jax.Array) -> PhoneShares:
        rows = maps.astype(jnp.float32)

        def of_queries(keys: jax.Array) -> jax.Array:
            attended = (rows[:, None] * keys).sum(-1)
            shares = jnp.einsum("brt,btrp->bp", attended, spoken, precision="highest")
            return shares * scale[:, None]

        heard = jnp.einsum("bts,bsp->btp", rows, frames.counts, precision="highest")
        joint = jnp.einsum("btm,btn->bmn", frames.counts, heard, precision="highest")
        return PhoneShares(joint * scale[:, None, None], of_queries(inside), of_queries(outside))

    shares = lax.map(measure, probs.swapaxes(0, 1))
    return PhoneShares(*(part.swapaxes(0, 1) for part in shares))


def same_segment(segment: jax.Array) -> jax.Array:
    """Frames of key position s in the segment of frame r of query position t: (B, R, T, S)."""
    query = segment.swapaxes(1, 2)[:, :, :, None, None]
    key = segment[:, None, None]
    return ((query == key) & (query >= 0)).sum(-1).astype(jnp.float32)


def same_phone(frames: PhoneFrames) -> jax.Array:
    """Frames of key position s with the phone of frame r of query position t: (B, R, T, S)."""
    phones = frames.counts.shape[-1]
    spoken = jax.nn.one_hot(frames.labels, phones, dtype=jnp.float32)
    # Counts of at most R frames: sums of whole numbers, exact at any precision of a product.
    return jnp.einsum("btrp,bsp->brts", spoken, frames.counts)


def uniform_phone_attention(valid: jax.Array, frames: PhoneFrames) -> PhoneShares:
    """What `phone_attention` gives for uniform attention, without H: joint (B, P, P) is eq. 5."""
    stack = frames.labels.shape[-1]
    total = jnp.maximum(valid.sum(-1), 1).astype(jnp.float32) * stack
    share = frames.counts.sum(1) / total[:, None]
    spoken = jax.nn.one_hot(frames.labels, frames.counts.shape[-1], dtype=jnp.float32)
    inside = same_segment(frames.segment)

    def of_queries(keys: jax.Array) -> jax.Array:
        shares = jnp.einsum("brt,btrp->bp", keys.sum(-1), spoken, precision="highest")
        return shares / (total * total)[:, None]

    joint = share[:, :, None] * share[:, None, :]
    return PhoneShares(joint, of_queries(inside), of_queries(same_phone(frames) - inside))
