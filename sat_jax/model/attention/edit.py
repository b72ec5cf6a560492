"""What may be done to heads while a model runs: gates, spans and replaced maps, all traced."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class HeadEdit(NamedTuple):
    """What is done to the heads of one layer, or of all with a leading axis L; None is nothing."""

    gate: jax.Array | None = None
    """(H,) multiplies each head's contribution: 1 keeps it, 0 prunes it."""
    span: jax.Array | None = None
    """(H,) positions that a head may look away; what is beyond gets 0, and nothing is re-normalised
    unless `span_softmax` of the model is band."""
    swap: jax.Array | None = None
    """(H,) bool: heads whose maps are replaced by `maps`."""
    maps: jax.Array | None = None
    """(H, T, S) maps that stand in for those of the heads in `swap`."""


NO_EDIT = HeadEdit()
NO_SPAN = 2**30
"""A span that limits nothing, in arrays; elsewhere it is None."""


def whole_edit(
    layers: int, heads: int, gate: jax.Array | None = None, span: jax.Array | int | None = None
) -> HeadEdit:
    """The edit of a whole model: gate (L, H), and span a number or (L, H), in positions."""
    if span is not None:
        span = jnp.broadcast_to(jnp.asarray(span), (layers, heads))
    return HeadEdit(gate, span)


def limit_span(probs: jax.Array, span: jax.Array) -> jax.Array:
    """Maps (..., H, T, S) set to 0 where |q - k| > span (H,); rows are not re-normalised."""
    return jnp.where(within(probs.shape[-2:], span), probs, 0.0)


def within(shape: tuple[int, int], span: jax.Array) -> jax.Array:
    """Whether |q - k| <= span (H,), as (H, T, S) for `shape` = (T, S)."""
    query, key = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])[None, :]
    return jnp.abs(query - key) <= span[:, None, None]


def limit_of(span: int | None) -> int:
    """The positions that a span reaches: itself, or so many that it limits nothing."""
    return NO_SPAN if span is None else span


def joint_span(own: tuple[int | None, ...], span: jax.Array | None) -> jax.Array | None:
    """(H,) the shorter of each head's own span and `span` (H,); None where nothing is limited."""
    if all(each is None for each in own):
        return span
    limits = jnp.array([limit_of(each) for each in own])
    return limits if span is None else jnp.minimum(limits, span)


def replace_maps(probs: jax.Array, swap: jax.Array, maps: jax.Array, valid: jax.Array) -> jax.Array:
    """Maps (B, H, T, S) with those of the heads in `swap` (H,) replaced by `maps` (H, T, S).

    What replaces is cut to the valid keys (B, S) of each utterance, and each row is scaled to sum
    to 1, as a softmax over these keys does (Hassid et al. 2022, PAPA).
    """
    fixed = jnp.where(valid[:, None, None, :], maps, 0.0)
    fixed = fixed / jnp.maximum(fixed.sum(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return jnp.where(swap[:, None, None], fixed, probs)
