"""What every objective offers, and what it gets: records, and the examples of a batch.

An objective is a `Loss` with what is said of it. Parameters of its own, beside the model's, stand
under `OWN` in the tree that is trained; they are saved with the optimiser, as no analysis needs
them. A new one is a file in this folder and a line in `table.OBJECTIVES`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from sat_jax.config import Config

OWN = "objective"
"""Name of the objective's own parameters beside those of the model."""


class Losses(Protocol):
    """A record of scalars of one batch, float32; every objective has one of its own."""

    loss: jax.Array
    """What is minimised."""
    count: jax.Array
    """Terms that the loss is a mean of: the weight of a part of a batch."""

    @property
    def judged(self) -> jax.Array:
        """The part of the loss that the baseline is compared with."""

    @property
    def baseline(self) -> jax.Array:
        """The least that a model has to beat."""


class Examples(NamedTuple):
    """A batch as the model hears it, and what it shall give."""

    inputs: Any
    """What `prepare` gives: (B, T, F), padding 0, or a waveform."""
    valid: jax.Array
    """(B, T) bool."""
    targets: jax.Array | None
    """Spectra (B, T, F2), padding 0; labels (B, U), -1 where there is none; or nothing."""


Loss = Callable[[nn.Module, Config, Any, Examples, jax.Array, jax.Array | None], Losses]
"""Model, config, parameters, examples, key and the number of the training step, which is None in
evaluation: dropout and everything else that is for training only is off then."""


class Words(NamedTuple):
    """How the losses of an objective are spoken of."""

    baseline: str
    """Name of the baseline among the numbers of a step."""
    baseline_is: str
    """What it does."""
    others: tuple[tuple[str, str], ...]
    """Names of evaluated numbers beside the loss before training, and words for them."""
    told: tuple[str, ...] = ()
    """Names of those that are told at every evaluation."""


class Objective(NamedTuple):
    """How a model learns one thing."""

    loss: Loss
    words: Words
    spectra: bool = False
    """Whether targets are the model's spectra."""
    own: Callable[[jax.Array, nn.Module, Config], Any] | None = None
    """Start of its own parameters, from a key; None without any."""
    alarm: Callable[[dict[str, float], Config], str] = lambda numbers, config: ""
    """What is wrong with the numbers of a step, and the cure; empty for nothing."""


def examples_of(
    model: nn.Module,
    spectra: bool,
    audio: jax.Array,
    lengths: jax.Array,
    labels: jax.Array | None = None,
) -> Examples:
    """Inputs and targets of audio (B, N) int16 with lengths (B,) in samples; labels (B, U) are the
    targets where they are given."""
    targets = model.targets(audio, lengths) if spectra else labels
    return Examples(*model.prepare(audio, lengths), targets)


def split_own(params: Any) -> tuple[Any, Any]:
    """The model's parameters, and the objective's own or None."""
    return {k: v for k, v in params.items() if k != OWN}, params.get(OWN)


def cosines(left: jax.Array, right: jax.Array) -> jax.Array:
    """Cosines (..., T, S) of rows (..., T, D) and (..., S, D)."""
    return jnp.einsum("...td,...sd->...ts", unit_rows(left), unit_rows(right))


def unit_rows(rows: jax.Array) -> jax.Array:
    """Rows (..., D) of length 1; a row of zeros stays as it is."""
    return rows * lax.rsqrt(jnp.maximum((rows**2).sum(-1, keepdims=True), 1e-16))


def mean_over(values: jax.Array, chosen: jax.Array) -> jax.Array:
    """Mean of `values` where `chosen`, both of one shape, over the whole batch; 0 for none."""
    return jnp.where(chosen, values, 0.0).sum() / jnp.maximum(chosen.sum(), 1)
