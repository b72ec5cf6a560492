"""wav2vec 2.0, HuBERT, WavLM and data2vec-audio against stored states of transformers.

`parity/make_references.py` made these; `make parity` compares with transformers itself.
"""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import lax
from made_up_weights import audio_of, tensor_of
from safetensors.numpy import save_file

from sat_jax.config import Convolutions, GatedBias
from sat_jax.grid import Grid
from sat_jax.model.attention.gated_bias import bucket_of
from sat_jax.model.build import build_model, init_params, spec_of
from sat_jax.model.convert.foreign import open_foreign
from sat_jax.model.convert.tensor_names import PREFIXES, places_of, to_params, to_tensors
from sat_jax.model.convert.transformers import without_prefix
from sat_jax.model.convolution import grouped_same, strided
from sat_jax.model.prune import prune_params
from sat_jax.study.export import edit_of
from sat_jax.trace.capture import capture

STORED = Path(__file__).parent / "references"
DESCRIBED = json.loads((STORED / "raw_audio.json").read_text())
STATES = np.load(STORED / "raw_audio.npz")
# One of every way to compute: the others differ from these in numbers only.
DIFFERENT = ("wav2vec2_large", "wavlm", "data2vec")


def tensors_of(variant):
    return {name: tensor_of(name, shape) for name, shape in DESCRIBED[variant]["shapes"].items()}


def folder_of(variant, folder, tensors=None):
    """A folder as transformers writes it."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(DESCRIBED[variant]["config"]))
    save_file(tensors_of(variant) if tensors is None else tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Every variant, opened once: name to (config, module, parameters, traced function)."""
    root, found = tmp_path_factory.mktemp("raw"), {}
    for variant in DESCRIBED:
        foreign = open_foreign(folder_of(variant, root / variant))
        module = build_model(foreign.config)
        found[variant] = foreign, module, jax.jit(lambda *a, m=module: capture(m, *a))
    return found


@pytest.mark.parametrize("variant", DESCRIBED)
def test_states_equal_those_of_transformers(opened, variant):
    foreign, module, trace = opened[variant]
    inputs, valid = module.prepare(audio_of(6000), np.array([6000], np.int32))
    assert np.asarray(valid).all() and valid.shape == (1, 18)
    found = trace(foreign.params, inputs, valid)
    np.testing.assert_allclose(np.stack(found.hidden)[:, 0], STATES[f"{variant}/hidden"], atol=2e-5)
    output = found.output
    if foreign.config.model.letters:
        output = module.apply({"params": foreign.params}, output, method="letters")
    np.testing.assert_allclose(output[0], STATES[f"{variant}/output"], atol=2e-5)


@pytest.mark.parametrize("variant", DESCRIBED)
def test_there_and_back_is_the_identity(opened, variant):
    foreign, _, _ = opened[variant]
    back = to_tensors(places_of(foreign.config), foreign.params)
    prefix = PREFIXES[foreign.config.model.kind]
    for name, tensor in without_prefix(tensors_of(variant), prefix).items():
        np.testing.assert_array_equal(back.pop(name), tensor)
    assert not back
    again = to_params(
        places_of(foreign.config), to_tensors(places_of(foreign.config), foreign.params)
    )
    jax.tree.map(np.testing.assert_array_equal, again, foreign.params)


@pytest.mark.parametrize("variant", ["wav2vec2", *DIFFERENT])
def test_a_batch_is_its_utterances_one_by_one(opened, variant):
    foreign, module, trace = opened[variant]
    lengths = np.array([6000, 3217, 400], np.int32)
    audio = audio_of(6000, 3)
    audio[1, 3217:], audio[2, 400:] = 99, -99
    whole = trace(foreign.params, *module.prepare(audio, lengths))
    for row, length in enumerate(lengths):
        alone = trace(
            foreign.params, *module.prepare(audio[row : row + 1, :length], lengths[row : row + 1])
        )
        n = alone.valid.shape[1]
        assert int(whole.valid[row].sum()) == n == (length - 400) // 320 + 1
        np.testing.assert_allclose(whole.output[row, :n], alone.output[0], atol=1e-5)
        for ours, single in zip(whole.probs, alone.probs, strict=True):
            np.testing.assert_allclose(ours[row, :, :n, :n], single[0], atol=1e-5)
            assert (np.asarray(ours)[row, :, :, n:] == 0).all()


def test_published_code_normalises_over_padding_and_so_depends_on_the_batch(opened):
    foreign, module, _ = opened["wav2vec2"]
    front = dataclasses.replace(module.config.frontend, faithful=True)
    faithful = module.clone(config=dataclasses.replace(module.config, frontend=front))
    audio, lengths = audio_of(6000), np.array([3000], np.int32)
    short = faithful.prepare(audio[:, :3000], lengths)
    long = faithful.prepare(audio, lengths)
    alone, padded = (faithful.apply({"params": foreign.params}, *each) for each in (short, long))
    assert np.abs(np.asarray(padded)[:, :9] - np.asarray(alone)).max() > 1e-3


