"""Muon: matrices near the closest orthogonal ones, alike in any layout, learning and resuming."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sat_jax import checkpoint, mesh
from sat_jax.config import AdamW, Batches, Config, Features, Loop, Mesh, Model, Muon
from sat_jax.model.build import build_model, init_params
from sat_jax.pretrain.muon import orthogonalised, orthogonalised_updates
from sat_jax.pretrain.optim import exchanged, learning_rate, matrix_labels, optimizer
from sat_jax.pretrain.step import init_state, sharded_state, train_step

RNG = np.random.default_rng(0)
CONFIG = Config(
    features=Features(mels=8),
    model=Model(layers=1, heads=4, width=16, ffn=32, init_std=None),
    optim=Muon(peak_lr=1e-2, warmup_share=0.2, clip_norm=1e9, weight_decay=0.0),
    batches=Batches(size=8, max_frames=36),
    loop=Loop(steps=20),
)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (8, 64)])
def test_five_steps_come_near_the_closest_orthogonal_matrix(shape):
    matrices = normal(3, *shape) * jnp.asarray([1e-6, 1.0, 1e4])[:, None, None]
    left, values, right = np.linalg.svd(matrices, full_matrices=False)
    found = orthogonalised(matrices, 5)
    inner = np.einsum("nij,nij->n", left @ right, found)
    assert (inner / np.linalg.norm(found, axis=(1, 2)) / shape[0] ** 0.5 > 0.9).all()
    gains = np.linalg.svd(found, compute_uv=False)
    assert (gains < 1.3).all()
    weak = (values < 0.05 * values.max(-1, keepdims=True)).sum(-1)
    assert ((gains > 0.6).sum(-1) >= shape[0] - weak).all()


def test_matrices_without_gradient_stay_where_they_are():
    assert not orthogonalised(jnp.zeros((2, 4, 8)), 4).any()


def test_updates_of_all_shapes_are_those_of_each_matrix_alone():
    tree = {"tall": normal(12, 6), "wide": normal(6, 12), "stack": normal(3, 6, 12)}
    tx = orthogonalised_updates(4, 0.2)
    together, _ = tx.update(tree, tx.init(tree))
    alone = 0.2 * 12**0.5 * orthogonalised(tree["stack"], 4)
    np.testing.assert_allclose(together["stack"], alone, atol=1e-6)
    tall = 0.2 * 12**0.5 * orthogonalised(tree["tall"].T[None], 4)[0].T
    np.testing.assert_allclose(together["tall"], tall, atol=1e-6)
    for leaf in jax.tree.leaves(together):
        assert np.sqrt(np.mean(np.square(leaf))) == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("layout", [(8, 1, 1), (2, 2, 2)])
def test_devices_share_the_matrices_and_change_nothing(layout):
    devices = mesh.build_mesh(Mesh(*layout), 8)
    tree = {"a": normal(8, 16), "b": normal(7, 16, 8), "odd": normal(3, 8, 8)}
    alone, shared = orthogonalised_updates(4, 0.2), orthogonalised_updates(4, 0.2, devices)
    expected = alone.update(tree, alone.init(tree))[0]
    compiled = jax.jit(lambda tree: shared.update(tree, shared.init(tree))[0]).lower(tree).compile()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), compiled(tree), expected)
    # Of the eight matrices of 8 x 16 every device multiplies one by its transpose, not all of them.
    assert "f32[1,8,8]" in compiled.as_text()
    assert "f32[8,8,8]" not in compiled.as_text()


@pytest.mark.parametrize("scan", [False, True])
def test_the_encoders_kernels_are_matrices_and_the_rest_is_adamws(scan):
    model = build_model(
        dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, scan_layers=scan))
    )
    params = jax.eval_shape(lambda: init_params(jax.random.key(0), model))
    params, gradients = (jax.tree.map(lambda p: normal(*p.shape), params) for _ in range(2))
    adam = optax.adamw(learning_rate(CONFIG.optim, 20), weight_decay=0.0)

    @jax.jit
    def updates_of(params, gradients):
        return [
            tx.update(gradients, tx.init(params), params)[0]
            for tx in (optimizer(CONFIG.optim, 20), adam)
        ]

    updates, expected = updates_of(params, gradients)
    labels = matrix_labels(params)
    assert labels["head"]["output"]["kernel"] == labels["input"]["kernel"] == "other"
    assert set(jax.tree.leaves(labels["encoder"])) == {"matrix", "other"}
    same = jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-6), updates, expected)
    jax.tree.map(lambda label, same: np.testing.assert_equal(same, label == "other"), labels, same)


@pytest.mark.pods
def test_a_checkpoint_goes_on_to_the_same_bits_on_any_axis_of_the_mesh(tmp_path):
    devices = mesh.build_mesh(Mesh(2, 2, 2), 8)
    model = build_model(CONFIG)
    tx = optimizer(CONFIG.optim, CONFIG.loop.steps, devices)
    abstract, make = sharded_state(init_state(CONFIG, model, tx), devices)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    step = train_step(CONFIG, model, tx, devices, shardings)

    def run(state, steps):
        losses = []
        for number in steps:
            lengths = np.full(8, 400 + 35 * 160, np.int32)
            audio = np.random.default_rng(number).integers(-9000, 9000, (8, lengths[0]), np.int16)
            state, metrics = step(state, *mesh.place_batch((audio, lengths), devices))
            losses.append(float(metrics.loss))
        return state, losses

    state, _ = run(make(), range(3))
    checkpoints = checkpoint.open_checkpoints(tmp_path / "ckpt", 1)
    checkpoint.save(checkpoints, 3, state.params, state._replace(params=None))
    checkpoint.finish(checkpoints)
    _, on = run(state, range(3, 5))
    params, rest = checkpoint.restore(
        checkpoint.open_checkpoints(tmp_path / "ckpt", 1),
        3,
        abstract.params,
        abstract._replace(params=None),
    )
    assert run(rest._replace(params=params), range(3, 5))[1] == on


def test_the_running_mean_of_parameters():
    tx = optimizer(dataclasses.replace(AdamW(), average=0.5), 10)
    params = {"a": {"kernel": normal(3, 2)}}
    state, mean = tx.init(params), np.asarray(params["a"]["kernel"])
    for step in range(6):
        updates, state = tx.update({"a": {"kernel": normal(3, 2)}}, state, params)
        params = optax.apply_updates(params, updates)
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * np.asarray(params["a"]["kernel"])
    shown, kept = exchanged(params, state)
    np.testing.assert_allclose(shown["a"]["kernel"], mean, rtol=1e-5)
    assert np.abs(mean - params["a"]["kernel"]).max() > 1e-5
    back, again = exchanged(shown, kept)
    jax.tree.map(np.testing.assert_array_equal, (back, again), (params, state))
    plain = optimizer(AdamW(), 10)
    assert exchanged(params, plain.init(params))[0] is params
