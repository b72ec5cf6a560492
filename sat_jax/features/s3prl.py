"""Audio `(B, N)` and lengths in, power spectra and log-mel bands as s3prl computes them out.

What its Mockingjay, TERA and Audio ALBERT hear (s3prl 0.4.18, `OnlinePreprocessor`): audio of one
level, windows centred at every hop, HTK's mel scale, and no filter of unit area.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sat_jax.config import Features
from sat_jax.features.spectral import power_spectrum, triangles, waveform
from sat_jax.grid import SAMPLE_RATE

LOG_FLOOR = 1e-10
DELTA_REACH = 2
"""Frames to either side of a derivative."""


def centred_power(
    audio: Array, lengths: Array, features: Features, n_fft: int, method: str
) -> Array:
    """Power `(B, T, n_fft // 2 + 1)` of windows centred at every hop, of audio brought to a level.

    T is `N // hop + 1`. Samples beyond an utterance only reach frames beyond it.
    """
    wave = mirrored(levelled(waveform(audio), lengths, features.level), lengths, reach(features))
    return power_spectrum(
        wave, window=features.window, hop=features.hop, n_fft=n_fft, method=method
    )


def reach(features: Features) -> int:
    """Samples that audio goes on for at both ends."""
    return features.window // 2


def levelled(wave: Array, lengths: Array, level: float) -> Array:
    """Audio `(B, N)` whose root mean square over its real samples is `level` decibels."""
    real = jnp.arange(wave.shape[1]) < lengths[:, None]
    square = jnp.where(real, wave, 0) ** 2
    mean = square.sum(axis=1, keepdims=True) / jnp.maximum(lengths, 1)[:, None]
    return wave * (10 ** (level / 20) / (jnp.sqrt(mean) + LOG_FLOOR))


def mirrored(wave: Array, lengths: Array, reach: int) -> Array:
    """Audio `(B, N)` of `(B,)` real samples that goes on, mirrored, `(B, reach + N + reach)`.

    The first and last sample are not repeated. Audio that is shorter than the reach is mirrored
    again and again, where s3prl would refuse it.
    """
    places = jnp.arange(-reach, wave.shape[1] + reach)
    last = jnp.maximum(lengths - 1, 0)[:, None]
    period = jnp.maximum(2 * last, 1)
    folded = places % period
    return jnp.take_along_axis(wave, jnp.minimum(folded, period - folded) % (last + 1), axis=1)


def log_mel(power: Array, mels: int) -> Array:
    """Log mel energies, `(B, T, n_fft // 2 + 1)` power to `(B, T, mels)`: log(mel + 1e-10)."""
    filters = mel_filters(2 * (power.shape[-1] - 1), mels)
    return linear(jnp.matmul(power, filters, precision=lax.Precision.HIGHEST))


def linear(power: Array) -> Array:
    """Log power spectrum of the same shape: log(power + 1e-10)."""
    return jnp.log(power + LOG_FLOOR)


def mel_filters(n_fft: int, mels: int) -> np.ndarray:
    """Triangular filters of height 1 from 0 Hz to 8 kHz, `(n_fft // 2 + 1, mels)` float32.

    Their edges are evenly spaced on HTK's scale, 2595 log10(1 + f / 700). Raises `InputError` for
    bands that are too narrow.
    """
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    hertz = np.linspace(0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    return triangles(hertz, edges).astype(np.float32)
