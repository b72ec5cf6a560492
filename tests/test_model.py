"""The encoder against plain numpy, and everything that must not change its numbers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from scipy.special import erf

from sat_jax.config import Config, Features, Model, QueryKey, StackedFrames
from sat_jax.errors import InputError
from sat_jax.model.attention.edit import limit_span, whole_edit
from sat_jax.model.attention.kernels import fused_context
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.build import build_model, init_params
from sat_jax.model.dropout import dropout
from sat_jax.model.encoder import stack_layers, unstack_layers
from sat_jax.model.mockingjay import stack_frames, unstack_frames

B, T, F, R = 3, 14, 5, 3
FRONTEND = StackedFrames(stack=R, max_positions=32)
MODEL = Model(layers=2, heads=4, width=16, ffn=24, frontend=FRONTEND, init_std=None)
FEATURES = Features(mels=F, mfccs=1)
LENGTHS = np.array([14, 9, 1])


def start(model, seed=0):
    return jax.jit(lambda key: init_params(key, model))(jax.random.key(seed))


def built(model):
    return build_model(Config(model=model, features=FEATURES))


@functools.cache
def make(**changes):
    """A model with random parameters, biases and normalisation included (compiles nothing)."""
    model = built(dataclasses.replace(MODEL, **changes))
    shapes = jax.eval_shape(lambda key: init_params(key, model), jax.random.key(0))
    rng = np.random.default_rng(9)

    def draw(path, leaf):
        centre = 1.0 if path[-1].key == "scale" else 0.0
        spread = leaf.shape[0] ** -0.5 if leaf.ndim == 2 else 0.1
        return jnp.asarray(rng.normal(centre, spread, leaf.shape), leaf.dtype)

    return model, jax.tree_util.tree_map_with_path(draw, shapes)


def apply(model, params, x, valid, mutable=False, gate=None, span=None, **arguments):
    @jax.jit
    def run(params, x, valid, gate, span, arguments):
        edit = whole_edit(2, 4, gate, span)
        return model.apply({"params": params}, x, valid, edit, mutable=mutable, **arguments)

    return run(params, x, valid, gate, span, arguments)


def batch():
    x = jax.random.normal(jax.random.key(1), (B, T, R * F))
    valid = jnp.arange(T) < LENGTHS[:, None]
    return x * valid[:, :, None], valid


def numpy_forward(params, config, x, gate=None, span=None, offset=0):
    """One utterance without padding, (T, R * F), in float64 and with loops over heads."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)

    def dense(y, w):
        return y @ w["kernel"] + w["bias"]

    def norm(y, w):
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(
            y.var(-1, keepdims=True) + config.layer_norm_eps
        )
        return y * w["scale"] + w["bias"]

    def gelu(y):
        return 0.5 * y * (1 + erf(y / np.sqrt(2)))

    t, d, heads = len(x), config.width, config.heads
    k = d // heads
    table = np.zeros((t, d))
    for position in range(t):
        for i in range(d):
            angle = (position + offset) / config.frontend.position_base ** (2 * (i // 2) / d)
            table[position, i] = np.sin(angle) if i % 2 == 0 else np.cos(angle)
    y = norm(dense(np.asarray(x, np.float64), p["input"]) + table, p["input_norm"])
    hidden, maps = [y], []
    for index in range(config.layers):
        layer = p["encoder"][f"layer_{index}"]
        z = norm(y, layer["norm_attention"]) if config.pre_ln else y
        streams = dense(z, layer["attention"]["streams"]).reshape(t, heads, 3, k)
        mixed = np.zeros((t, heads, k))
        for h in range(heads):
            logits = streams[:, h, 0] @ streams[:, h, 1].T / np.sqrt(k)
            a = np.exp(logits - logits.max(-1, keepdims=True))
            a /= a.sum(-1, keepdims=True)
            maps.append(a.copy())
            if span is not None:
                for q in range(t):
                    for s in range(t):
                        a[q, s] *= abs(q - s) <= span
            mixed[:, h] = (1 if gate is None else gate[index, h]) * (a @ streams[:, h, 2])
        y = y + dense(mixed.reshape(t, d), layer["attention"]["out"])
        if not config.pre_ln:
            y = norm(y, layer["norm_attention"])
        z = norm(y, layer["norm_ffn"]) if config.pre_ln else y
        y = y + dense(gelu(dense(z, layer["ffn_in"])), layer["ffn_out"])
        if not config.pre_ln:
            y = norm(y, layer["norm_ffn"])
        hidden.append(y)
    if config.pre_ln:
        y = norm(y, p["encoder"]["norm"])
    head = p["head"]
    prediction = dense(norm(gelu(dense(y, head["dense"])), head["norm"]), head["output"])
    return prediction, np.array(maps).reshape(config.layers, heads, t, t), hidden


@pytest.mark.parametrize("pre_ln", [False, True])
@pytest.mark.parametrize("cut", [None, 2])
def test_forward_is_the_numpy_oracle(pre_ln, cut):
    model, params = make(pre_ln=pre_ln)
    x, valid = batch()
    gate = jax.random.uniform(jax.random.key(3), (2, 4)).round() if cut else None
    offset = jnp.array([7, 0, 3])
    prediction, sown = apply(model, params, x, valid, ["trace"], gate=gate, span=cut, offset=offset)
    for row, length in enumerate(LENGTHS):
        expected, maps, hidden = numpy_forward(
            params, model.config, x[row, :length], gate, cut, offset[row]
        )
        np.testing.assert_allclose(prediction[row, :length], expected, atol=2e-5)
        for index in range(2):
            layer = sown["trace"]["encoder"][f"layer_{index}"]
            probs = layer["attention"]["probs"][0][row]
            np.testing.assert_allclose(probs[:, :length, :length], maps[index], atol=1e-5)
            assert (probs[:, :length, length:] == 0).all()
            state = layer["hidden"][0][row, :length]
            np.testing.assert_allclose(state, hidden[index + 1], atol=2e-5)
        start = sown["trace"]["encoder"]["hidden"][0][row, :length]
        np.testing.assert_allclose(start, hidden[0], atol=1e-5)


def test_padding_never_changes_a_result():
    model, params = make()
    x, valid = batch()
    together = apply(model, params, x, valid)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        alone = apply(model, params, x[one, :length], valid[one, :length])
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)
    garbage = jnp.where(valid[:, :, None], x, 1e3)
    again = apply(model, params, garbage, valid)
    np.testing.assert_array_equal(
        np.asarray(again)[np.asarray(valid)], np.asarray(together)[np.asarray(valid)]
    )


def test_an_utterance_without_frames_stays_finite():
    model, params = make()
    x, valid = batch()
    assert jnp.isfinite(apply(model, params, x, valid & False)).all()


def test_gate_of_ones_and_wide_span_change_nothing():
    model, params = make()
    x, valid = batch()
    plain = apply(model, params, x, valid)
    open_gate = apply(model, params, x, valid, gate=jnp.ones((2, 4)), span=T)
    np.testing.assert_allclose(open_gate, plain, atol=1e-6)


def test_gate_and_span_are_traced():
    model, params = make()
    x, valid = batch()
    traces = []

    @jax.jit
    def run(gate, span):
        traces.append(1)
        return model.apply({"params": params}, x, valid, whole_edit(2, 4, gate, span))

    outputs = [run(jnp.full((2, 4), g), jnp.int32(s)) for g, s in ((1.0, 9), (0.0, 9), (1.0, 0))]
    assert len(traces) == 1
    assert not np.allclose(outputs[0], outputs[1], atol=1e-3)
    assert not np.allclose(outputs[0], outputs[2], atol=1e-3)


@pytest.mark.parametrize("pre_ln", [False, True])
def test_scan_equals_unroll(pre_ln):
    model, params = make(dropout=0.2, pre_ln=pre_ln)
    scanned = model.clone(config=dataclasses.replace(model.config, scan_layers=True))
    x, valid = batch()
    edit = whole_edit(2, 4, jax.random.uniform(jax.random.key(3), (2, 4)), 5)

    def run(model, params):
        def loss(params):
            out, sown = model.apply(
                {"params": params}, x, valid, edit, key=jax.random.key(2), mutable=["trace"]
            )
            return (out**2).mean(), sown["trace"]

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)

    (loss, trace), grads = run(model, params)
    (scan_loss, scan_trace), scan_grads = run(scanned, stack_layers(params, 2))
    np.testing.assert_allclose(loss, scan_loss, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        grads,
        unstack_layers(scan_grads, 2),
    )
    stacked = scan_trace["encoder"]["layers"]["attention"]["probs"][0]
    assert stacked.shape == (2, B, 4, T, T)
    for index in range(2):
        one = trace["encoder"][f"layer_{index}"]["attention"]["probs"][0]
        np.testing.assert_allclose(stacked[index], one, atol=1e-6)


