"""The kernel for TPUs, which jax plays on a CPU, against the softmax over valid keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from sat_jax import mesh
from sat_jax.config import Mesh
from sat_jax.model.attention import flash
from sat_jax.model.attention.flash import BLOCKS, LANES, can_flash, flash_context

LENGTHS = np.array([150, 1, 37, 128], np.int32)
HEADS, WIDTH = 2, 16


def streams(length: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """Queries, keys and values (B, H, T, K), and a cotangent."""
    rng = np.random.default_rng(seed)
    shape = (len(LENGTHS), HEADS, length, width)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(4)]


def by_softmax(query, key, value, lengths):
    """The mixtures as the formula says, of all pairs."""
    logits = jnp.einsum("bhtk,bhsk->bhts", query, key) * query.shape[-1] ** -0.5
    inside = jnp.arange(key.shape[2]) < lengths[:, None]
    probs = jax.nn.softmax(jnp.where(inside[:, None, None], logits, -jnp.inf), axis=-1)
    return jnp.einsum("bhts,bhsk->bhtk", probs, value)


def with_gradients(function, query, key, value, seen, lengths):
    """Mixtures of valid queries and the gradients of a weighted sum of them."""

    def total(*parts):
        mixed = function(*parts, lengths)
        inside = (jnp.arange(mixed.shape[2]) < lengths[:, None])[:, None, :, None]
        mixed = jnp.where(inside, mixed, 0)
        return (mixed * seen).sum(), mixed

    grads, mixed = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(query, key, value)
    return [np.asarray(part) for part in (mixed, *grads)]


@pytest.mark.parametrize(("length", "width"), [(150, WIDTH), (257, 64), (128, 128)])
def test_mixtures_and_gradients_are_those_of_the_formula(length, width):
    lengths = np.minimum(LENGTHS, length)
    parts = streams(length, width)
    expected = with_gradients(by_softmax, *parts, lengths)
    with pltpu.force_tpu_interpret_mode():
        found = with_gradients(flash_context, *parts, lengths)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_nothing_of_padded_keys_is_in_a_mixture():
    *parts, seen = streams(140, WIDTH)
    spoiled = [part.copy() for part in parts]
    for row, length in enumerate(LENGTHS):
        for part in spoiled[1:]:
            part[row, :, length:] = 1e4
    lengths = np.minimum(LENGTHS, 140)
    with pltpu.force_tpu_interpret_mode():
        clean = with_gradients(flash_context, *parts, seen, lengths)
        other = with_gradients(flash_context, *spoiled, seen, lengths)
    for a, b in zip(clean[:2], other[:2], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", [Mesh(fsdp=2, model=2), Mesh(model=4)])
def test_devices_compute_their_own_utterances_and_heads(layout, monkeypatch):
    # Jax plays the kernel on one device only; here a softmax with its arguments takes its place.
    heads = []

    def kernel(query, key, value, segment_ids, sm_scale, block_sizes):
        del block_sizes
        heads.append(query.shape[:2])
        assert sm_scale == WIDTH**-0.5
        return by_softmax(query, key, value, segment_ids.kv.sum(-1))

    monkeypatch.setattr(flash, "flash_attention", kernel)
    devices = mesh.build_mesh(layout, len(LENGTHS))
    *parts, _ = streams(140, WIDTH)
    lengths = np.minimum(LENGTHS, 140)
    expected = by_softmax(*parts, lengths)
    with mesh.traced_for(devices):
        found = jax.jit(lambda *given: flash_context(*given))(*parts, lengths)
    # Two heads are split over two devices, and whole on each of four.
    assert set(heads) == {
        (1 if layout.fsdp == 2 else 2, HEADS // 2 if layout.model == 2 else HEADS)
    }
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(found[row, :, :length], expected[row, :, :length], atol=2e-5)


def test_every_length_has_a_block_and_odd_wide_heads_are_left_to_xla():
    assert all(size % LANES == 0 for size in BLOCKS) and BLOCKS[-1] == LANES
    assert can_flash(jnp.zeros((1, 1, 1, 64))) and can_flash(jnp.zeros((1, 1, 1, 256)))
    assert not can_flash(jnp.zeros((1, 1, 1, 160)))
