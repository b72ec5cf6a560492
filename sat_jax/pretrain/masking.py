"""Clean positions in, corrupted positions and the choice of what to predict out.

Masked acoustic modelling as in Mockingjay (arXiv:1910.12638, section 2.2), drawn on device from a
key: spans of positions are chosen; an utterance's chosen positions are all zeroed, all replaced by
other positions of it, or all kept.
"""

import jax
import jax.numpy as jnp
from jax import lax


def choose_spans(key: jax.Array, valid: jax.Array, share: float, span: int) -> jax.Array:
    """Choose about `share` of each row's valid positions in whole spans that never overlap.

    valid (B, T), a prefix of each row; returns bool (B, T). The number of spans is rounded at
    random so that its mean is exact, and at least one where a span fits. Placements are uniform
    over all that do not overlap. Padding is never chosen, and an utterance's choice does not
    depend on how far its batch is padded.
    """
    slot_key, round_key = jax.random.split(key)
    b, t = valid.shape
    lengths = valid.sum(-1)
    dither = jax.random.uniform(round_key, (b,))
    count = jnp.floor(share * lengths / span + dither).astype(jnp.int32)
    count = jnp.clip(count, jnp.minimum(1, lengths // span), lengths // span)
    # Taking `count` of the slots left when every span shrinks to one position, then growing the
    # spans again, visits each placement without overlap once.
    slots = lengths - count * (span - 1)
    score = _row_uniform(slot_key, b, t)
    score = jnp.where(jnp.arange(t) < slots[:, None], score, 2.0)
    rank = jnp.argsort(jnp.argsort(score, axis=-1), axis=-1)
    taken = rank < count[:, None]
    start = jnp.arange(t) + (jnp.cumsum(taken, -1) - 1) * (span - 1)
    starts = jax.vmap(_count)(start, taken)
    begun = jnp.cumsum(starts, -1)
    ended = jnp.pad(begun, ((0, 0), (span, 0)))[:, :t]
    return (begun - ended) > 0


def overlapping_spans(key: jax.Array, valid: jax.Array, share: float, span: int) -> jax.Array:
    """Choose spans that may overlap: `share` * length / `span` starts in each row of valid (B, T).

    Starts are drawn without replacement from all places where a span fits, so that fewer than
    `share` of the positions are chosen (TERA, wav2vec 2.0, HuBERT). Their number is rounded at
    random so that its mean is exact, and at least one where a span fits. Padding is never chosen,
    and does not change what is. Returns bool (B, T).
    """
    place_key, round_key = jax.random.split(key)
    b, t = valid.shape
    lengths = valid.sum(-1)
    fits = jnp.maximum(lengths - span + 1, 0)
    dither = jax.random.uniform(round_key, (b,))
    count = jnp.floor(share * lengths / span + dither).astype(jnp.int32)
    count = jnp.clip(count, jnp.minimum(1, fits), fits)
    score = jnp.where(jnp.arange(t) < fits[:, None], _row_uniform(place_key, b, t), 2.0)
    starts = jnp.argsort(jnp.argsort(score, axis=-1), axis=-1) < count[:, None]
    begun = jnp.cumsum(starts, -1)
    ended = jnp.pad(begun, ((0, 0), (span, 0)))[:, :t]
    return (begun - ended) > 0


def choose_bands(key: jax.Array, rows: int, bins: int, share: float) -> jax.Array:
    """One band of neighbouring bins for each row, bool (B, F): TERA's hidden channels.

    Its width is uniform from 0 to `share` of the bins, its place uniform over all that fit.
    """
    width_key, place_key = jax.random.split(key)
    width = jax.random.randint(width_key, (rows, 1), 0, int(share * bins) + 1)
    first = jnp.floor(jax.random.uniform(place_key, (rows, 1)) * (bins - width + 1))
    place = jnp.arange(bins)
    return (place >= first) & (place < first + width)


def _count(positions: jax.Array, taken: jax.Array) -> jax.Array:
    """How many of the taken `positions` (T,) are at each position; those beyond T are dropped."""
    return jnp.zeros(positions.shape, jnp.int32).at[positions].add(taken, mode="drop")


def _row_uniform(key: jax.Array, rows: int, width: int) -> jax.Array:
    """Uniform numbers (rows, width) whose row prefixes do not depend on `width`."""

    def draw(row: jax.Array, column: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, row), column))

    return jax.vmap(jax.vmap(draw, (None, 0)), (0, None))(jnp.arange(rows), jnp.arange(width))


def corrupt(
    key: jax.Array,
    inputs: jax.Array,
    valid: jax.Array,
    chosen: jax.Array,
    zero_share: float,
    replace_share: float,
) -> jax.Array:
    """Corrupt the chosen positions of `inputs` (B, T, F): zeros, other positions, or untouched.

    One draw per utterance decides: zeros with probability `zero_share`, positions drawn from the
    same utterance with `replace_share`, else kept. Padding and unchosen positions never change.
    """
    dice_key, source_key = jax.random.split(key)
    b, t, _ = inputs.shape
    dice = jax.random.uniform(dice_key, (b, 1, 1))
    lengths = jnp.maximum(valid.sum(-1), 1)
    source = jnp.floor(_row_uniform(source_key, b, t) * lengths[:, None]).astype(jnp.int32)
    replaced = jnp.take_along_axis(inputs, source[:, :, None], axis=1)
    changed = jnp.where(
        dice < zero_share, 0.0, jnp.where(dice < zero_share + replace_share, replaced, inputs)
    )
    return jnp.where(chosen[:, :, None], changed, inputs)


def interpolate(target: jax.Array, chosen: jax.Array, valid: jax.Array) -> jax.Array:
    """Frames (B, T, F) with the chosen ones drawn as straight lines between their neighbours.

    The neighbours are the nearest valid frames that were not chosen; at an end the only one is
    repeated. This is the prediction that a trained model has to beat.
    """
    b, t, _ = target.shape
    known = valid & ~chosen
    index = jnp.broadcast_to(jnp.arange(t), (b, t))
    left = lax.cummax(jnp.where(known, index, -1), axis=1)
    right = lax.cummin(jnp.where(known, index, t), axis=1, reverse=True)
    left, right = jnp.where(left < 0, right, left), jnp.where(right >= t, left, right)
    gap = jnp.maximum(right - left, 1)
    weight = ((index - left) / gap)[:, :, None]
    at_left, at_right = (
        jnp.take_along_axis(target, jnp.clip(at, 0, t - 1)[:, :, None], axis=1)
        for at in (left, right)
    )
    drawn = at_left * (1 - weight) + at_right * weight
    return jnp.where(chosen[:, :, None], drawn, target)
