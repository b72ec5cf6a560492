"""The interface of attention algorithms and of the encoder: what is sown, shared, handed on."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_model import F, R, batch, built, make

from sat_jax.config import Config, MaskedReconstruction
from sat_jax.config.attention import Attention
from sat_jax.config.model import Model
from sat_jax.model.attention.edit import HeadEdit, whole_edit
from sat_jax.model.attention.self_attention import ATTENTION
from sat_jax.model.attention.softmax import masked_softmax
from sat_jax.model.build import init_params, input_shapes, spec_of
from sat_jax.model.cost import forward_flops
from sat_jax.model.encoder import collect, layer_params
from sat_jax.model.prune import prune_params
from sat_jax.study.export import edit_of
from sat_jax.trace.capture import capture

PRUNED = ((1,), (0, 1, 2, 3))


@dataclasses.dataclass(frozen=True)
class Fixed(Attention):
    """Maps that hear nothing of the input."""

    kind: str = "fixed"


class FixedMaps(nn.Module):
    """A trained table of logits per head, cropped to the length; a scale that all heads share."""

    config: Fixed
    heads: int
    total: int
    longest: int

    PROJECTIONS = ()
    DOT_PRODUCT = False
    DROPS = False
    HEAD_AXES = {"table": 1}  # noqa: RUF012

    @staticmethod
    def start(kernels, config):
        return kernels

    @staticmethod
    def flops(positions, pairs, width, config):
        return 2 * width * pairs

    @nn.nowrap
    def mix(self, x, scope, value):
        return None

    @nn.compact
    def __call__(self, x, scope):
        shape = (self.longest, self.heads, self.longest)
        table = self.param("table", nn.initializers.normal(1.0), shape)
        scale = self.param("scale", nn.initializers.ones, (1,))
        t = x.shape[1]
        logits = table[:t, :, :t].swapaxes(0, 1) * scale
        logits = jnp.broadcast_to(logits, (len(x), *logits.shape))
        return masked_softmax(logits, scope.valid, scope.allowed)


@pytest.fixture
def fixed(monkeypatch):
    monkeypatch.setitem(ATTENTION, Fixed, FixedMaps)
    model, _ = make()
    model = built(dataclasses.replace(model.config, attention=Fixed()))
    return model, jax.jit(lambda key: init_params(key, model))(jax.random.key(0))


def test_an_algorithm_s_own_parameters_with_a_head_axis_are_pruned_with_the_heads(fixed):
    model, params = fixed
    own = layer_params(params, model.config, 0)["attention"]["algorithm"]
    assert own["table"].shape == (32, 4, 32)
    small = dataclasses.replace(model.config, pruned_heads=PRUNED)
    pruned = prune_params(params, model.config, small)
    mine = layer_params(pruned, small, 0)["attention"]["algorithm"]
    np.testing.assert_array_equal(mine["table"], np.asarray(own["table"])[:, [0, 2, 3]])
    np.testing.assert_array_equal(mine["scale"], own["scale"])
    x, valid = batch()
    ours = model.clone(config=small).apply({"params": pruned}, x, valid)
    masked = model.apply({"params": params}, x, valid, edit_of(small))
    np.testing.assert_allclose(ours[valid], masked[valid], atol=1e-5)
    # Its parameters are those of the longest input, whatever it was initialised on.
    again = model.init(jax.random.key(0), x, valid)["params"]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.shape, b.shape), params, again)


def test_an_algorithm_without_projections_has_only_values_and_costs_less(fixed):
    model, params = fixed
    attention = layer_params(params, model.config, 0)["attention"]
    assert attention["streams"]["kernel"].shape == (16, 16)
    plain, t = built(dataclasses.replace(model.config, attention=make()[0].config.attention)), 20
    # Two projections of D x D and the products of queries and keys, in each of two layers.
    fewer = 2 * (2 * 2 * t * 16 * 16 + 2 * t * t * 16)
    assert forward_flops(plain, t) - forward_flops(model, t) == fewer


@pytest.mark.parametrize("share", [False, True])
def test_what_is_sown_is_what_the_parts_compute(share):
    model, params = make(share_layers=share, dropout=0.0)
    x, valid = batch()
    _, sown = model.apply({"params": params}, x, valid, mutable=["trace"])
    found = collect(sown["trace"], model.config)
    assert [len(field) for field in found] == [3, 2, 2, 2]
    trace = jax.jit(lambda p: capture(model, p, x, valid, everything=True))(params)
    for layer in range(2):
        p = layer_params(params, model.config, layer)
        state = found.hidden[layer]
        streams = state @ p["attention"]["streams"]["kernel"] + p["attention"]["streams"]["bias"]
        value = streams.reshape(*state.shape[:2], 4, 3, 4)[:, :, :, 2]
        mixed = jnp.einsum("bhts,bshk->bthk", found.probs[layer], value)
        np.testing.assert_allclose(found.contexts[layer], mixed, atol=1e-5)
        out = p["attention"]["out"]
        added = mixed.reshape(*state.shape) @ out["kernel"] + out["bias"]
        norm = nn.LayerNorm(epsilon=model.config.layer_norm_eps)
        middle = norm.apply({"params": p["norm_attention"]}, state + added)
        after = norm.apply({"params": p["norm_ffn"]}, middle + found.ffn[layer])
        np.testing.assert_allclose(after, found.hidden[layer + 1], atol=1e-4)
        np.testing.assert_allclose(trace.contexts[layer], found.contexts[layer], atol=1e-6)
        np.testing.assert_allclose(trace.ffn[layer], found.ffn[layer], atol=1e-5)
    assert not np.allclose(found.probs[0], found.probs[1], atol=1e-3)
    assert capture(model, params, x, valid).contexts == ()


def test_shared_layers_are_one_set_of_parameters_used_twice():
    model, params = make(share_layers=True)
    assert [name for name in params["encoder"] if name.startswith("layer_")] == ["layer_0"]
    alone = model.clone(config=dataclasses.replace(model.config, share_layers=False))
    twice = {**params["encoder"], "layer_1": params["encoder"]["layer_0"]}
    x, valid = batch()
    edit = whole_edit(2, 4, jnp.array([[1.0, 1, 0, 1], [0, 1, 1, 1]]), 5)
    ours = model.apply({"params": params}, x, valid, edit)
    theirs = alone.apply({"params": {**params, "encoder": twice}}, x, valid, edit)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    # Pruning takes other heads from each use: the layers get parameters of their own.
    small = dataclasses.replace(alone.config, pruned_heads=PRUNED)
    pruned = prune_params(params, model.config, small)
    found = model.clone(config=small).apply({"params": pruned}, x, valid)
    masked = model.apply({"params": params}, x, valid, edit_of(small))
    np.testing.assert_allclose(found[valid], masked[valid], atol=1e-5)


def test_a_gate_is_a_head_edit():
    model, params = make()
    x, valid = batch()
    gate = jnp.array([[1.0, 0, 1, 1], [1, 1, 0, 0]])
    ours = model.apply({"params": params}, x, valid, HeadEdit(gate))
    theirs = capture(model, params, x, valid, gate=gate).output
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_spec_says_what_studies_need():
    model, _ = make()
    (inputs, valid), width = input_shapes(model, 3, 7), R * F
    assert (inputs.shape, valid.shape) == ((3, 7, width), (3, 7))
    config = dataclasses.replace(Model(), pruned_heads=((1, 2), *((),) * 11))
    spec = spec_of(Config(model=config, objective=MaskedReconstruction(c_num=6)))
    assert (spec.layers, spec.heads, spec.grid.stride, spec.edited) == (12, 12, 480, True)
    assert spec.head_mask.sum() == 142
    assert not spec.head_mask[0, [1, 2]].any()
    assert spec.trained_for == "spans of 6 frames masked"
    assert (spec.longest, spec.frames) == (500, 1500)