@pytest.mark.parametrize("variant", DIFFERENT)
def test_heads_that_are_pruned_are_heads_that_are_masked(opened, variant):
    foreign, module, _ = opened[variant]
    pruned = dataclasses.replace(
        foreign.config.model,
        pruned_heads=((1, 3), (), (0, 1, 2, 3)),
        spans=((None, 2), (None,) * 4, ()),
    )
    small = dataclasses.replace(foreign.config, model=pruned)
    params = prune_params(foreign.params, foreign.config.model, pruned)
    inputs, valid = module.prepare(audio_of(6000, 2), np.array([6000, 4000], np.int32))
    masked = module.apply({"params": foreign.params}, inputs, valid, edit_of(pruned))
    ours = build_model(small).apply({"params": params}, inputs, valid)
    seen = np.asarray(valid)
    np.testing.assert_allclose(np.asarray(ours)[seen], np.asarray(masked)[seen], atol=2e-5)


HOW = {"dimension_numbers": ("NTC", "TIO", "NTC")}


@pytest.mark.parametrize("taps", [4, 5])
def test_convolutions_equal_plain_sums(taps):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 11, 6)).astype(np.float32)
    kernel = rng.normal(size=(taps, 6, 9)).astype(np.float32)
    rows = np.lib.stride_tricks.sliding_window_view(x, taps, axis=1)[:, ::2]
    expected = np.einsum("btck,kco->bto", rows, kernel)
    np.testing.assert_allclose(strided(x, kernel, 2), expected, atol=1e-5)
    ours = jax.grad(lambda *a: (strided(*a, 2) ** 2).sum(), (0, 1))(x, kernel)
    plain = jax.grad(
        lambda *a: (lax.conv_general_dilated(*a, (2,), "VALID", **HOW) ** 2).sum(), (0, 1)
    )
    for one, other in zip(ours, plain(x, kernel), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    padded = np.pad(x, ((0, 0), (taps // 2,) * 2, (0, 0)))
    rows = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=1)[:, :11]
    by_group = rows.reshape(2, 11, 3, 2, taps), kernel[:, :2].reshape(taps, 2, 3, 3)
    expected = np.einsum("btgck,kcgo->btgo", *by_group).reshape(2, 11, 9)
    np.testing.assert_allclose(grouped_same(x, kernel[:, :2], 3), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("batch", "length"), [(1, 2003), (1, 4500), (3, 1400), (700, 12), (2, 81000)]
)
def test_blocks_of_windows_give_the_convolution(batch, length):
    rng = np.random.default_rng(batch)
    x = rng.normal(size=(batch, length, 2)).astype(np.float32)
    kernel = rng.normal(size=(3, 2, 4)).astype(np.float32)
    rows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=1)[:, ::2]
    expected = np.einsum("btck,kco->bto", rows, kernel)
    np.testing.assert_allclose(strided(x, kernel, 2), expected, atol=1e-5)
    text = jax.jit(lambda *a: strided(*a, 2)).lower(x, kernel).as_text()
    blocks = text.count("dot_general ")
    wanted = {(1, 2003): 2, (1, 4500): 3, (3, 1400): 3, (700, 12): 3, (2, 81000): 32}
    assert blocks == wanted[batch, length]


def test_distances_fall_into_buckets_as_in_t5():
    config = GatedBias(buckets=32, max_distance=128)
    expected = {0: 0, -1: 1, -7: 7, 1: 17, 7: 23, -8: 8, -127: 15, -5000: 15, 5000: 31, -16: 10}
    found = bucket_of(np.array(list(expected)), config)
    assert dict(zip(expected, found.tolist(), strict=True)) == expected


def test_audio_is_normalised_over_its_real_samples_where_the_model_was_trained_so(opened):
    _, module, _ = opened["wav2vec2_large"]
    front = dataclasses.replace(module.config.frontend, normalize_audio=True)
    module = module.clone(config=dataclasses.replace(module.config, frontend=front))
    audio = audio_of(5000, 2) + 700
    wave = np.asarray(module.prepare(audio, np.array([5000, 3000], np.int32))[0].samples)
    for row, count in zip(wave, (5000, 3000), strict=True):
        assert abs(row[:count].mean()) < 1e-5 and abs(row[:count].std() - 1) < 1e-4
        assert (row[count:] == 0).all()


def test_positions_and_costs_are_those_of_the_published_sizes():
    from sat_jax.experiments import hubert_base, wav2vec2_large

    for config, parameters in (
        (hubert_base.CONFIG, 94_371_712),
        (wav2vec2_large.CONFIG, 315_438_720),
    ):
        module = build_model(config)
        assert module.grid == Grid(320, 400)
        assert module.grid.positions(16_000) == 49
        shapes = jax.eval_shape(lambda key, m=module: init_params(key, m), jax.random.key(0))
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters
        spec = spec_of(config)
        assert (spec.target_width, spec.longest) == (0, 2048)
    # The convolutions of 49 positions, by hand.
    sizes, channels, total = 16_000 - 16_000 % 1, 1, 0
    sizes = module.grid.samples(49)
    for taps, stride in zip(Convolutions().kernels, Convolutions().strides, strict=True):
        sizes = (sizes - taps) // stride + 1
        total += 2 * sizes * taps * channels * 512
        channels = 512
    assert module.flops(49) == total + 2 * 49 * 1024 * (512 + 128 * 64)
