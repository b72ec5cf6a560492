"""Connectionist temporal classification (Graves et al. 2006): naming units in their order."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import lax

from sat_jax.config import Config
from sat_jax.errors import InputError
from sat_jax.pretrain.masking import choose_spans
from sat_jax.pretrain.objectives.objective import Examples, Objective, Words


def letter_of_phones(phones: Sequence[str], letters: Sequence[str], where: str) -> np.ndarray:
    """Which letter each phone of a corpus is, (P,) int32; -1 for one that there is no letter for.

    Raises `InputError` where there is none at all; `where` names the corpus.
    """
    place = {letter: number for number, letter in enumerate(letters)}
    found = np.array([place.get(phone, -1) for phone in phones], np.int32)
    if not (found >= 0).any():
        have = ", ".join(phones[:8]) or "none"
        raise InputError(
            f"objective ctc: {where} has the phones {have} and model.letters are "
            f"{', '.join(letters[:8])}, ...: give a corpus with phone alignments and convert the "
            "model with --letters phones, or one with transcripts and --letters english"
        )
    return found


class CtcLosses(NamedTuple):
    """Scalars of one batch, float32."""

    loss: jax.Array
    """What is minimised: nats per unit."""
    uniform: jax.Array
    """The same loss where every letter is as likely in every frame."""
    error_rate: jax.Array
    """Edits from the most likely letters to the units, per unit."""
    count: jax.Array
    """Units of utterances that carry a loss."""

    @property
    def judged(self) -> jax.Array:
        """The whole loss."""
        return self.loss

    @property
    def baseline(self) -> jax.Array:
        """The least that a model has to beat."""
        return self.uniform


def ctc(
    model: nn.Module,
    config: Config,
    params: Any,
    examples: Examples,
    key: jax.Array,
    step: jax.Array | None,
) -> CtcLosses:
    """Loss of the units among `examples.targets` (B, U), -1 behind the last.

    Utterances that have fewer positions than their units need carry no loss. Training masks spans
    of positions and drops out by `key`, as the objective and the model say; nothing else is random.
    """
    objective, blank = config.objective, config.model.blank
    inputs, valid, units = examples
    span_key, dropout_key = jax.random.split(key)
    masked = None
    if step is not None and objective.mask_share:
        masked = choose_spans(span_key, valid, objective.mask_share, objective.mask_length)
    if objective.freeze_stem:
        params = {**params, "stem": lax.stop_gradient(params["stem"])}
    hidden = model.apply(
        {"params": params},
        *(inputs, valid),
        key=None if step is None else dropout_key,
        masked=masked,
        method="encode",
    )
    logits = model.apply({"params": params}, hidden, method="letters")
    there = units >= 0
    repeats = (there[:, 1:] & (units[:, 1:] == units[:, :-1])).sum(1)
    counts = (valid.sum(1) >= there.sum(1) + repeats) & there.any(1)
    labels = jnp.where(there, units, 0)
    total = jnp.maximum((there & counts[:, None]).sum(), 1)

    def per_unit(logits: jax.Array) -> jax.Array:
        losses = optax.ctc_loss(logits, ~valid, labels, ~there, blank_id=blank)
        return jnp.where(counts, losses, 0.0).sum() / total

    wrong = jax.vmap(edits, (0, 0, 0, None))(logits.argmax(-1), valid, units, blank)
    return CtcLosses(
        per_unit(logits),
        per_unit(jnp.zeros_like(logits)),
        jnp.where(counts, wrong, 0).sum() / total,
        total,
    )


def edits(best: jax.Array, valid: jax.Array, units: jax.Array, blank: int) -> jax.Array:
    """Insertions, deletions and substitutions from the letters that are `best` (T,) at valid (T,)
    positions, repeats and blanks taken out, to units (U,), -1 behind the last."""
    before = jnp.concatenate([jnp.array([-1]), best[:-1]])
    said = valid & (best != blank) & (best != before)
    place = jnp.arange(len(units) + 1)

    def row(distance: jax.Array, letter: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        one, counts = letter
        change = distance[:-1] + (units != one)
        least = jnp.minimum(jnp.concatenate([distance[:1] + 1, change]), distance + 1)
        # Units that are left out come one after another: a running minimum.
        least = place + lax.cummin(least - place)
        return jnp.where(counts, least, distance), None

    distance, _ = lax.scan(row, place, (best, said))
    return distance[(units >= 0).sum()]


CTC = Objective(
    ctc,
    Words(
        "uniform",
        "guessing all letters alike",
        (("uniform", "guessing all letters alike"), ("error_rate", "error rate")),
        ("error_rate",),
    ),
)
