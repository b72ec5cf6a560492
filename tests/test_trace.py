"""Traces: what is captured is what the model used, and streaming changes nothing."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from full_disk import files_up_to

from sat_jax import mesh
from sat_jax.analysis.head_metrics import measure_heads
from sat_jax.config import Features, Mesh, Model, StackedFrames
from sat_jax.errors import InputError
from sat_jax.model.build import init_params
from sat_jax.model.encoder import stack_layers, unrolled
from sat_jax.model.mockingjay import Mockingjay, stack_frames
from sat_jax.trace.capture import capture
from sat_jax.trace.example import pick_utterance
from sat_jax.trace.reduce import collect, collect_groups, make_trace_fn, reducer, stream
from sat_jax.trace.store import Sample, load_sample, save_sample, save_sound

MODEL = Model(layers=2, heads=4, width=16, ffn=24, frontend=StackedFrames(stack=2), init_std=None)
F = 3


class Batch(NamedTuple):
    audio: np.ndarray
    lengths: np.ndarray
    index: np.ndarray


class Plain(Mockingjay):
    """With a front end in which F samples are a frame."""

    def prepare(self, audio, lengths):
        frames = audio[:, : audio.shape[1] // F * F].reshape(len(audio), -1, F) / 1000
        return stack_frames(frames.astype(jnp.float32), lengths // F, 2)


@pytest.fixture(scope="module")
def model():
    module = Plain(MODEL, Features(mels=F, mfccs=1))
    return module, jax.jit(lambda k: init_params(k, module))(jax.random.key(0))


def utterances(count=11):
    rng = np.random.default_rng(0)
    return [rng.integers(-3000, 3000, F * n).astype(np.int16) for n in rng.integers(4, 21, count)]


def batches(audio, size, frames):
    for first in range(0, len(audio), size):
        rows = np.zeros((size, F * frames), np.int16)
        lengths, index = np.zeros(size, np.int32), np.full(size, -1, np.int32)
        for row, i in enumerate(range(first, min(first + size, len(audio)))):
            rows[row, : len(audio[i])] = audio[i]
            lengths[row], index[row] = len(audio[i]), i
        yield Batch(rows, lengths, index)


def test_capture_names_every_layer(model):
    module, params = model
    audio = utterances()[0][None]
    inputs, valid = module.prepare(audio, np.array([audio.shape[1]]))
    trace = jax.jit(lambda p: capture(module, p, inputs, valid))(params)
    assert len(trace.probs) == 2
    assert len(trace.hidden) == 3
    # The last state, through the prediction head, is the prediction.
    silent = jax.tree.map(jnp.zeros_like, params["head"]["output"])
    muted = {**params, "head": {**params["head"], "output": silent}}
    blank = jax.jit(lambda p: capture(module, p, inputs, valid))(muted)
    assert (blank.output == 0).all()
    np.testing.assert_array_equal(blank.hidden[-1], trace.hidden[-1])
    assert not (trace.output == 0).all()


def test_scanned_models_trace_like_unrolled_ones(model):
    module, params = model
    scanned = module.clone(config=dataclasses.replace(MODEL, scan_layers=True))
    whole, flat = unrolled(scanned, stack_layers(params, 2))
    assert not whole.config.scan_layers
    jax.tree.map(np.testing.assert_array_equal, flat, params)


def measure(trace, settings, *rows):
    """Head metrics of every layer, stacked."""
    layers = [measure_heads(probs, trace.valid) for probs in trace.probs]
    return {name: jnp.stack([layer[name] for layer in layers], 1) for name in layers[0]}


def test_streaming_does_not_depend_on_batches_padding_or_devices(model):
    module, params = model
    audio = utterances()
    results = []
    for size, frames, axes in ((8, 20, Mesh()), (16, 24, Mesh()), (2, 20, None)):
        if axes is None:
            auto = (jax.sharding.AxisType.Auto,) * 3
            names = ("data", "fsdp", "model")
            grid = jax.make_mesh((1, 1, 1), names, axis_types=auto, devices=jax.devices()[:1])
        else:
            grid = mesh.build_mesh(axes, size)
        step = reducer(make_trace_fn(module, grid), measure, grid)
        whole = jax.device_put(params, mesh.replicated(grid))
        index, values = collect(stream(step, whole, batches(audio, size, frames), grid))
        np.testing.assert_array_equal(index, np.arange(len(audio)))
        results.append(values)
    for other in results[1:]:
        for name, values in results[0].items():
            assert values.shape[:3] == (11, 2, 4)
            np.testing.assert_allclose(values, other[name], rtol=2e-5, atol=2e-5)


def test_settings_and_rows_reach_the_measure_with_their_utterance(model):
    module, params = model
    audio = utterances()
    grid = mesh.build_mesh(Mesh(), 8)

    def scaled(trace, settings, row):
        return {"sum": row.sum(-1) * settings, "positions": trace.valid.sum(-1)}

    step = reducer(make_trace_fn(module, grid), scaled, grid)
    whole = jax.device_put(params, mesh.replicated(grid))
    own = lambda batch: (np.stack([batch.index, batch.index], 1).astype(np.float32),)  # noqa: E731
    parts = list(stream(step, whole, batches(audio, 8, 20), grid, np.float32(10), own))
    index, values = collect(parts)
    np.testing.assert_array_equal(values["sum"], 20 * index)
    np.testing.assert_array_equal(values["positions"], [len(a) // F // 2 for a in audio])


@pytest.mark.parametrize("groups", [1, 3, 11, 50])
def test_groups_of_utterances_hold_the_same_sums(groups):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(11, 2, 3)).astype(np.float32)
    order = rng.permutation(11)
    parts = [(order[:4], {"a": values[order[:4]]}), (order[4:], {"a": values[order[4:]]})]
    counts, sums = collect_groups(iter(parts), 11, groups)
    assert len(counts) == min(groups, 11)
    assert counts.sum() == 11
    assert counts.max() - counts.min() <= 1
    np.testing.assert_allclose(sums["a"].sum(0), values.sum(0), rtol=1e-5)
    np.testing.assert_allclose(sums["a"][0], values[: counts[0]].sum(0), rtol=1e-5)


def test_samples_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    sample = Sample(
        id="speaker/one",
        maps=rng.random((2, 3, 5, 5)).astype(np.float16),
        spectrogram=rng.random((10, 8)).astype(np.float32),
        audio=rng.integers(-9, 9, 1600).astype(np.int16),
        phones=np.array([[0, 800, 1], [800, 1600, 0]], np.int32),
    )
    save_sample(tmp_path / "trace" / "one.npz", sample)
    back = load_sample(tmp_path / "trace" / "one.npz")
    assert back.id == sample.id
    for name in ("maps", "spectrogram", "audio", "phones"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sample, name))


@pytest.mark.parametrize("name", ["one.npz", "one.wav"])
def test_without_room_one_line_names_the_file_and_nothing_is_left(tmp_path, name):
    audio = np.random.default_rng(0).integers(-9999, 9999, 16000).astype(np.int16)
    sample = Sample("one", np.zeros((1, 1, 2, 2)), np.zeros((2, 8)), audio, np.zeros((0, 3)))
    path = tmp_path / name
    with files_up_to(1000), pytest.raises(InputError, match=f"{name}: cannot be written"):
        save_sound(path, audio) if path.suffix == ".wav" else save_sample(path, sample)
    assert not list(tmp_path.iterdir())


class Split(NamedTuple):
    name: str
    ids: list
    lengths: np.ndarray


def test_the_drawn_utterance_is_the_one_asked_for_or_of_three_seconds():
    split = Split("test", ["a", "b", "c"], np.array([16000, 47000, 90000]))
    assert pick_utterance(split, "") == 1
    assert pick_utterance(split, "c") == 2
    with pytest.raises(ValueError, match="utterance d is not in the test split: try a, b, c"):
        pick_utterance(split, "d")
