"""Muon: orthogonal updates against the singular value decomposition, whatever the layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax import mesh
from sat_jax.config import Mesh, Muon
from sat_jax.pretrain.muon import orthogonalised, orthogonalised_updates
from sat_jax.pretrain.optim import matrix_labels, optimizer


def matrices(shape=(3, 16, 40), seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_singular_values_come_close_to_one_whatever_the_scale(scale):
    found = np.asarray(orthogonalised(scale * matrices(), 5))
    values = np.linalg.svd(found, compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.3
    np.testing.assert_array_equal(orthogonalised(jnp.zeros((1, 4, 8)), 5), 0)


def test_an_orthogonal_matrix_keeps_its_directions():
    left, _, right = np.linalg.svd(np.asarray(matrices((8, 24))), full_matrices=False)
    found = np.asarray(orthogonalised(jnp.asarray(left @ right)[None], 5))[0]
    cosine = (found * (left @ right)).sum() / np.linalg.norm(found) / np.linalg.norm(left @ right)
    assert cosine > 0.99


def test_the_update_has_the_size_that_was_asked_for_in_every_shape():
    transform = orthogonalised_updates(5, 0.2)
    tree = {"a": matrices((24, 8)), "b": matrices((8, 24), 1), "c": matrices((2, 8, 24), 2)}
    found, _ = transform.update(tree, transform.init(tree))
    for name, leaf in found.items():
        assert leaf.shape == tree[name].shape
        assert float(jnp.sqrt((leaf**2).mean())) == pytest.approx(0.2, rel=0.15)
        assert float((leaf * tree[name]).sum()) > 0
    # Alone or beside others, upright or lying: the same matrix.
    alone, _ = transform.update({"a": tree["a"]}, transform.init(tree))
    np.testing.assert_allclose(alone["a"], found["a"], atol=1e-6)
    lying, _ = transform.update({"a": tree["a"].T}, transform.init(tree))
    np.testing.assert_allclose(lying["a"].T, found["a"], atol=1e-6)


def test_devices_change_nothing_but_rounding():
    grid = mesh.build_mesh(Mesh(), 8)
    tree = {f"m{i}": matrices((12, 20), i) for i in range(8)}
    alone = orthogonalised_updates(4, 0.2)
    shared = orthogonalised_updates(4, 0.2, grid)
    placed = jax.device_put(tree, mesh.replicated(grid))
    ours = jax.jit(lambda t: shared.update(t, shared.init(t))[0])(placed)
    for name, leaf in alone.update(tree, alone.init(tree))[0].items():
        np.testing.assert_allclose(ours[name], leaf, atol=1e-5)


def test_only_kernels_of_the_encoder_are_matrices():
    params = {
        "input": {"kernel": jnp.ones((4, 6))},
        "encoder": {"layer_0": {"ffn_in": {"kernel": jnp.ones((6, 8)), "bias": jnp.ones(8)}}},
    }
    labels = matrix_labels(params)
    assert labels["input"]["kernel"] == labels["encoder"]["layer_0"]["ffn_in"]["bias"] == "other"
    assert labels["encoder"]["layer_0"]["ffn_in"]["kernel"] == "matrix"
    tx = optimizer(Muon(peak_lr=1.0, warmup_share=0.0, weight_decay=0.0), 10)
    gradients = jax.tree.map(lambda leaf: 1e-3 * matrices(leaf.shape), params)
    updates, _ = tx.update(gradients, tx.init(params), params)
    step = updates["encoder"]["layer_0"]["ffn_in"]["kernel"]
    assert float(jnp.sqrt((step**2).mean())) == pytest.approx(0.2, rel=0.25)
    # The first step of Adam is the rate times the sign.
    np.testing.assert_allclose(jnp.abs(updates["input"]["kernel"]), 1.0, rtol=1e-3)
