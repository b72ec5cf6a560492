"""Packing: valid positions as rows, on every device by itself, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_model import make

from sat_jax.model.encoder import EncoderLayer
from sat_jax.model.packing import (
    Packing,
    dealt,
    of_nodes,
    pack,
    packing_of,
    real_rows,
    rows_needed,
    unpack,
)

T = 6
LENGTHS = np.array([6, 2, 0, 3])
VALID = np.arange(T) < LENGTHS[:, None]


def states(*more):
    return np.random.default_rng(0).normal(size=(len(LENGTHS), T, *more)).astype(np.float32)


@pytest.mark.parametrize("rows", [None, 11, 14])
def test_rows_are_the_valid_positions_in_order_and_come_back(rows):
    packing = packing_of(VALID, rows)
    packed = pack(states(5), packing)
    assert packed.shape == (rows or 11, 5)
    np.testing.assert_array_equal(packed[real_rows(VALID, len(packed))], states(5)[VALID])
    np.testing.assert_array_equal(np.asarray(unpack(packed, packing))[VALID], states(5)[VALID])


def test_every_device_counts_from_its_own_first_utterance():
    packing = packing_of(VALID, devices=2)
    assert rows_needed(VALID, 2) == 8
    for device in range(2):
        half = slice(2 * device, 2 * device + 2)
        alone = packing_of(VALID[half], 8)
        np.testing.assert_array_equal(packing.row[half], alone.row)
        np.testing.assert_array_equal(packing.position[8 * device : 8 * device + 8], alone.position)
    assert real_rows(VALID, 8, 2).tolist() == [True] * 8 + [True] * 3 + [False] * 5


@pytest.mark.parametrize("nodes", [1, 3])
def test_nodes_of_a_row_become_utterances_of_their_own(nodes):
    packing = packing_of(VALID)
    many = of_nodes(packing, nodes)
    rows = np.stack([pack(states(5), packing) + node for node in range(nodes)], axis=1)
    padded = np.asarray(unpack(rows.reshape(-1, 5), many)).reshape(len(VALID), nodes, T, 5)
    for node in range(nodes):
        np.testing.assert_array_equal(padded[:, node][VALID], states(5)[VALID] + node)
    np.testing.assert_array_equal(pack(padded.reshape(-1, T, 5), many), rows.reshape(-1, 5))


def test_speech_without_any_valid_position_is_one_row():
    packing = packing_of(np.zeros((2, T), bool))
    assert packing.position.tolist() == [0]
    assert not real_rows(np.zeros((2, T), bool), 1).any()


def test_too_few_rows_are_an_error():
    with pytest.raises(ValueError, match="11 valid positions do not fit 10 rows"):
        packing_of(VALID, 10)


@pytest.mark.parametrize("share", [1, 3, 4, 17, 40])
def test_utterances_are_dealt_into_even_shares(share):
    count = np.random.default_rng(share).integers(1, 100, 17)
    order = dealt(count, share)
    assert sorted(order) == list(range(17))
    sums = [count[order[at : at + share]].sum() for at in range(0, 17, share)]
    full = sums[:-1] if 17 % share else sums
    if full:
        # As even as that the longest utterance does not fit between them.
        assert max(full) - min(full) <= count.max()
    if share == 3:
        drawn = np.random.default_rng(0).permutation(17)
        unsorted = [count[drawn[at : at + share]].sum() for at in range(0, 15, share)]
        assert np.ptp(full) < np.ptp(unsorted) / 2


@pytest.mark.parametrize("pre_ln", [False, True])
def test_a_layer_gives_rows_what_it_gives_positions(pre_ln):
    model, params = make(pre_ln=pre_ln)
    config = model.config
    layer = EncoderLayer(config, config.heads, 32)
    own = {"params": params["encoder"]["layer_0"]}
    x, valid = states(config.width), jnp.asarray(VALID)
    packing = packing_of(VALID, 13)

    @jax.jit
    def packed(rows: jax.Array, packing: Packing) -> jax.Array:
        contexts = layer.apply(own, rows, valid, packing=packing, method="attend")
        assert contexts.shape == (13, config.heads, config.width // config.heads)
        return layer.apply(own, rows, contexts, method="merge")

    found = packed(pack(x, packing), packing)
    expected = np.asarray(layer.apply(own, x, valid))
    np.testing.assert_allclose(found[real_rows(VALID, 13)], expected[VALID], atol=1e-6)
