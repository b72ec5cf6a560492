"""Importance of heads by gradient, reconstruction errors and mean maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_ablate import LENGTHS, NEAR, H, L, T, encoded, pieces_of
from test_model import F, R, numpy_forward

from sat_jax.model.attention.edit import HeadEdit
from sat_jax.model.attention.self_attention import replace_maps
from sat_jax.trace.capture import capture
from sat_jax.trace.importance import (
    gate_gradients,
    layer_normalised,
    reconstruction_error,
    summed_maps,
)


def targets():
    return np.random.default_rng(3).normal(size=(len(LENGTHS), T, R * F)).astype(np.float32)


def test_reconstruction_error_is_the_mean_over_valid_positions():
    inputs, valid, _ = encoded()
    found = reconstruction_error(inputs, targets(), valid)
    for row, length in enumerate(LENGTHS[:3]):
        expected = np.abs(inputs[row, :length] - targets()[row, :length]).mean()
        assert found[row] == pytest.approx(expected, abs=1e-5)
    assert found[3] == 0


def test_gate_gradients_are_finite_differences():
    model, params, _, _ = pieces_of()
    inputs, valid, _ = encoded()
    found = jax.jit(lambda *a: gate_gradients(model, *a))(params, inputs, targets(), valid)
    assert found.shape == (len(LENGTHS), L, H)
    assert (found[3] == 0).all()
    step = 1e-4
    for row, length in enumerate(LENGTHS[:3]):
        for place in ((0, 0), (1, 3), (2, 2)):
            errors = []
            for sign in (1, -1):
                gate = np.ones((L, H))
                gate[place] += sign * step
                out, _, _ = numpy_forward(params, model.config, inputs[row, :length], gate)
                errors.append(np.abs(out - targets()[row, :length]).mean())
            slope = abs(errors[0] - errors[1]) / (2 * step)
            assert found[row][place] == pytest.approx(slope, abs=1e-5, rel=1e-2)
    assert (found[:3] > 1e-4).any()


def test_importance_has_length_one_in_every_layer():
    importance = jnp.array([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(layer_normalised(importance), [[0.6, 0.8], [0, 0], [0, 1]])


def test_summed_maps_are_those_of_utterances_without_padding():
    model, params, _, _ = pieces_of()
    inputs, valid, _ = encoded()
    sums, pairs = jax.jit(lambda *a: summed_maps(model, *a))(params, inputs, valid)
    expected, count = np.zeros((L, H, T, T)), np.zeros((T, T))
    for row, length in enumerate(LENGTHS[:3]):
        _, maps, _ = numpy_forward(params, model.config, inputs[row, :length])
        expected[:, :, :length, :length] += maps
        count[:length, :length] += 1
    np.testing.assert_allclose(sums, expected, atol=1e-5)
    np.testing.assert_array_equal(pairs, count)


def test_replaced_maps_are_distributions_over_the_keys_there_are():
    _, valid, maps = encoded()
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(T), (len(LENGTHS), H, T)).astype(np.float32)
    swap = np.array([True, False, True, False])
    found = np.asarray(replace_maps(probs, swap, maps[0], jnp.asarray(valid)))
    np.testing.assert_array_equal(found[:, ~swap], probs[:, ~swap])
    for row, length in enumerate(LENGTHS[:3]):
        np.testing.assert_allclose(found[row][swap].sum(-1), 1, atol=1e-6)
        assert (found[row][swap][..., length:] == 0).all()
        kept = maps[0][swap][..., :length]
        expected = kept / kept.sum(-1, keepdims=True)
        np.testing.assert_allclose(found[row][swap][..., :length], expected, atol=1e-6)
    assert (found[3][swap] == 0).all()


def test_an_utterances_own_maps_change_nothing():
    model, params, _, _ = pieces_of()
    inputs, valid, _ = encoded()
    row, length = slice(1, 2), LENGTHS[1]
    trace = jax.jit(lambda p: capture(model, p, inputs[row], valid[row]))(params)
    maps = jnp.stack([probs[0] for probs in trace.probs])
    run = jax.jit(
        lambda s, m: model.apply({"params": params}, inputs, valid, HeadEdit(None, None, s, m))
    )
    one = np.zeros((L, H), bool)
    one[0, 1] = True
    for swap in (one, ~one, one | ~one):
        np.testing.assert_allclose(run(swap, maps)[row], trace.output, **NEAR)
        others = run(swap, jnp.flip(maps, axis=-1))[row]
        assert np.abs(others - trace.output)[0, :length].max() > 1e-3
