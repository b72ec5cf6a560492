"""Features of masked positions in, how well their codes are told from others' out: wav2vec 2.0.

arXiv:2006.11477, section 3.2, with the published code's constants where the paper is silent.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from sat_jax.config import Config
from sat_jax.pretrain.masking import overlapping_spans
from sat_jax.pretrain.objectives.objective import (
    OWN,
    Examples,
    Objective,
    Words,
    cosines,
    mean_over,
)

NEVER = -1e9
"""Logit of what must not be chosen."""
COLLAPSED = 1.5
"""Codes in use per code book below which nothing is told apart any more."""


class ContrastiveLosses(NamedTuple):
    """Losses of one batch."""

    loss: jax.Array
    """What is minimised: nats per masked position, diversity and penalty."""
    contrastive: jax.Array
    """Nats per masked position of telling its code from others."""
    guessing: jax.Array
    """The same for guessing: the logarithm of the number of choices."""
    accuracy: jax.Array
    """Share of masked positions whose own code is the nearest of all choices."""
    perplexity: jax.Array
    """Codes in use, summed over the code books: the exponential of each one's entropy."""
    diversity: jax.Array
    """Share of the code books that is not in use, by mean probabilities."""
    penalty: jax.Array
    """Mean square of what the convolutions give."""
    count: jax.Array
    """Masked positions that have others to be told from."""

    @property
    def judged(self) -> jax.Array:
        """The contrastive part."""
        return self.contrastive

    @property
    def baseline(self) -> jax.Array:
        """Guessing."""
        return self.guessing


class Codes(NamedTuple):
    """Quantised features of every position."""

    entries: jax.Array
    """(B, T, G * K), the chosen entries of all code books; gradients pass as of a softmax."""
    number: jax.Array
    """(B, T, G) int32: which entries."""
    probs: jax.Array
    """(B, T, G, V): softmax of the logits, without noise or temperature."""


def own_parameters(key: jax.Array, model: nn.Module, config: Config) -> Any:
    """Logits, code books, and the projections to the width at which positions are compared."""
    objective = config.objective
    keys = jax.random.split(key, 4)
    groups, codes = objective.groups, objective.codes
    width = groups * objective.code_width
    return {
        "logits": {
            "kernel": objective.logit_std
            * jax.random.normal(keys[0], (model.local_width, groups * codes)),
            "bias": jnp.zeros(groups * codes),
        },
        "books": jax.random.uniform(keys[1], (groups, codes, objective.code_width)),
        "targets": dense(keys[2], width, width),
        "contexts": dense(keys[3], config.model.width, width),
    }


def dense(key: jax.Array, inputs: int, outputs: int) -> Any:
    """Kernel and bias, uniform within 1 / sqrt(inputs)."""
    bound = inputs**-0.5
    kernel = jax.random.uniform(key, (inputs, outputs), minval=-bound, maxval=bound)
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def affine(params: Any, x: jax.Array) -> jax.Array:
    """`x` (..., D) through kernel and bias, in float32."""
    return x.astype(jnp.float32) @ params["kernel"] + params["bias"]


def contrastive(
    model: nn.Module,
    config: Config,
    params: Any,
    examples: Examples,
    key: jax.Array,
    step: jax.Array | None,
) -> ContrastiveLosses:
    """Cross-entropy of each masked position's own code among those of other masked positions.

    Masks, Gumbel noise, choices and dropout follow from `key`; without a `step` codes are the most
    likely ones, without noise. Padding is never masked, never chosen and changes nothing. An
    utterance with a single masked position carries no loss.
    """
    objective, own = config.objective, params[OWN]
    mask_key, code_key, choice_key, dropout_key = jax.random.split(key, 4)
    inputs, valid, _ = examples
    variables = {"params": params}
    masked = overlapping_spans(mask_key, valid, objective.mask_share, objective.mask_length)
    features, energy = model.apply(
        variables, inputs, objective.stem_gradient, method="local_features"
    )
    hidden = model.apply(
        variables,
        *(features, valid),
        key=None if step is None else dropout_key,
        masked=masked,
        method="encode_features",
    )
    logits = affine(own["logits"], features)
    logits = logits.reshape(*valid.shape, objective.groups, objective.codes)
    if step is None:
        codes = quantised(logits, own["books"])
    else:
        cooled = objective.gumbel_start * objective.gumbel_decay ** step.astype(jnp.float32)
        temperature = jnp.maximum(cooled, objective.gumbel_end)
        codes = quantised(logits, own["books"], gumbel(code_key, logits.shape), temperature)
    near = cosines(affine(own["contexts"], hidden), affine(own["targets"], codes.entries))
    chosen = masked & (masked.sum(-1, keepdims=True) > 1)
    others = choose_others(choice_key, masked, objective.negatives)
    scores = choices(near / objective.temperature, codes.number, others)
    nats = jax.nn.logsumexp(scores, -1) - scores[..., 0]
    found = (scores[..., :1] > scores[..., 1:]).all(-1)
    told = mean_over(nats, chosen)
    unused, perplexity = diversity(codes, chosen)
    penalty = mean_over(energy, valid)
    loss = told + objective.diversity_weight * unused + objective.penalty_weight * penalty
    guessing = jnp.float32(math.log(1 + objective.negatives))
    accuracy = mean_over(found.astype(jnp.float32), chosen)
    return ContrastiveLosses(
        loss, told, guessing, accuracy, perplexity, unused, penalty, chosen.sum()
    )