def test_scanned_init_is_the_unrolled_one():
    model = built(MODEL)
    scanned = model.clone(config=dataclasses.replace(MODEL, scan_layers=True))
    flat, stacked = start(model, 4), start(scanned, 4)
    jax.tree.map(np.testing.assert_array_equal, unstack_layers(stacked, 2), flat)


@pytest.mark.parametrize("again", ["maps", "layers"])
def test_remat_changes_no_gradient(again):
    model, params = make(dropout=0.1)
    x, valid = batch()

    def grads(model):
        def loss(params):
            return (model.apply({"params": params}, x, valid, key=jax.random.key(2)) ** 2).mean()

        return jax.jit(jax.grad(loss))(params)

    remat = model.clone(config=dataclasses.replace(model.config, remat=again))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grads(model), grads(remat)
    )


@pytest.mark.parametrize(("again", "kernels", "maps"), [("maps", 0, 2), ("layers", 4, 2)])
def test_remat_computes_its_products_a_second_time(again, kernels, maps):
    """So many of each layer; products of activations with each other have batch axes."""
    model, params = make(dropout=0.1)
    x, valid = batch()

    def products(jaxpr):
        found = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
        batched = sum(bool(e.params["dimension_numbers"][1][0]) for e in found)
        inner = [products(j) for e in jaxpr.eqns for j in jaxprs_in_params(e.params)]
        return np.sum([(len(found) - batched, batched), *inner], axis=0)

    def of(again):
        other = model.clone(config=dataclasses.replace(model.config, remat=again))

        def loss(params):
            return (other.apply({"params": params}, x, valid, key=jax.random.key(2)) ** 2).mean()

        return products(jax.make_jaxpr(jax.grad(loss))(params).jaxpr)

    layers = model.config.layers
    assert (of(again) - of("none")).tolist() == [layers * kernels, layers * maps]


