"""Spectra, mel filters and MFCCs against librosa."""

from dataclasses import replace

import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from signals import amplitude_error, noise, speech

from sat_jax.config import Features
from sat_jax.features.spectral import linear, log_mel, mel_filters, mfcc, power_spectrum
from sat_jax.grid import frame_count

DEFAULT = Features()


def librosa_power(audio: np.ndarray, features: Features, n_fft: int) -> np.ndarray:
    """Power spectrum `(n_fft // 2 + 1, T)` in float64, the window put at the start of the FFT."""
    # librosa pads a short window on both sides and reads n_fft samples per frame: shift the audio
    # so that its centred window falls on our frames (the phase changes, the power does not).
    before = (n_fft - features.window) // 2
    after = n_fft - features.window - before
    signal = np.pad(audio.astype(np.float64) / 32768, (before, after))
    spectrum = librosa.stft(
        signal,
        n_fft=n_fft,
        hop_length=features.hop,
        win_length=features.window,
        window="hann",
        center=False,
        dtype=np.complex128,
    )
    return np.abs(spectrum) ** 2


@pytest.mark.parametrize("audio", [speech(16_000), noise(16_000)], ids=["speech", "noise"])
@pytest.mark.parametrize(("n_fft", "hop"), [(400, 160), (512, 100)])
def test_spectra_equal_librosa(audio, n_fft, hop):
    features = replace(DEFAULT, n_fft=n_fft, hop=hop)
    expected = librosa_power(audio, features, n_fft)
    filters = librosa.filters.mel(sr=16_000, n_fft=n_fft, n_mels=80)
    expected_mel = np.log(filters @ expected + 1e-7)
    expected_mfcc = librosa.feature.mfcc(S=expected_mel, n_mfcc=13)

    power = power_spectrum(audio[None], window=400, hop=hop, n_fft=n_fft)
    mel = log_mel(power, 80)
    assert power.shape == (1, frame_count(16_000, 400, hop), n_fft // 2 + 1)
    assert mel.dtype == linear(power).dtype == jnp.float32
    np.testing.assert_allclose(mel[0].T, expected_mel, atol=1e-4)
    np.testing.assert_allclose(mfcc(mel, 13)[0].T, expected_mfcc, atol=1e-4)
    # A bin far below the strongest of its frame holds what float32 leaves of it: 1e-4 down to
    # -50 dB, and everywhere an amplitude that is right to 1e-6 of the strongest.
    heard = expected > 1e-5 * expected.max(axis=0)
    error = np.abs(linear(power)[0].T - np.log(expected + 1e-7))
    assert error[heard].max() < 1e-4
    assert amplitude_error(power[0].T, expected) < 1e-6


@pytest.mark.parametrize(("n_fft", "mels"), [(400, 80), (512, 40), (2048, 128)])
def test_mel_filters_equal_librosa(n_fft, mels):
    expected = librosa.filters.mel(sr=16_000, n_fft=n_fft, n_mels=mels).T
    np.testing.assert_allclose(mel_filters(n_fft, mels), expected, atol=1e-7)