def quantised(
    logits: jax.Array,
    books: jax.Array,
    noise: jax.Array | float = 0.0,
    temperature: jax.Array | float = 1.0,
) -> Codes:
    """Entries that noisy logits (B, T, G, V) are highest for, of books (G, V, K).

    Forward one entry of each book, backward the softmax at `temperature` (straight through).
    """
    soft = jax.nn.softmax((logits + noise) / temperature, axis=-1)
    number = (logits + noise).argmax(-1)
    hard = jax.nn.one_hot(number, logits.shape[-1])
    picked = soft + jax.lax.stop_gradient(hard - soft)
    entries = jnp.einsum("btgv,gvk->btgk", picked, books)
    entries = entries.reshape(*entries.shape[:2], -1)
    return Codes(entries, number, jax.nn.softmax(logits, axis=-1))


def gumbel(key: jax.Array, shape: tuple[int, int, int, int]) -> jax.Array:
    """Gumbel noise (B, T, G, V) of which a position's does not depend on how far T is padded."""
    return by_position(key, shape[:2], lambda own: jax.random.gumbel(own, shape[2:]))


def by_position(key: jax.Array, shape: tuple[int, int], draw: Any) -> jax.Array:
    """`draw(key)` for every position of every row (B, T), each from a key of its own."""

    def of_row(row: jax.Array) -> jax.Array:
        own = jax.random.fold_in(key, row)
        return jax.vmap(lambda at: draw(jax.random.fold_in(own, at)))(jnp.arange(shape[1]))

    return jax.vmap(of_row)(jnp.arange(shape[0]))


def choose_others(key: jax.Array, masked: jax.Array, count: int) -> jax.Array:
    """For each position `count` masked positions of its row, (B, T, count) int32, with repeats.

    masked (B, T). A masked position never gets itself; in a row with a single one, what comes out
    means nothing.
    """
    total = masked.sum(-1)
    # Masked positions first, in their order.
    order = jnp.argsort(~masked, axis=-1, stable=True)
    rank = jnp.cumsum(masked, -1) - 1

    def draw(own: jax.Array) -> jax.Array:
        return jax.random.uniform(own, (count,))

    share = by_position(key, masked.shape, draw)
    pick = jnp.floor(share * (total - 1)[:, None, None]).astype(jnp.int32)
    pick = jnp.clip(pick, 0, jnp.maximum(total - 2, 0)[:, None, None])
    pick += (pick >= rank[..., None]) & masked[..., None]
    return jax.vmap(lambda row, at: row[at])(order, pick)


def choices(near: jax.Array, number: jax.Array, others: jax.Array) -> jax.Array:
    """Logits (B, T, 1 + N) of each position's own code, then of those at `others` (B, T, N).

    near (B, T, S) compares every position's context with every position's code; number (B, T, G)
    are the codes. A code that is the own one is no choice.
    """
    own = jnp.diagonal(near, axis1=1, axis2=2)[..., None]
    rest = jnp.take_along_axis(near, others, axis=2)
    there = jax.vmap(lambda row, at: row[at])(number, others)
    same = (there == number[:, :, None]).all(-1)
    return jnp.concatenate([own, jnp.where(same, NEVER, rest)], -1)


def diversity(codes: Codes, chosen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Share of the entries that is unused by mean probabilities, and entries in use by choice.

    Both from exp(entropy) of the mean over chosen (B, T) positions, summed over code books.
    """
    entries = codes.probs.shape[-1]
    total = jnp.maximum(chosen.sum(), 1)

    def in_use(probs: jax.Array) -> jax.Array:
        mean = jnp.where(chosen[:, :, None, None], probs, 0.0).sum((0, 1)) / total
        return jnp.exp(-(mean * jnp.log(mean + 1e-7)).sum(-1)).sum()

    every = codes.probs.shape[-2] * entries
    return (every - in_use(codes.probs)) / every, in_use(jax.nn.one_hot(codes.number, entries))


def alarm(numbers: dict[str, float], config: Config) -> str:
    """That the code books have collapsed: then the loss is small and nothing is learned."""
    objective = config.objective
    used, all_codes = numbers["perplexity"], objective.groups * objective.codes
    if used >= COLLAPSED * objective.groups:
        return ""
    return (
        f"the code books have collapsed: {used:.1f} of {all_codes} codes are in use, and the loss "
        "means nothing now. Begin anew in another --run-dir with a lower optim.peak-lr, a larger "
        "batches.size, more objective.diversity-weight, or smaller code books "
        "(objective.groups 8, objective.codes 8)"
    )


CONTRASTIVE = Objective(
    contrastive,
    Words(
        "guessing",
        "guessing",
        (("guessing", "guessing"), ("accuracy", "accuracy"), ("perplexity", "codes in use")),
        ("accuracy", "perplexity"),
    ),
    own=own_parameters,
    alarm=alarm,
)
