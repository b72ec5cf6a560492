"""Audio `(B, N)` and lengths in; model inputs, targets `(B, T, F)` and frame counts out."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from sat_jax.config import Features
from sat_jax.errors import InputError
from sat_jax.features import kaldi, s3prl, spectral
from sat_jax.features.normalize import cmvn
from sat_jax.features.spectral import deltas, mfcc
from sat_jax.grid import Grid


class Recipe(NamedTuple):
    """How frames are cut out of audio, and what is computed of each."""

    power: Callable[[Array, Array, Features, int, str], Array]
    """Audio, lengths, features, FFT length and method to a power spectrum."""
    log_mel: Callable[[Array, int], Array]
    linear: Callable[[Array], Array]
    deltas: Callable[[Array, Array], Array]
    normalized: Callable[[Array, Array], Array]
    reach: Callable[[Features], int]
    """Samples that audio goes on for at both ends (see `Grid`)."""


class Kind(NamedTuple):
    """A kind of feature: how it follows from a power spectrum, and its bins for an FFT length."""

    compute: Callable[[Array, Features, Recipe], Array]
    width: Callable[[int, Features], int]


def featurize(
    audio: Array, lengths: Array, features: Features, method: str = "rfft"
) -> tuple[Array, Array, Array]:
    """What the model hears and what it predicts, from `(B, N)` audio of `(B,)` samples each.

    Returns inputs `(B, T, feature_width)`, targets `(B, T, target_width)`, both float32, and the
    number of valid frames `(B,)` int32; `T` are the frames of N samples (see `frame_grid`).
    Derivatives are appended before normalisation. Frames that are not wholly inside their utterance
    are exactly 0 and change no other. `features` and `method` (see `power_spectrum`) are static
    under jit.

    Raises:
        InputError: an unknown kind, or sizes that do not fit (see `sat_jax.features.spectral`).
    """
    recipe, grid = recipe_of(features), frame_grid(features)
    heard = kind_of("input", features.input, INPUTS)
    predicted = kind_of("target", features.target, TARGETS)
    lengths = jnp.minimum(lengths.astype(jnp.int32), audio.shape[1])
    frames = grid.positions(lengths)
    valid = jnp.arange(grid.positions(audio.shape[1])) < frames[:, None]

    def finished(kind: Kind, power: Array, orders: int) -> Array:
        values = [kind.compute(power, features, recipe)]
        for _ in range(orders):
            values.append(recipe.deltas(values[-1], valid))
        whole = jnp.concatenate(values, axis=-1)
        if features.normalize:
            return recipe.normalized(whole, valid)
        return jnp.where(valid[:, :, None], whole, 0)

    power = recipe.power(audio, lengths, features, features.n_fft, method)
    inputs = finished(heard, power, features.deltas)
    same = (heard, features.n_fft) == (predicted, features.target_n_fft)
    if same and features.target_deltas <= features.deltas:
        return inputs, inputs[..., : target_width(features)], frames
    if features.n_fft != features.target_n_fft:
        power = recipe.power(audio, lengths, features, features.target_n_fft, method)
    return inputs, finished(predicted, power, features.target_deltas), frames


def frame_grid(features: Features) -> Grid:
    """Where frames lie in audio; raises `InputError` for an unknown recipe."""
    return Grid(features.hop, features.window, reach=recipe_of(features).reach(features))


def feature_width(features: Features) -> int:
    """Bins of one input frame (F), derivatives included."""
    bins = kind_of("input", features.input, INPUTS).width(features.n_fft, features)
    return bins * (1 + features.deltas)


def target_width(features: Features) -> int:
    """Bins of one target frame, derivatives included."""
    bins = kind_of("target", features.target, TARGETS).width(features.target_n_fft, features)
    return bins * (1 + features.target_deltas)


def kind_of(side: str, name: str, kinds: dict[str, Kind]) -> Kind:
    """The kind of that name, or an `InputError` that lists what there is."""
    if name not in kinds:
        raise InputError(f"features.{side}: {name!r} is unknown; choose one of {', '.join(kinds)}")
    return kinds[name]


def recipe_of(features: Features) -> Recipe:
    """The recipe of features, or an `InputError` that lists what there is."""
    if features.recipe not in RECIPES:
        known = ", ".join(RECIPES)
        raise InputError(f"features.recipe: {features.recipe!r} is unknown; choose one of {known}")
    return RECIPES[features.recipe]


def _plain_power(
    audio: Array, lengths: Array, features: Features, n_fft: int, method: str
) -> Array:
    del lengths
    framing = {"window": features.window, "hop": features.hop}
    return spectral.power_spectrum(audio, n_fft=n_fft, method=method, **framing)


INPUTS = {
    "log_mel": Kind(
        lambda power, features, recipe: recipe.log_mel(power, features.mels),
        lambda n_fft, features: features.mels,
    ),
    "linear": Kind(
        lambda power, features, recipe: recipe.linear(power),
        lambda n_fft, features: n_fft // 2 + 1,
    ),
    "mfcc": Kind(
        lambda power, features, recipe: mfcc(recipe.log_mel(power, features.mels), features.mfccs),
        lambda n_fft, features: features.mfccs,
    ),
}
TARGETS = {name: INPUTS[name] for name in ("log_mel", "linear")}
FIVE_FRAMES = partial(deltas, reach=s3prl.DELTA_REACH)
OF_A_SAMPLE = partial(cmvn, sample=True, eps=1e-10)
RECIPES = {
    "plain": Recipe(
        _plain_power, spectral.log_mel, spectral.linear, deltas, cmvn, lambda features: 0
    ),
    "s3prl": Recipe(
        s3prl.centred_power, s3prl.log_mel, s3prl.linear, FIVE_FRAMES, OF_A_SAMPLE, s3prl.reach
    ),
    "kaldi": Recipe(
        kaldi.emphasised_power,
        kaldi.log_mel,
        kaldi.linear,
        FIVE_FRAMES,
        OF_A_SAMPLE,
        lambda features: 0,
    ),
}