def test_nothing_is_sown_unasked():
    model, params = make()
    x, valid = batch()
    _, sown = apply(model, params, x, valid, ["other"])
    assert sown == {}
    assert set(jax.eval_shape(model.init, jax.random.key(0), x, valid)) == {"params"}


def test_bfloat16_keeps_the_softmax_in_float32():
    model, params = make(compute_dtype="bfloat16")
    x, valid = batch()
    out, sown = apply(model, params, x, valid, ["trace"])
    probs = sown["trace"]["encoder"]["layer_0"]["attention"]["probs"][0]
    assert out.dtype == probs.dtype == jnp.float32
    np.testing.assert_allclose(probs.sum(-1), 1.0, atol=1e-6)
    exact = apply(make()[0], params, x, valid)
    assert 1e-6 < jnp.abs(out - exact).max() < 0.3


def test_init_follows_the_config():
    attention = QueryKey(tied=True, init_scale=1.5)
    config = dataclasses.replace(MODEL, attention=attention, residual_init_scale=0.3, width=256)
    layer = start(built(config))["encoder"]["layer_1"]
    streams = layer["attention"]["streams"]["kernel"].reshape(256, 4, 3, 64)
    np.testing.assert_array_equal(streams[:, :, 0], streams[:, :, 1])
    assert np.std(streams[:, :, 0]) == pytest.approx(1.5 / 16, rel=0.02)
    assert np.std(streams[:, :, 2]) == pytest.approx(1.0 / 16, rel=0.02)
    assert np.std(layer["attention"]["out"]["kernel"]) == pytest.approx(0.3 / 16, rel=0.02)
    assert np.std(layer["ffn_in"]["kernel"]) == pytest.approx(1.0 / 16, rel=0.04)
    published = dataclasses.replace(MODEL, init_std=0.02, width=256)
    layer = start(built(published))["encoder"]["layer_0"]
    assert np.std(layer["attention"]["streams"]["kernel"]) == pytest.approx(0.02, rel=0.02)


