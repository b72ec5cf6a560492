"""Sweeps over ablations: the trie gives what plain forward passes give, for less."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from meshes import mesh_of
from test_model import F, R, make, numpy_forward

from sat_jax import mesh
from sat_jax.model.attention.edit import NO_SPAN, HeadEdit
from sat_jax.model.packing import packing_of, real_rows
from sat_jax.sweep.batch_ops import NUMBERS, Counts, batch_ops, rounded
from sat_jax.sweep.ops import encoder_ops
from sat_jax.sweep.orderings import gates_of, random_orders, single_gates
from sat_jax.sweep.trie import (
    as_rows,
    distinct,
    make_settings,
    node_counts,
    sweep,
    take,
)

L, H, T = 3, 4, 12
LENGTHS = np.array([12, 7, 1, 0])
NEAR = {"atol": 1e-5, "rtol": 0}


def encoded():
    """Inputs (B, T, R * F), valid (B, T) and mean maps (L, H, T, S)."""
    rng = np.random.default_rng(5)
    valid = np.arange(T) < LENGTHS[:, None]
    inputs = rng.normal(size=(len(LENGTHS), T, R * F)).astype(np.float32)
    return inputs, valid, rng.dirichlet(np.ones(T), (L, H, T)).astype(np.float32)


def in_utterances(rows, count):
    """Rows (P, C, D) of so many devices as (B, C, T, D)."""
    _, valid, _ = encoded()
    states = np.zeros((*valid.shape, *rows.shape[1:]), rows.dtype)
    states[valid] = rows[real_rows(valid, len(rows) // count, count)]
    return states.swapaxes(1, 2)


def only_valid(arrays):
    """Arrays (..., T, D) of all utterances with 0 where there is padding."""
    _, valid, _ = encoded()
    lead = arrays.ndim - 3
    return arrays * valid.reshape(len(valid), *[1] * lead, T, 1)


@functools.cache
def pieces_of(pre_ln=False, count=1, copy=0):
    """A model, its parameters and its ops on so many devices, compiled for all tests at once."""
    del copy
    model, params = make(layers=L, pre_ln=pre_ln)
    grid = mesh_of(count)
    return model, jax.device_put(params, mesh.replicated(grid)), encoder_ops(model, grid), grid


def swept(settings, *, pre_ln=False, count=1, copy=0, params=None, counts=None, finish=None, **how):
    """What `sweep` gives, with everything that is not about settings fixed."""
    _, own, ops, grid = pieces_of(pre_ln, count, copy)
    inputs, valid, maps = encoded()
    packing = packing_of(valid, devices=count)
    inputs, valid, packing = mesh.place_batch((inputs, valid, packing), grid)

    def of_rows(states):
        padded = in_utterances(np.asarray(states), count)
        return jax.tree.map(only_valid, finish(padded) if finish else padded)

    maps = jax.device_put(maps, mesh.replicated(grid))
    # Where parameters are matters to what is compiled.
    params = own if params is None else jax.device_put(params, mesh.replicated(grid))
    piece = batch_ops(
        *(ops, params, H, inputs, valid, packing),
        of_rows,
        counts or Counts(set(), {}),
        maps,
    )
    return sweep(piece, settings, **how)


@functools.cache
def mixed():
    """10 settings: kept, faded and pruned heads, spans and swaps, and layers without any head."""
    ones, none = np.ones(H), np.zeros(H)
    gates = np.stack([ones, [1, 0, 0.25, 0], none, [0, 1, 1, -0.5]])
    spans = np.stack([[NO_SPAN] * H, [NO_SPAN, 0, 2, 1], [NO_SPAN] * H, [3] * H])
    swaps = np.stack([none, none, none, [0, 1, 0, 1]]).astype(bool)
    drawn = np.array(list(itertools.product([3, 1], [1, 2], [3, 2])))
    drawn = np.random.default_rng(0).permutation(np.concatenate([drawn, [[0] * L, [2] * L]]))
    return make_settings(gates[drawn], spans[drawn], swaps[drawn])


@functools.cache
def one_by_one(pre_ln):
    """Predictions and encoder outputs of `mixed`, each from a call of the model."""
    model, params, _, _ = pieces_of(pre_ln)
    inputs, valid, maps = encoded()

    @jax.jit
    def run(gate, span, swap):
        out, sown = model.apply(
            {"params": params},
            *(inputs, valid, HeadEdit(gate, span, swap, maps)),
            capture_intermediates=lambda module, _: module.name == "encoder",
        )
        found = {"prediction": out, "states": sown["intermediates"]["encoder"]["__call__"][0]}
        return jax.tree.map(only_valid, found)

    outputs = [run(*(field[i] for field in mixed())) for i in range(len(mixed().gate))]
    return jax.tree.map(lambda *each: np.stack(each), *outputs)


@functools.cache
def predictor(pre_ln):
    """What makes predictions of states (B, C, T, D), beside the states themselves."""
    model, params, _, _ = pieces_of(pre_ln)

    @jax.jit
    def predict(states):
        each = jax.vmap(
            lambda state: model.apply({"params": params}, state, method="predict"), 1, 1
        )
        return {"prediction": each(states), "states": states}

    return predict


def same(found, expected):
    for name, values in expected.items():
        assert found[name].shape == values.shape
        assert np.isfinite(found[name]).all()
        np.testing.assert_allclose(found[name], values, **NEAR)


@pytest.mark.parametrize(
    ("pre_ln", "width"), [(False, 1), (False, 2), (False, 3), (False, 4), (True, 2)]
)
def test_the_trie_is_a_loop_over_the_model(pre_ln, width):
    found = swept(mixed(), finish=predictor(pre_ln), width=width, pre_ln=pre_ln)
    same(found, one_by_one(pre_ln))
    # The settings do something, and each something else.
    flat = found["prediction"].reshape(len(mixed().gate), -1)
    apart = np.abs(flat[:, None] - flat[None]).max(-1)
    rows = as_rows(mixed()).reshape(len(flat), -1)
    assert ((apart > 1e-3) == (rows[:, None] != rows[None]).any(-1)).all()


@pytest.mark.parametrize(("pre_ln", "width"), [(False, 4), (True, 1)])
def test_plain_passes_are_a_loop_over_the_model(pre_ln, width):
    how = {"engine": "vmap", "width": width, "pre_ln": pre_ln}
    same(swept(mixed(), finish=predictor(pre_ln), **how), one_by_one(pre_ln))


def test_settings_come_back_in_the_order_in_which_they_were_given():
    plain = swept(mixed())
    order = np.random.default_rng(0).permutation(len(plain))
    np.testing.assert_allclose(swept(take(mixed(), order)), plain[order], **NEAR)
    plainly = swept(take(mixed(), order), engine="vmap", width=4)
    np.testing.assert_allclose(plainly, plain[order], **NEAR)


@pytest.mark.parametrize("engine", ["trie", "vmap"])
def test_repeated_settings_cost_nothing(engine):
    few, many = Counts(set(), {}), Counts(set(), {})
    some = take(mixed(), np.arange(8))
    again = np.array([3, 0, 7, 7, 1, 2, 5, 4, 6, 0, 3])
    once = swept(some, counts=few, engine=engine)
    repeated = swept(take(some, again), counts=many, engine=engine)
    assert few == many
    np.testing.assert_array_equal(repeated, once[again])


def test_how_a_pruned_head_would_look_does_not_matter():
    gate = np.ones((4, L, H), np.float32)
    gate[:, 1, 2] = 0
    span, swap = np.full((4, L, H), 5), np.zeros((4, L, H), bool)
    span[1, 1, 2], swap[2, 1, 2] = 0, True
    span[3, 1, 1] = 0
    settings = make_settings(gate, span, swap)
    unique, inverse = distinct(settings)
    assert len(unique.gate) == 2
    assert inverse[0] == inverse[1] == inverse[2] != inverse[3]
    assert node_counts(settings).tolist() == [1, 2, 2]


def test_every_head_pruned_is_an_encoder_with_the_bias_of_its_attention():
    _, params, _, _ = pieces_of()
    silent = jax.tree.map(lambda leaf: leaf, params)
    for index in range(L):
        attention = dict(params["encoder"][f"layer_{index}"]["attention"])
        bias = attention["out"]["bias"]
        assert np.abs(bias).min() > 1e-4
        attention = {**jax.tree.map(jnp.zeros_like, attention)}
        attention["out"] = {**attention["out"], "bias": bias}
        silent["encoder"][f"layer_{index}"]["attention"] = attention
    pruned = swept(make_settings(np.zeros((1, L, H))))
    whole = swept(make_settings(np.ones((1, L, H))), params=silent)
    np.testing.assert_allclose(pruned, whole, **NEAR)
    far = swept(make_settings(np.ones((1, L, H))))
    assert np.abs(pruned - far).max() > 0.1


@pytest.mark.parametrize("pre_ln", [False, True])
def test_every_utterance_is_that_of_the_numpy_oracle_without_padding(pre_ln):
    model, params, _, _ = pieces_of(pre_ln)
    inputs, _, _ = encoded()
    gates = np.stack([gates_of(np.arange(L * H), np.array([g]), (L, H))[0] for g in (0, 3, 8, 12)])
    spans = np.array([NO_SPAN, 2, NO_SPAN, 1])
    settings = make_settings(gates, spans[:, None, None])
    found = swept(settings, finish=predictor(pre_ln), pre_ln=pre_ln)["prediction"]
    for row, length in enumerate(LENGTHS[:3]):
        for g, gate in enumerate(gates):
            expected, _, _ = numpy_forward(
                params, model.config, inputs[row, :length], gate, min(spans[g], T)
            )
            np.testing.assert_allclose(found[g, row, :length], expected, atol=2e-5)


def test_leave_one_out_is_a_gate_with_one_zero():
    settings = make_settings(single_gates((L, H)))
    assert settings.gate.sum((1, 2)).tolist() == [L * H - 1] * (L * H)
    model, params, _, _ = pieces_of()
    inputs, valid, _ = encoded()
    run = jax.jit(
        lambda gate: only_valid(model.apply({"params": params}, inputs, valid, HeadEdit(gate)))
    )
    found = swept(settings, finish=predictor(False))["prediction"]
    for index in range(L * H):
        gate = np.ones(L * H)
        gate[index] = 0
        np.testing.assert_allclose(found[index], run(gate.reshape(L, H)), **NEAR)


def poisoned(params, layer, heads):
    """The same with everything that belongs to some heads of a layer NaN, b_O aside."""
    spoilt = jax.tree.map(lambda leaf: leaf, params)
    attention = jax.tree.map(np.array, params["encoder"][f"layer_{layer}"]["attention"])
    d = attention["streams"]["kernel"].shape[0]
    for head in heads:
        attention["streams"]["kernel"].reshape(d, H, -1)[:, head] = np.nan
        attention["streams"]["bias"].reshape(H, -1)[head] = np.nan
        attention["out"]["kernel"].reshape(H, -1, d)[head] = np.nan
    spoilt["encoder"][f"layer_{layer}"]["attention"] = attention
    return spoilt


@pytest.mark.parametrize("width", [1, 4])
def test_heads_that_are_gone_are_not_computed(width):
    _, params, _, _ = pieces_of()
    gate = np.ones((6, L, H), np.float32)
    gate[:, 0, [1, 3]] = 0
    gate[:, 1] = 0
    gate[:3, 2, 0] = 0
    gate[1, 0, 0] = gate[2, 2, 3] = 0.5
    settings = make_settings(gate)
    spoilt = poisoned(poisoned(params, 0, [1, 3]), 1, range(H))
    counts = Counts(set(), {})
    found = swept(settings, params=spoilt, counts=counts, width=width)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, swept(settings, width=width))
    assert np.isnan(swept(settings, params=spoilt, engine="vmap")).any()
    assert counts.nodes["skip"] == (2 if width == 1 else 1)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_no_piece_has_more_heads_than_are_kept(kept):
    counts = Counts(set(), {})
    gate = np.zeros((3, L, H))
    gate[:, :, :kept] = [[[1]], [[0.5]], [[2]]]
    swept(make_settings(gate), counts=counts)
    heads = {key[3] for key in counts.compiled if key[0] in ("attend", "merge", "step")}
    assert heads == {kept}
    assert "skip" not in counts.nodes


@pytest.mark.parametrize("heads", [1, 2, 4, 6, 8, 12, 16])
def test_heads_are_rounded_to_few_numbers(heads):
    numbers = [rounded(count, heads) for count in range(1, heads + 1)]
    assert len(set(numbers)) <= NUMBERS
    assert numbers == sorted(numbers)
    assert all(n >= count for count, n in enumerate(numbers, 1))
    assert numbers[-1] < heads + -(-heads // NUMBERS)
    if heads <= NUMBERS:
        assert numbers == list(range(1, heads + 1))


def test_nodes_are_distinct_beginnings():
    rows = as_rows(mixed())
    for layer, count in enumerate(node_counts(mixed())):
        assert count == len({row[: layer + 1].tobytes() for row in rows})
    assert node_counts(mixed())[0] < node_counts(mixed())[-1]


@pytest.mark.parametrize("shape", [(3, 4), (5, 2), (1, 6), (12, 12)])
def test_nodes_of_one_ordering(shape):
    layers, heads = shape
    order = random_orders(0, layers * heads, 1)[0]
    gates = gates_of(order, np.arange(layers * heads + 1), shape)
    expected = (np.arange(layers) + 1) * heads + 1
    np.testing.assert_array_equal(node_counts(make_settings(gates)), expected)


def ordered(draws, seed=0):
    """Settings of random orderings at every number of heads."""
    points = np.arange(L * H + 1)
    orders = random_orders(seed, L * H, draws)
    return make_settings(np.concatenate([gates_of(each, points, (L, H)) for each in orders]))


@pytest.mark.parametrize("draws", [1, 5])
def test_every_node_is_computed_once(draws):
    counts = Counts(set(), {})
    swept(ordered(draws), counts=counts)
    states = sum(counts.nodes[name] for name in ("merge", "step", "skip"))
    assert states == node_counts(ordered(draws)).sum()
    assert counts.nodes["embed"] == 1
    # Attention is shared by all children: as many times as nodes that have a child with heads.
    unique, _ = distinct(ordered(draws))
    rows, some = as_rows(unique), unique.gate.any(-1)
    attending = {(layer, rows[g, :layer].tobytes()) for g, layer in np.argwhere(some)}
    assert counts.nodes["attend"] + counts.nodes["step"] == len(attending)


class Compilations:
    """How often XLA compiled while this was open."""

    def __enter__(self):
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self.hear)
        return self

    def hear(self, event, seconds, **_):
        self.count += event == "/jax/core/compile/backend_compile_duration"

    def __exit__(self, *_):
        jax.monitoring.unregister_event_duration_listener(self.hear)


def test_more_orderings_compile_nothing_more():
    one, five, wide = (Counts(set(), {}) for _ in range(3))
    pieces_of(copy=1)
    with Compilations() as compiled:
        swept(ordered(1), copy=1, counts=one)
    assert compiled.count == len(one.compiled)
    # One that embeds, one that skips, and as many of each other as there are numbers of heads.
    assert len(one.compiled) == 2 + H + 2 * (H - 1)
    with Compilations() as compiled:
        swept(ordered(5), copy=1, counts=five)
    assert five.compiled == one.compiled
    assert compiled.count == 0
    with Compilations() as compiled:
        swept(take(ordered(1), slice(5, None)), copy=1, counts=wide, width=3)
    assert compiled.count == len(wide.compiled - one.compiled) > 0
    nodes = {n for name, _, _, *key in wide.compiled if name == "merge" for n in key[1:]}
    assert nodes == {1, 3}


def test_two_devices_give_what_one_gives():
    settings = take(mixed(), np.arange(3))
    alone, two = swept(settings), swept(settings, count=2)
    np.testing.assert_allclose(two, alone, **NEAR)
    plain = swept(settings, count=2, engine="vmap")
    np.testing.assert_allclose(plain, alone, **NEAR)


def test_fewer_layers_of_settings_end_earlier():
    _, _, sown = numpy_forward(
        *(pieces_of()[1], pieces_of()[0].config, encoded()[0][0, : LENGTHS[0]]), np.ones((L, H))
    )
    for depth in (1, 2):
        settings = make_settings(np.ones((1, depth, H)))
        for engine in ("trie", "vmap"):
            found = swept(settings, engine=engine)
            np.testing.assert_allclose(found[0, 0], sown[depth], atol=2e-5)


def test_an_unknown_engine_is_an_error():
    with pytest.raises(KeyError, match="beam"):
        swept(mixed(), engine="beam")
