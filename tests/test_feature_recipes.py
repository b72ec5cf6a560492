"""Features by s3prl's and Kaldi's recipes: stored ones, their definition, padding, and their grid.

`references/s3prl_features.npz` was made by s3prl 0.4.18 with torchaudio's own functions (see
`parity/make_s3prl_features.py`).
"""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from signals import noise, speech

from sat_jax.config import Batches, Config, Features, Model, NoObjective, StackedFrames
from sat_jax.config.check import check
from sat_jax.errors import InputError
from sat_jax.features import kaldi, s3prl
from sat_jax.features.batches import eval_batches
from sat_jax.features.frontend import feature_width, featurize, frame_grid, target_width
from sat_jax.features.spectral import deltas
from sat_jax.grid import stacked_grid
from sat_jax.model.build import build_model, spec_of

ON_THE_FLY = Features(recipe="s3prl", target="linear")
BANK = Features(recipe="kaldi", n_fft=512, target_n_fft=512, deltas=2, target_deltas=2)
KINDS = {
    "s3prl": ON_THE_FLY,
    "s3prl with deltas": replace(ON_THE_FLY, deltas=2, target_deltas=1, level=-30.0),
    "s3prl, linear": replace(ON_THE_FLY, input="linear", n_fft=512, target_n_fft=512),
    "kaldi": BANK,
    "raw": replace(ON_THE_FLY, normalize=False),
}
featurized = jax.jit(featurize, static_argnums=(2, 3))


def one(audio: np.ndarray, features: Features):
    inputs, targets, frames = featurized(audio[None], np.array([len(audio)]), features, "rfft")
    return np.asarray(inputs)[0], np.asarray(targets)[0], int(frames[0])


def test_features_equal_stored_ones_of_s3prl():
    stored = np.load(Path(__file__).parent / "references" / "s3prl_features.npz")
    audio = speech(4960)
    inputs, targets, frames = one(audio, ON_THE_FLY)
    assert frames == len(stored["log_mel"]) == 32
    np.testing.assert_allclose(inputs, stored["log_mel"], atol=1e-4)
    np.testing.assert_allclose(targets[:, ::4], stored["linear"], atol=5e-4)
    inputs, targets, frames = one(audio, BANK)
    assert frames == len(stored["kaldi"]) == 29
    np.testing.assert_allclose(inputs, stored["kaldi"], atol=2e-4)
    np.testing.assert_array_equal(inputs, targets)


def test_a_filter_bank_is_kaldis_by_its_definition():
    audio = noise(2000) / 32768
    rows = np.lib.stride_tricks.sliding_window_view(audio, 400)[::160].copy()
    rows -= rows.mean(1, keepdims=True)
    rows -= 0.97 * np.concatenate([rows[:, :1], rows[:, :-1]], axis=1)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    power = np.abs(np.fft.rfft(rows * window, 512)) ** 2
    mel = 1127 * np.log(1 + np.arange(257) * 31.25 / 700)
    low, high = 1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + 8000 / 700)
    edges = np.linspace(low, high, 42)
    filters = [np.interp(mel, edges[i : i + 3], [0, 1, 0]) for i in range(40)]
    expected = np.log(np.maximum(power @ np.stack(filters).T, 2.0**-23))
    found, _, _ = one(noise(2000), replace(BANK, mels=40, deltas=0, normalize=False))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_frames_of_s3prl_are_centred_in_mirrored_audio_of_one_level():
    audio = noise(1700) / 32768
    scaled = audio * 10 ** (-25 / 20) / np.sqrt((audio**2).mean())
    longer = np.pad(scaled, 200, mode="reflect")
    rows = np.lib.stride_tricks.sliding_window_view(longer, 400)[::160]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    expected = np.log(np.abs(np.fft.rfft(rows * window)) ** 2 + 1e-10)
    found, _, frames = one(noise(1700), replace(KINDS["raw"], input="linear"))
    assert frames == len(expected) == 11
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("samples", [1, 2, 150, 401])
def test_short_audio_is_mirrored_again_and_again(samples):
    audio = noise(500)[:samples].astype(np.float32)
    found = s3prl.mirrored(jnp.asarray(np.pad(audio, (0, 99)))[None], jnp.array([samples]), 200)
    expected = np.pad(audio, 200, mode="reflect")
    np.testing.assert_array_equal(found[0, : 400 + samples], expected)