def test_fused_attention_is_the_explicit_one():
    keys = jax.random.split(jax.random.key(0), 3)
    query, key, value = (jax.random.normal(k, (B, 4, T, 8)) for k in keys)
    valid = batch()[1]
    logits = jnp.einsum("bhtk,bhsk->bhts", query, key) / 8**0.5
    expected = jnp.einsum("bhts,bhsk->bhtk", masked_softmax(logits, valid), value)
    np.testing.assert_allclose(fused_context(query, key, value, valid), expected, atol=1e-5)


def test_span_limit_is_a_band():
    limited = limit_span(jnp.ones((1, 3, 6, 6)), jnp.array([0, 2, 9]))[0]
    np.testing.assert_array_equal(limited[0], np.eye(6))
    assert limited[1].sum() == 6 + 2 * 5 + 2 * 4
    assert limited[2].sum() == 36


def test_dropout_rate_mean_and_independence():
    x = jnp.ones((64, 1000))
    dropped = dropout(jax.random.key(0), x, 0.1)
    assert (dropped == 0).mean() == pytest.approx(0.1, abs=0.005)
    assert dropped.mean() == pytest.approx(1.0, abs=0.005)
    other = dropout(jax.random.key(1), x, 0.1)
    assert ((dropped == 0) & (other == 0)).mean() == pytest.approx(0.01, abs=0.002)
    zeros = np.asarray(dropped == 0, float)
    for shifted in (np.roll(zeros, 1, 1), np.roll(zeros, 1, 0)):
        assert np.corrcoef(zeros.ravel(), shifted.ravel())[0, 1] == pytest.approx(0, abs=0.02)
    assert dropout(None, x, 0.1) is x


def test_stacking_drops_what_does_not_fill_a_position():
    features = jnp.arange(2 * 8 * F, dtype=jnp.float32).reshape(2, 8, F)
    stacked, valid = stack_frames(features, jnp.array([8, 5]), 3)
    assert stacked.shape == (2, 2, 3 * F)
    np.testing.assert_array_equal(valid, [[True, True], [True, False]])
    np.testing.assert_array_equal(stacked[0, 1], features[0, 3:6].ravel())
    np.testing.assert_array_equal(unstack_frames(stacked, 3), features[:, :6])


def test_errors_name_the_cure():
    model, params = make(frontend=dataclasses.replace(FRONTEND, max_positions=8))
    x, valid = batch()
    with pytest.raises(InputError, match="raise model.frontend.max-positions from 8"):
        model.apply({"params": params}, x, valid)
    with pytest.raises(InputError, match="model.kind is 'foo': give one of mockingjay"):
        built(dataclasses.replace(MODEL, kind="foo"))
