"""Kinds of attention train to the same numbers on any layout of devices, and are swept right."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
import test_ablate as sweeps
from meshes import mesh_of
from test_model import make
from test_pretrain import CONFIG, run_of

from sat_jax import mesh
from sat_jax.config import Mesh
from sat_jax.config.attention import ATTENTIONS, FREE
from sat_jax.model.attention.edit import HeadEdit
from sat_jax.model.packing import packing_of
from sat_jax.sweep.batch_ops import Counts, batch_ops
from sat_jax.sweep.ops import encoder_ops
from sat_jax.sweep.trie import make_settings, sweep

# One of each way of computing: blocks, a choice drawn from the step's key, a table with an axis of
# heads that is the same for the batch.
TRAINED = ("sparse_strided", "lsh_xbox", "syn_dense", "syn_dense_shared", "syn_random")
SWEPT = ("sparse_fixed", "lsh_xbox", "syn_dense", "syn_random")


def attention(kind):
    return ATTENTIONS[kind](**({"keys": 4} if kind.startswith("lsh") else {}))


@pytest.mark.pods
@pytest.mark.parametrize("kind", TRAINED)
def test_devices_and_layouts_change_nothing(kind):
    model = dataclasses.replace(CONFIG.model, attention=attention(kind))
    config = dataclasses.replace(CONFIG, model=model)
    found = []
    for layout, single in ((Mesh(2, 2, 2), False), (Mesh(), True)):
        run = run_of(dataclasses.replace(config, mesh=layout), single=single)
        state, losses = run.go(run.make(), 0, 3)
        found.append([float(each.loss) for each in losses])
        if kind == "syn_random" and not single:
            maps = state.params["encoder"]["layer_0"]["attention"]["algorithm"]["maps"]
            assert maps.shape == (4, 12, 12)
            assert maps.sharding.shard_shape(maps.shape) == (2, 6, 12)
    np.testing.assert_allclose(*found, rtol=2e-6)
    assert found[0][0] != found[0][2]


@pytest.mark.pods
@pytest.mark.parametrize("kind", [kind for kind in ATTENTIONS if kind in FREE and kind != "qk"])
def test_a_resumed_run_reaches_the_same_numbers_to_the_last_bit(kind, tmp_path):
    model = dataclasses.replace(CONFIG.model, attention=attention(kind))
    run = run_of(dataclasses.replace(CONFIG, model=model))
    straight, losses = run.go(run.make(), 0, 4)
    half, _ = run.go(run.make(), 0, 2)
    np.savez(tmp_path / "half.npz", *jax.tree.leaves(jax.device_get(half)))
    with np.load(tmp_path / "half.npz") as stored:
        leaves = list(stored.values())
    placed = jax.tree.map(
        lambda leaf, like: jax.device_put(leaf, like.sharding), leaves, jax.tree.leaves(half)
    )
    resumed, after = run.go(jax.tree.unflatten(jax.tree.structure(half), placed), 2, 4)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(resumed), jax.device_get(straight))
    assert [float(each.loss) for each in after] == [float(each.loss) for each in losses[2:]]


@pytest.mark.parametrize("kind", SWEPT)
def test_the_trie_is_a_loop_over_the_model(kind):
    model, params = make(layers=2, attention=attention(kind))
    grid = mesh_of(1)
    inputs, valid, maps = sweeps.encoded()
    maps = maps[:2]
    gates = np.stack([np.ones(4), [1, 0, 0.25, 0], np.zeros(4), [0, 1, 1, -0.5]])
    drawn = np.array(list(itertools.product(range(4), [1, 3])))
    settings = make_settings(gates[drawn])
    packing = packing_of(valid, devices=1)
    placed = mesh.place_batch((inputs, valid, packing), grid)

    def of_rows(states):
        return sweeps.only_valid(sweeps.in_utterances(np.asarray(states), 1))

    params = jax.device_put(params, mesh.replicated(grid))
    ops = batch_ops(encoder_ops(model, grid), params, 4, *placed, of_rows, Counts(set(), {}), maps)
    found = sweep(ops, settings)

    @jax.jit
    def encode(gate):
        return model.apply({"params": params}, inputs, valid, HeadEdit(gate), method="encode")

    for number, gate in enumerate(settings.gate):
        wanted = sweeps.only_valid(np.asarray(encode(gate)))
        np.testing.assert_allclose(found[number], wanted, atol=2e-5)
