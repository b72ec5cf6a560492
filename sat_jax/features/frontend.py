"""Audio `(B, N)` and lengths in; model inputs, targets `(B, T, F)` and frame counts out."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from sat_jax.config import Features
from sat_jax.errors import InputError
from sat_jax.features.normalize import cmvn
from sat_jax.features.spectral import deltas, linear, log_mel, mfcc, power_spectrum
from sat_jax.shapes import frame_count


class Kind(NamedTuple):
    """A kind of feature: how it follows from a power spectrum, and its bins for an FFT length."""

    compute: Callable[[Array, Features], Array]
    width: Callable[[int, Features], int]


def featurize(
    audio: Array, lengths: Array, features: Features, method: str = "rfft"
) -> tuple[Array, Array, Array]:
    """What the model hears and what it predicts, from `(B, N)` audio of `(B,)` samples each.

    Returns inputs `(B, T, feature_width)`, targets `(B, T, target_width)`, both float32, and the
    number of valid frames `(B,)` int32; `T = frame_count(N)`. Derivatives are appended before
    normalisation. Frames that are not wholly inside their utterance are exactly 0 and change no
    other. `features` and `method` (see `power_spectrum`) are static under jit.

    Raises:
        InputError: an unknown kind, or sizes that do not fit (see `sat_jax.features.spectral`).
    """
    heard = kind_of("input", features.input, INPUTS)
    predicted = kind_of("target", features.target, TARGETS)
    framing = {"window": features.window, "hop": features.hop, "method": method}
    total = frame_count(audio.shape[1], features.window, features.hop)
    frames = frame_count(lengths.astype(jnp.int32), features.window, features.hop)
    frames = jnp.minimum(frames, total)
    valid = jnp.arange(total) < frames[:, None]

    power = power_spectrum(audio, n_fft=features.n_fft, **framing)
    orders = [heard.compute(power, features)]
    for _ in range(features.deltas):
        orders.append(deltas(orders[-1], valid))
    inputs = finish(jnp.concatenate(orders, axis=-1), valid, features)

    if (heard, features.n_fft) == (predicted, features.target_n_fft):
        return inputs, inputs[..., : target_width(features)], frames
    if features.n_fft != features.target_n_fft:
        power = power_spectrum(audio, n_fft=features.target_n_fft, **framing)
    return inputs, finish(predicted.compute(power, features), valid, features), frames


def finish(values: Array, valid: Array, features: Features) -> Array:
    """Normalised if the config says so, and 0 in padded frames; `(B, T, F)` to the same shape."""
    return cmvn(values, valid) if features.normalize else jnp.where(valid[:, :, None], values, 0)


def feature_width(features: Features) -> int:
    """Bins of one input frame (F), derivatives included."""
    bins = kind_of("input", features.input, INPUTS).width(features.n_fft, features)
    return bins * (1 + features.deltas)


def target_width(features: Features) -> int:
    """Bins of one target frame."""
    return kind_of("target", features.target, TARGETS).width(features.target_n_fft, features)


def kind_of(side: str, name: str, kinds: dict[str, Kind]) -> Kind:
    """The kind of that name, or an `InputError` that lists what there is."""
    if name not in kinds:
        raise InputError(f"features.{side}: {name!r} is unknown; choose one of {', '.join(kinds)}")
    return kinds[name]


INPUTS = {
    "log_mel": Kind(
        lambda power, features: log_mel(power, features.mels),
        lambda n_fft, features: features.mels,
    ),
    "linear": Kind(
        lambda power, features: linear(power),
        lambda n_fft, features: n_fft // 2 + 1,
    ),
    "mfcc": Kind(
        lambda power, features: mfcc(log_mel(power, features.mels), features.mfccs),
        lambda n_fft, features: features.mfccs,
    ),
}
TARGETS = {name: INPUTS[name] for name in ("log_mel", "linear")}
