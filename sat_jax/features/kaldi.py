"""Audio `(B, N)` in, power spectra and log filter banks as Kaldi computes them `(B, T, F)` out.

Kaldi's compute-fbank-feats without dither, on samples of -1 to 1 (as s3prl feeds it).
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sat_jax.config import Features
from sat_jax.errors import InputError
from sat_jax.features.spectral import frames_of, triangles, waveform
from sat_jax.grid import SAMPLE_RATE

EMPHASIS = 0.97
LOWEST = 20.0
"""Hertz at which the first filter begins."""
FLOOR = np.float32(2.0**-23)
"""Least energy of a filter: the rounding step of float32."""


def emphasised_power(
    audio: Array, lengths: Array, features: Features, n_fft: int, method: str
) -> Array:
    """Power `(B, T, n_fft // 2 + 1)` of frames without their mean, with treble emphasised.

    The window is Povey's. Samples beyond an utterance only reach frames beyond it. Raises
    `InputError` for another method than rfft.
    """
    del lengths
    if method != "rfft":
        raise InputError(f"DFT method {method!r}: features.recipe kaldi has rfft only: use it")
    framed = frames_of(waveform(audio), window=features.window, hop=features.hop)
    framed -= framed.mean(axis=-1, keepdims=True)
    before = jnp.concatenate([framed[..., :1], framed[..., :-1]], axis=-1)
    spectrum = jnp.fft.rfft((framed - EMPHASIS * before) * povey(features.window), n=n_fft)
    return spectrum.real**2 + spectrum.imag**2


def povey(window: int) -> np.ndarray:
    """Povey's window, a symmetric Hann window to the power of 0.85, `(window,)` float32."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))
    return (np.maximum(hann, 0) ** 0.85).astype(np.float32)


def log_mel(power: Array, mels: int) -> Array:
    """Log filter bank, `(B, T, n_fft // 2 + 1)` power to `(B, T, mels)`."""
    filters = mel_filters(2 * (power.shape[-1] - 1), mels)
    return linear(jnp.matmul(power, filters, precision=lax.Precision.HIGHEST))


def linear(power: Array) -> Array:
    """Log power spectrum of the same shape, with Kaldi's floor."""
    return jnp.log(jnp.maximum(power, FLOOR))


def mel_filters(n_fft: int, mels: int) -> np.ndarray:
    """Filters from 20 Hz to 8 kHz that are triangles on the mel scale, `(n_fft // 2 + 1, mels)`.

    The scale is 1127 ln(1 + f / 700). Raises `InputError` for bands that are too narrow.
    """
    edges = np.linspace(mel_of_hertz(LOWEST), mel_of_hertz(SAMPLE_RATE / 2), mels + 2)
    bins = mel_of_hertz(np.linspace(0, SAMPLE_RATE / 2, n_fft // 2 + 1))
    return triangles(bins, edges).astype(np.float32)


def mel_of_hertz(hertz: np.ndarray | float) -> np.ndarray:
    """Kaldi's mel scale."""
    return 1127 * np.log1p(np.asarray(hertz, np.float64) / 700)
