"""A pruned model is the masked one with fewer parameters."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from test_model import F, R, make

from sat_jax.config import (
    Config,
    Features,
    Model,
    StackedFrames,
)
from sat_jax.model.attention.edit import NO_EDIT, NO_SPAN, HeadEdit, whole_edit
from sat_jax.model.attention.kernels import BLOCK, banded_context, block_shape
from sat_jax.model.build import build_model, init_params
from sat_jax.model.cost import forward_flops, parameter_count
from sat_jax.model.prune import prune_params
from sat_jax.study import export
from sat_jax.trace.capture import capture

B, T = 3, 70
LENGTHS = np.array([T, 41, 1])
SHAPE = {"layers": 3, "frontend": StackedFrames(stack=R, max_positions=128)}
KEPT = ((1, 3), (), (0, 1, 2))
PRUNED = ((0, 2), (0, 1, 2, 3), (3,))
SPANS = {
    "none": (),
    "one": ((3, 3), (), (3, 3, 3)),
    "mixed": ((0, T + 5), (), (17, None, 5)),
}


def batch():
    x = jax.random.normal(jax.random.key(1), (B, T, R * F))
    return x, jnp.arange(T) < LENGTHS[:, None]


def pair(pruned=PRUNED, spans=(), softmax="row", **changes):
    """The masked model with its gates and spans, and the pruned one: (module, params, edit)."""
    module, params = make(**SHAPE, **changes)
    config = dataclasses.replace(module.config, span_softmax=softmax)
    small = dataclasses.replace(config, pruned_heads=pruned, spans=spans)
    return (
        (module.clone(config=config), params, export.edit_of(small)),
        (module.clone(config=small), prune_params(params, config, small), NO_EDIT),
    )


@functools.cache
def runner(module):
    """The compiled forward pass of a module, shared by tests."""
    return jax.jit(lambda params, x, valid, edit: module.apply({"params": params}, x, valid, edit))


def outputs(module, params, edit):
    x, valid = batch()
    return np.where(valid[:, :, None], runner(module)(params, x, valid, edit), 0)


@pytest.mark.parametrize(
    ("softmax", "spans", "pre_ln"),
    [
        ("row", "none", True),
        ("row", "one", False),
        ("row", "mixed", True),
        ("band", "one", True),
        ("band", "mixed", False),
    ],
)
def test_the_pruned_model_is_the_masked_one(softmax, spans, pre_ln):
    masked, small = pair(PRUNED, SPANS[spans], softmax, pre_ln=pre_ln)
    expected = outputs(*masked)
    np.testing.assert_allclose(outputs(*small), expected, atol=1e-5)
    assert np.abs(outputs(masked[0], masked[1], NO_EDIT) - expected).max() > 0.01


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_any_heads_may_go(share):
    gates = np.random.default_rng(5).random((3, 4)) < share
    masked, small = pair(tuple(tuple(np.flatnonzero(~row).tolist()) for row in gates))
    np.testing.assert_array_equal(masked[2].gate, gates)
    np.testing.assert_allclose(outputs(*small), outputs(*masked), atol=1e-5)


@pytest.mark.parametrize("softmax", ["row", "band"])
def test_gradients_are_those_of_the_heads_that_are_left(softmax):
    masked, small = pair(PRUNED, SPANS["mixed"], softmax)
    x, valid = batch()

    def gradients(module, params, edit):
        def loss(params):
            out = module.apply({"params": params}, x, valid, edit)
            return (jnp.where(valid[:, :, None], out, 0.0) ** 2).mean()

        return jax.jit(jax.grad(loss))(params)

    expected = prune_params(gradients(*masked), masked[0].config, small[0].config)
    found = gradients(*small)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), found, expected)
    assert np.abs(found["encoder"]["layer_2"]["attention"]["streams"]["kernel"]).max() > 1e-4


def test_a_gate_goes_by_the_number_that_a_head_had():
    masked, small = pair()
    gate = np.ones((3, 4), np.float32)
    gate[0, 3] = gate[0, 0] = 0.0
    both = whole_edit(3, 4, masked[2].gate * gate, 4)
    expected = outputs(masked[0], masked[1], both)
    found = outputs(small[0], small[1], whole_edit(3, 4, gate, 4))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    alive = np.where(masked[2].gate == 0, 0.0, 1.0)
    np.testing.assert_array_equal(
        outputs(small[0], small[1], HeadEdit(alive)), outputs(small[0], small[1], NO_EDIT)
    )


@pytest.mark.parametrize("softmax", ["row", "band"])
def test_captured_maps_are_those_of_the_heads_that_are_not_pruned(softmax):
    masked, small = pair(PRUNED, SPANS["mixed"], softmax)
    x, valid = batch()

    def traced(module, params, edit):
        return jax.jit(lambda p: capture(module, p, x, valid, edit.gate, edit.span))(params)

    expected, found = traced(*masked), traced(*small)
    seen = np.asarray(valid)[:, :, None]
    for layer, (ours, theirs) in enumerate(zip(found.probs, expected.probs, strict=True)):
        if not KEPT[layer]:
            assert ours is None
            continue
        assert ours.shape == (B, len(KEPT[layer]), T, T)
        for place, head in enumerate(KEPT[layer]):
            np.testing.assert_allclose(
                np.where(seen, ours[:, place], 0), np.where(seen, theirs[:, head], 0), atol=1e-6
            )
    assert (np.asarray(found.probs[0])[1, 0, :, 41:] == 0).all()
    beyond = np.abs(np.subtract.outer(np.arange(T), np.arange(T))) > 17
    assert (np.asarray(found.probs[2])[0, 0][beyond] == 0).all() == (softmax == "band")
    for ours, theirs in zip(found.hidden, expected.hidden, strict=True):
        np.testing.assert_allclose(np.where(seen, ours, 0), np.where(seen, theirs, 0), atol=1e-5)


def banded_oracle(query, key, value, valid, spans):
    """Loops over queries; padded queries are left at 0."""
    context = np.zeros(query.shape)
    b, h, t, k = query.shape
    for row, head, q in itertools.product(range(b), range(h), range(t)):
        if valid[row, q]:
            span = t if spans[head] is None else spans[head]
            near = [s for s in range(t) if abs(s - q) <= span and valid[row, s]]
            logits = key[row, head, near] @ query[row, head, q] / np.sqrt(k)
            weight = np.exp(logits - logits.max())
            context[row, head, q] = weight @ value[row, head, near] / weight.sum()
    return context


@pytest.mark.parametrize(
    ("length", "spans"),
    [
        (1, (0, 3)),
        (7, (2, 2)),
        (16, (0, 0)),
        (17, (0, 1)),
        (33, (1, 8)),
        (48, (5, 5)),
        (63, (15, 16)),
        (64, (20, None)),
        (65, (31, 21)),
        (100, (17, 400)),
    ],
)
def test_banded_attention_is_the_softmax_over_the_band(length, spans):
    rng = np.random.default_rng(length)
    query, key, value = rng.normal(size=(3, 2, 2, length, 4))
    valid = np.arange(length) < np.array([[length], [length // 2 + 1]])
    run = jax.jit(functools.partial(banded_context, spans=spans))
    found = np.asarray(run(*(jnp.asarray(a, jnp.float32) for a in (query, key, value)), valid))
    expected = banded_oracle(query, key, value, valid, spans)
    np.testing.assert_allclose(np.where(valid[:, None, :, None], found, 0), expected, atol=1e-5)
    nowhere = run(*(jnp.asarray(a, jnp.float32) for a in (query, key, value)), valid & False)
    assert np.isfinite(nowhere).all()


def test_blocks_hold_the_span():
    assert block_shape(112, 3) == (BLOCK, BLOCK + 6)
    assert block_shape(112, 20) == (20, 60)
    assert block_shape(50, 20) == block_shape(50, NO_SPAN) == block_shape(50, 49) == (50, 50)


def test_dropout_within_the_band():
    query = jnp.zeros((1, 2, 600, 4))
    arguments = (query, query, jnp.ones_like(query), jnp.ones((1, 600), bool), (4, 9))
    run = jax.jit(lambda key: banded_context(*arguments, key, 0.5))
    dropped = np.asarray(run(jax.random.key(0)))
    assert dropped.mean() == pytest.approx(1.0, abs=0.05)
    # The mean of n values that are 0 or 2 has the variance 1 / n.
    assert dropped.var((2, 3))[0] == pytest.approx([1 / 9, 1 / 19], rel=0.3)


def largest_array(softmax, length):
    """Elements of the largest array anywhere in a training step of the model."""
    module, params = pair(PRUNED, SPANS["one"], softmax, dropout=0.1)[1][:2]
    frontend = dataclasses.replace(module.config.frontend, max_positions=length)
    module = module.clone(config=dataclasses.replace(module.config, frontend=frontend))
    x, valid = jnp.zeros((1, length, R * F)), jnp.ones((1, length), bool)

    def loss(params):
        return module.apply({"params": params}, x, valid, key=jax.random.key(0)).sum()

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))
            for inner in jaxprs_in_params(equation.params):
                yield from sizes(inner)

    return max(sizes(jax.make_jaxpr(jax.grad(loss))(params).jaxpr))


def test_a_band_costs_as_much_as_its_length():
    short, long = (largest_array("band", length) for length in (1024, 2048))
    assert long <= 2 * short < 1024**2 / 4
    assert largest_array("row", 1024) >= 1024**2


def test_parameters_are_fewer_by_what_a_head_has():
    (_, params, _), (small, pruned, _) = pair()
    width, head = 16, 4
    each = 3 * (width + 1) * head + head * width
    assert parameter_count(params) - parameter_count(pruned) == 7 * each
    assert set(pruned["encoder"]["layer_1"]["attention"]) == {"out"}
    shapes = jax.eval_shape(lambda key: init_params(key, small), jax.random.key(0))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, pruned)


def test_operations_are_counted():
    model = Model(layers=2, heads=2, width=8, ffn=16, frontend=StackedFrames(stack=1))
    features = Features(mels=6, mfccs=1, n_fft=400, target="linear", window=20, target_n_fft=22)

    def flops(model, positions):
        return forward_flops(build_model(Config(model=model, features=features)), positions)

    ends, t = 8 * (6 + 8 + 12), 100
    layer = 8 * 24 + 8 * 8 + 2 * 8 * 16
    assert flops(model, t) == 2 * t * (ends + 2 * layer + 2 * 2 * t * 8)
    one = dataclasses.replace(model, pruned_heads=((0,), (0, 1)), spans=((3,), ()))
    head = 8 * 12 + 4 * 8
    assert flops(one, t) == 2 * t * (ends + head + 4 * 8 * 16 + 2 * t * 4)
    band = dataclasses.replace(one, span_softmax="band")
    saved = 2 * 2 * 4 * (t * t - 7 * BLOCK * (BLOCK + 6))
    assert flops(one, t) - flops(band, t) == saved