def test_derivatives_are_slopes_over_five_frames_and_normalised_as_a_sample():
    audio = speech(6000)
    raw, _, frames = one(audio, replace(KINDS["raw"], deltas=1))
    padded = np.pad(raw[:, :80], ((2, 2), (0, 0)), mode="edge")
    slope = sum(k * padded[2 + k : 2 + k + frames] for k in (-2, -1, 1, 2)) / 10
    np.testing.assert_allclose(raw[:, 80:], slope, atol=1e-4)
    whole, _, _ = one(audio, replace(ON_THE_FLY, deltas=1))
    np.testing.assert_allclose(whole.std(0, ddof=1), 1, atol=1e-4)
    flat = deltas(jnp.ones((1, 9, 2)), jnp.ones((1, 9), bool), 2)
    np.testing.assert_array_equal(flat, 0)


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_equals_its_utterances_one_by_one(name):
    features = KINDS[name]
    signals = [speech(8000, 1), speech(5111, 2), speech(401, 3), noise(0)]
    audio, noisy = np.zeros((4, 8200), np.int16), np.full((4, 8200), 12345, np.int16)
    for row, signal in enumerate(signals):
        audio[row, : len(signal)] = noisy[row, : len(signal)] = signal
    lengths = np.array([len(signal) for signal in signals], np.int32)
    together = featurized(audio, lengths, features, "rfft")
    for ours, theirs in zip(together, featurized(noisy, lengths, features, "rfft"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    grid = frame_grid(features)
    expected = grid.positions(lengths)
    np.testing.assert_array_equal(together[2], expected)
    assert together[0].shape == (4, grid.positions(8200), feature_width(features))
    assert together[1].shape == (4, grid.positions(8200), target_width(features))
    for row, signal in enumerate(signals[:3]):
        alone = one(signal, features)
        for batched, single in zip(together[:2], alone[:2], strict=True):
            np.testing.assert_allclose(batched[row, : expected[row]], single, atol=2e-4)
            assert not np.asarray(batched)[row, expected[row] :].any()
    assert expected[3] == 0


@pytest.mark.parametrize("recipe", [s3prl, kaldi])
def test_bands_that_would_be_empty_are_refused(recipe):
    with pytest.raises(InputError, match=r"features\.mels: 400 bands are too narrow"):
        recipe.mel_filters(512, 400)


def test_the_matmul_method_gives_s3prls_frames_too():
    audio, lengths = speech(4000)[None], np.array([4000])
    rfft, matmul = (featurized(audio, lengths, KINDS["raw"], m)[0] for m in ("rfft", "matmul"))
    np.testing.assert_allclose(rfft, matmul, atol=1e-3)
    with pytest.raises(InputError, match="has rfft only"):
        featurize(jnp.asarray(audio), jnp.asarray(lengths), BANK, "matmul")


def test_impossible_recipes_name_their_field():
    for change, said in (
        ({"recipe": "htk"}, "features.recipe"),
        ({"window": 399}, "features.window is 399"),
        ({"level": 3.0}, "features.level is 3.0"),
        ({"target_deltas": 3}, "features.target-deltas is 3"),
    ):
        features = replace(ON_THE_FLY, **change)
        with pytest.raises(InputError, match=said):
            frame_grid(features) if "recipe" in change else check(Config(features=features))


class Split:
    """Utterances with a phone for every 100 samples."""

    name, phone_names = "test", tuple(map(str, range(200)))

    def __init__(self, *samples):
        self.lengths, self.ids = np.array(samples), [f"u{n}" for n in samples]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        starts = np.arange(0, self.lengths[index], 100)
        phones = np.stack([starts, starts + 100, starts // 100], 1).astype(np.int32)
        audio = speech(int(self.lengths[index]))
        return type("Utterance", (), {"audio": audio, "phones": phones})()


def test_utterances_with_centred_frames_are_heard_to_their_last_sample():
    grid = frame_grid(ON_THE_FLY)
    (batch,) = eval_batches(Split(3199, 3200, 5000), [21], 3, grid)
    # The longest edge is 21 frames: what is longer is cut to the most samples that give these.
    np.testing.assert_array_equal(batch.lengths, [3199, 3200, 3359])
    assert batch.audio.shape == (3, 3359)
    np.testing.assert_array_equal(grid.positions(batch.lengths), [20, 21, 21])
    # A frame is centred at its hop, and so is its phone.
    np.testing.assert_array_equal(batch.labels[1, :20], np.arange(20) * 160 // 100)
    whole = one(Split(3199)[0].audio, ON_THE_FLY)[0]
    module = build_model(Config(features=ON_THE_FLY, model=Model(frontend=StackedFrames(stack=1))))
    inputs, valid = module.prepare(batch.audio, batch.lengths)
    np.testing.assert_allclose(inputs[0, :20], whole, atol=2e-4)
    np.testing.assert_array_equal(valid.sum(1), [20, 21, 21])


@pytest.mark.parametrize("stack", [1, 3])
def test_a_grid_of_centred_frames_counts_whole_stacks(stack):
    samples = np.arange(1, 3000)
    grid = stacked_grid(400, 160, stack, 200)
    frames = samples // 160 + 1
    np.testing.assert_array_equal(grid.frame_count(samples), frames)
    np.testing.assert_array_equal(grid.positions(samples), frames // stack)
    assert grid.positions(0) == grid.frame_count(0) == 0
    for positions in (1, 2, 6):
        most = grid.samples(positions)
        assert (grid.positions(most), grid.positions(most + 1)) == (positions, positions + 1)
        assert grid.covered(most) == most
    assert grid.covered(grid.samples(2) - 7) == grid.samples(2) - 7
    np.testing.assert_array_equal(grid.frame_centres(4), [0, 160, 320, 480])
    assert grid.centre(2) == 2 * stack * 160 + (stack - 1) * 80


def test_a_model_of_centred_frames_says_so():
    config = Config(
        features=ON_THE_FLY,
        model=Model(frontend=StackedFrames(stack=1), layers=1, heads=2, width=8, ffn=8),
        objective=NoObjective(),
        batches=Batches(max_frames=1500),
    )
    spec = spec_of(config)
    assert (spec.grid.reach, spec.longest, spec.frames) == (200, 1500, 1500)
    assert spec.target_width == 201
    check(config)
