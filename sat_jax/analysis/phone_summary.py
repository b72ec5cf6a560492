"""Attention between phones, summed over utterances, in; relation maps, concentration, shares out.

Source: arXiv:2006.03265, eq. 6 and section 5 (relation, concentration, focus, neglect); without the
query's own segment (PAR): Shim et al., ICLR 2022. Everything is a ratio to uniform attention on the
same utterances. Intervals resample groups of utterances; each draw resamples the baseline as well.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sat_jax.analysis.bootstrap import bootstrap_weights, drawn_means, interval
from sat_jax.analysis.head_mask import flat_heads, in_place
from sat_jax.analysis.phone_maps import PhoneShares
from sat_jax.records.phones import Interval, PhoneSummary


class Attention(NamedTuple):
    """Sums over the utterances of each group: n (U,) counts them, the rest is (U, ...).

    joint (U, N, P, P), own and recurring (U, N, P) of the N heads that are not pruned, or
    (U, L, H, ...) of an intact model, as from `phone_attention`; the same of uniform attention,
    (U, P, P) and (U, P), as from `uniform_phone_attention`.
    """

    n: np.ndarray
    joint: np.ndarray
    own: np.ndarray
    recurring: np.ndarray
    joint_uniform: np.ndarray
    own_uniform: np.ndarray
    recurring_uniform: np.ndarray


def named_sums(shares: PhoneShares, uniform: PhoneShares) -> dict[str, jax.Array]:
    """The fields of `Attention` but n, of one batch."""
    return shares._asdict() | {f"{name}_uniform": part for name, part in uniform._asdict().items()}


def ratio(value: jax.Array, uniform: jax.Array) -> jax.Array:
    """value / uniform; NaN where the latter is 0."""
    return jnp.where(uniform > 0, value / jnp.where(uniform > 0, uniform, 1.0), jnp.nan)


def relation(joint: jax.Array, uniform: jax.Array) -> jax.Array:
    """(joint - uniform) / uniform (eq. 6), (..., P, P); NaN where the pair never occurs."""
    return ratio(joint, uniform) - 1.0


def concentration(relation: jax.Array) -> jax.Array:
    """Mean over query phones of a relation (..., P, P): (..., P), undefined pairs left out."""
    return jnp.nanmean(relation, axis=-2)


def leaving(joint: jax.Array, recurring: jax.Array) -> jax.Array:
    """Attention (..., P, P) that leaves the query's own segment, scaled to sum to 1.

    recurring (..., P) is what of it reaches the same phone. All zero where nothing leaves.
    """
    same = jnp.eye(joint.shape[-1], dtype=bool)
    rest = jnp.where(same, recurring[..., None], joint)
    total = rest.sum((-2, -1), keepdims=True)
    return rest / jnp.where(total > 0, total, 1.0)


def same_share(joint: jax.Array, silence: int) -> jax.Array:
    """Share of the attention (..., P, P) of phones other than silence that has the same phone.

    NaN where they give none.
    """
    spoken = jnp.arange(joint.shape[-1]) != silence
    queries = jnp.where(spoken[:, None], joint, 0.0)
    total = queries.sum((-2, -1))
    return ratio(jnp.trace(queries, axis1=-2, axis2=-1), total)


def statistics(
    joint: jax.Array,
    own: jax.Array,
    recurring: jax.Array,
    joint_uniform: jax.Array,
    recurring_uniform: jax.Array,
    silence: int,
) -> dict[str, jax.Array]:
    """Everything with an interval, of means (..., P, P) and (..., P); silence is a phone, or -1."""
    on_silence = joint[..., silence].sum(-1)
    by_chance = joint_uniform[..., silence].sum(-1)
    absent = silence < 0
    same = same_share(leaving(joint, recurring), silence)
    same_by_chance = same_share(leaving(joint_uniform, recurring_uniform), silence)
    return {
        "concentration": concentration(relation(joint, joint_uniform)),
        "silence": jnp.full_like(on_silence, jnp.nan) if absent else on_silence,
        "own": own.sum(-1),
        "same": ratio(same, same_by_chance),
        "towards_silence": jnp.full_like(on_silence, jnp.nan)
        if absent
        else ratio(on_silence, by_chance),
    }


def summarise_phones(
    attention: Attention,
    silence: int,
    draws: int = 1000,
    seed: int = 0,
    head_mask: np.ndarray | None = None,
) -> PhoneSummary:
    """Means over utterances and their intervals; silence is its index among the phones, or -1.

    `head_mask` (L, H) says where the heads of `attention` are; without it, the model is intact.
    """
    groups = len(attention.n)
    of_heads = (attention.joint, attention.own, attention.recurring)
    masks = [flat_heads(values, head_mask) for values in of_heads]
    mask = masks[0][1]
    weights = bootstrap_weights(jax.random.key(seed), groups, draws)
    counts = jnp.asarray(attention.n, jnp.float32)
    # A group holds sums: a draw's mean is its drawn sums over its drawn number of utterances.
    drawn_weights = weights / (weights @ counts)[:, None]
    once = jnp.full((1, groups), 1.0 / attention.n.sum())
    everything = jnp.concatenate([once, drawn_weights])
    joint_uniform = drawn_means(everything, jnp.asarray(attention.joint_uniform))
    recurring_uniform = drawn_means(everything, jnp.asarray(attention.recurring_uniform))
    leaving_uniform = leaving(joint_uniform[0], recurring_uniform[0])

    def head(of: tuple[jax.Array, jax.Array, jax.Array]) -> dict[str, jax.Array]:
        joint, own, recurring = (drawn_means(everything, values) for values in of)
        found = statistics(joint, own, recurring, joint_uniform, recurring_uniform, silence)
        ends = {name: interval(values[1:]) for name, values in found.items()}
        return {
            "relation": relation(joint[0], joint_uniform[0]),
            "elsewhere": relation(leaving(joint[0], recurring[0]), leaving_uniform),
            **{name: values[0] for name, values in found.items()},
            **{f"{name}_low": low for name, (low, _) in ends.items()},
            **{f"{name}_high": high for name, (_, high) in ends.items()},
        }

    def by_head(values: np.ndarray) -> jax.Array:
        return jnp.asarray(values.swapaxes(0, 1), jnp.float32)

    per_head = lax.map(head, tuple(by_head(values) for values, _ in masks))
    tables = {name: in_place(np.asarray(values), mask) for name, values in per_head.items()}
    named = ("concentration", "silence", "own", "same", "towards_silence")
    bounds = {n: Interval(tables[n], tables[f"{n}_low"], tables[f"{n}_high"]) for n in named}
    chance = float(joint_uniform[0, :, silence].sum()) if silence >= 0 else float("nan")
    return PhoneSummary(
        relation=tables["relation"],
        elsewhere=tables["elsewhere"],
        silence_uniform=chance,
        own_uniform=float(attention.own_uniform.sum() / attention.n.sum()),
        seen=(np.diagonal(attention.joint_uniform, axis1=1, axis2=2) > 0).sum(0),
        **bounds,
    )
