"""Spectra against their definition and librosa's, normalisation and derivatives, padding."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import savgol_filter
from signals import amplitude_error, noise, speech

from sat_jax.config import Features
from sat_jax.errors import InputError
from sat_jax.features.frontend import feature_width, featurize, target_width
from sat_jax.features.normalize import cmvn
from sat_jax.features.spectral import deltas, linear, log_mel, mel_filters, mfcc, power_spectrum
from sat_jax.grid import frame_count

DEFAULT = Features()
KINDS = {
    "default": DEFAULT,
    "paper": replace(DEFAULT, n_fft=512, target="linear", target_n_fft=2048),
    "mfcc": replace(DEFAULT, input="mfcc", deltas=2, target="linear"),
    "deltas": replace(DEFAULT, deltas=1),
    "raw": replace(DEFAULT, normalize=False, deltas=2),
    "uneven": replace(DEFAULT, window=399, hop=157, mels=40, target="linear"),
}
featurized = jax.jit(featurize, static_argnums=(2, 3))
normalised = jax.jit(cmvn)
slopes = jax.jit(deltas)


def padded(signals: list[np.ndarray], samples: int, fill: int = 0) -> tuple[np.ndarray, np.ndarray]:
    audio = np.full((len(signals), samples), fill, dtype=np.int16)
    for row, signal in enumerate(signals):
        audio[row, : len(signal)] = signal
    return audio, np.array([len(signal) for signal in signals], dtype=np.int32)


@pytest.mark.parametrize("audio", [speech(16_000), noise(16_000)], ids=["speech", "noise"])
@pytest.mark.parametrize(("n_fft", "hop"), [(400, 160), (512, 100)])
def test_spectra_equal_their_definition(audio, n_fft, hop):
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    wave = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(400)) / n_fft)
    frames = np.lib.stride_tricks.sliding_window_view(audio / 32768, 400)[::hop]
    expected = np.abs(wave @ (frames * window).T) ** 2
    power = power_spectrum(audio[None], window=400, hop=hop, n_fft=n_fft)
    assert power.shape == (1, frame_count(16_000, 400, hop), n_fft // 2 + 1)
    assert amplitude_error(power[0].T, expected) < 1e-6


def test_mel_bands_and_mfccs_equal_stored_ones_of_librosa():
    # Made by parity/make_references.py; `make parity` compares with librosa itself.
    stored = np.load(Path(__file__).parent / "references" / "spectra.npz")
    mel = log_mel(power_spectrum(speech(16_000)[None], window=400, hop=160, n_fft=400), 80)
    assert mel.dtype == jnp.float32
    np.testing.assert_allclose(mel[0], stored["log_mel"], atol=1e-4)
    np.testing.assert_allclose(mfcc(mel, 13)[0], stored["mfcc"], atol=1e-4)
    np.testing.assert_allclose(mel_filters(400, 80), stored["filters"], atol=1e-7)


def test_a_cosine_has_the_power_of_its_amplitude():
    # Hann window of sum W/2, cosine of amplitude a at a bin: |a * W/4|^2 there, a quarter beside.
    time = np.arange(400) / 16_000
    audio = jnp.asarray(0.5 * np.cos(2 * np.pi * 1000 * time), jnp.float32)[None]
    power = np.asarray(power_spectrum(audio, window=400, hop=160, n_fft=400))[0, 0]
    np.testing.assert_allclose(power[[24, 25, 26]], np.array([625, 2500, 625]), rtol=1e-5)
    assert power[:23].max() < 1e-6
    assert power[28:].max() < 1e-6


@pytest.mark.parametrize("n_fft", [400, 401, 1024])
def test_matmul_equals_rfft(n_fft):
    spectrum = partial(power_spectrum, window=400, hop=160, n_fft=n_fft)
    for audio in (speech(8000), noise(8000)):
        rfft = np.asarray(spectrum(audio[None]))[0]
        matmul = np.asarray(spectrum(audio[None], method="matmul"))[0]
        assert amplitude_error(matmul.T, rfft.T) < 2e-6
    np.testing.assert_allclose(log_mel(matmul[None], 40), log_mel(rfft[None], 40), atol=1e-4)


def test_int16_and_float_audio_are_the_same():
    audio = speech(4000)[None]
    spectrum = partial(power_spectrum, window=400, hop=160, n_fft=400)
    floats = (audio / 32768).astype(np.float32)
    np.testing.assert_array_equal(spectrum(jnp.asarray(audio)), spectrum(jnp.asarray(floats)))


def test_deltas_are_a_line_fitted_over_nine_frames_over_valid_frames_only():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((3, 40, 5)).astype(np.float32)
    frames = np.array([40, 12, 3])
    valid = np.arange(40) < frames[:, None]
    slope = np.asarray(slopes(features, valid))
    for row, count in enumerate(frames):
        # The filter wants at least 9 frames: repeat the last one, which is what "nearest" means.
        real = np.pad(features[row, :count], ((0, 9), (0, 0)), mode="edge")
        expected = savgol_filter(real, 9, 1, deriv=1, axis=0, mode="nearest")[:count]
        np.testing.assert_allclose(slope[row, :count], expected, atol=1e-5)
        assert (slope[row, count:] == 0).all()


def test_deltas_of_a_ramp_are_its_slope():
    ramp = 3.0 * jnp.arange(30.0)[None, :, None]
    slope = slopes(ramp, jnp.ones((1, 30), bool))
    np.testing.assert_allclose(slope[0, 4:-4, 0], 3.0, rtol=1e-6)


def test_cmvn_equals_numpy():
    rng = np.random.default_rng(0)
    features = (50 + 0.1 * rng.standard_normal((2, 60, 4))).astype(np.float32)
    valid = np.arange(60) < np.array([60, 17])[:, None]
    result = np.asarray(normalised(features, valid))
    for row in range(2):
        real = features[row, valid[row]].astype(np.float64)
        expected = (real - real.mean(axis=0)) / real.std(axis=0)
        np.testing.assert_allclose(result[row, valid[row]], expected, atol=2e-4)
    assert (result[~valid] == 0).all()


@pytest.mark.parametrize("constant", [0.0, -16.118095, 1e4, 1e-20])
def test_cmvn_makes_a_constant_bin_zero_whatever_its_value(constant):
    features = np.full((1, 3001, 1), constant, dtype=np.float32)
    result = normalised(jnp.asarray(features), jnp.ones((1, 3001), bool))
    assert (np.asarray(result) == 0).all()


def test_cmvn_ignores_even_nan_in_padding():
    features = np.random.default_rng(0).standard_normal((1, 20, 3)).astype(np.float32)
    valid = np.arange(20)[None] < 15
    poisoned = np.where(valid[:, :, None], features, np.nan)
    np.testing.assert_array_equal(
        normalised(poisoned, valid),
        normalised(features, valid),
    )


@pytest.mark.parametrize("name", KINDS)
def test_widths_are_those_of_the_arrays(name):
    features = KINDS[name]
    audio, lengths = padded([speech(4000)], 4000)
    computed = partial(featurize, features=features)
    inputs, targets, frames = jax.eval_shape(computed, audio, lengths)
    total = frame_count(4000, features.window, features.hop)
    assert inputs.shape == (1, total, feature_width(features))
    assert targets.shape == (1, total, target_width(features))
    assert inputs.dtype == targets.dtype == jnp.float32
    assert frames.dtype == jnp.int32


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_equals_its_utterances_one_by_one(name):
    """Neither silence nor noise behind an utterance, nor its neighbours, changes a valid frame."""
    features = KINDS[name]
    signals = [speech(8000, 1), speech(5111, 2), speech(features.window, 3), speech(100, 4)]
    audio, lengths = padded(signals, 9000)
    noisy, _ = padded(signals, 9000, fill=12345)
    together = featurized(audio, lengths, features, "rfft")
    for ours, theirs in zip(together, featurized(noisy, lengths, features, "rfft"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    expected = [frame_count(n, features.window, features.hop) for n in lengths]
    np.testing.assert_array_equal(together[2], expected)
    assert expected[2:] == [1, 0]
    alone = featurized(signals[1][None], lengths[1:2], features, "rfft")
    for batched, single in zip(together[:2], alone[:2], strict=True):
        np.testing.assert_allclose(batched[1, : expected[1]], single[0], atol=2e-5)
        for row, frames in enumerate(expected):
            assert not np.asarray(batched)[row, frames:].any()


def test_inputs_and_targets_are_what_the_config_names():
    audio, lengths = padded([noise(8000), noise(5111)], 8000)
    inputs, targets, frames = featurized(audio, lengths, KINDS["paper"], "rfft")
    valid = np.arange(inputs.shape[1]) < frames[:, None]
    spectrum = partial(power_spectrum, audio, window=400, hop=160)
    np.testing.assert_allclose(
        inputs, normalised(log_mel(spectrum(n_fft=512), 80), valid), atol=1e-4
    )
    np.testing.assert_allclose(targets, normalised(linear(spectrum(n_fft=2048)), valid), atol=1e-4)


def test_one_computation_serves_input_and_target():
    audio, lengths = padded([speech(8000)], 8000)
    inputs, targets, _ = featurized(audio, lengths, KINDS["deltas"], "rfft")
    np.testing.assert_array_equal(inputs[..., :80], targets)

    def products(features: Features) -> int:
        jaxpr = str(jax.make_jaxpr(lambda a, n: featurize(a, n, features))(audio, lengths))
        return jaxpr.count("dot_general")

    assert products(DEFAULT) == 1
    assert products(replace(DEFAULT, target_n_fft=512)) == 2


def test_digital_silence_becomes_zero_and_never_nan():
    audio, lengths = np.zeros((1, 4000), np.int16), np.array([4000], np.int32)
    for features in (DEFAULT, KINDS["mfcc"]):
        inputs, targets, _ = featurized(audio, lengths, features, "rfft")
        assert not np.asarray(inputs).any()
        assert not np.asarray(targets).any()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input": "fbank"}, "features.input"),
        ({"target": "mfcc"}, "features.target"),
        ({"n_fft": 256}, "features.n-fft"),
        ({"mels": 200}, "features.mels"),
        ({"input": "mfcc", "mfccs": 81}, "features.mfccs"),
    ],
)
def test_impossible_features_name_the_field_in_one_line(change, field):
    audio, lengths = padded([speech(4000)], 4000)
    with pytest.raises(InputError, match=field) as caught:
        featurize(jnp.asarray(audio), jnp.asarray(lengths), replace(DEFAULT, **change))
    assert "\n" not in str(caught.value)


def test_an_unknown_dft_method_lists_the_known_ones():
    with pytest.raises(InputError, match="rfft, matmul"):
        power_spectrum(jnp.zeros((1, 800)), window=400, hop=160, n_fft=400, method="fft")
