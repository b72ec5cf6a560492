"""The parts of the trie: settings, runs, nodes and units; heads of parameters."""

import numpy as np
import pytest
from test_ablate import H, L, pieces_of

from sat_jax.model.attention.edit import NO_SPAN
from sat_jax.model.prune import keep_heads
from sat_jax.sweep.trie import (
    Units,
    filled,
    join,
    make_settings,
    parents_of,
    parts,
    runs,
    take,
    units_of,
)


def test_settings_fill_up_to_the_shape_of_their_gates():
    plain = make_settings(np.ones((2, L, H)))
    assert (plain.span == NO_SPAN).all()
    assert not plain.swap.any()
    assert [field.dtype for field in plain] == [np.float32, np.int32, bool]
    spans = make_settings(np.ones((2, L, H)), np.array([3, 5])[:, None, None])
    assert spans.span.shape == (2, L, H)
    assert (spans.span[1] == 5).all()
    both = join([plain, spans])
    np.testing.assert_array_equal(take(both, slice(2, 4)).span, spans.span)


def test_runs_are_ranges_of_equal_neighbours():
    rows = np.array([[9], [1], [1], [2], [1], [1], [1]])
    assert list(runs(rows, 1, 7)) == [(1, 3), (3, 4), (4, 7)]
    assert list(runs(rows, 4, 7)) == [(4, 7)]
    assert list(runs(rows, 3, 4)) == [(3, 4)]


@pytest.mark.parametrize(
    ("count", "width", "buffer"), [(1, 1, 1), (1, 8, 1), (3, 8, 4), (5, 8, 8), (3, 3, 3), (2, 3, 2)]
)
def test_nodes_are_filled_up_to_few_numbers(count, width, buffer):
    items = np.arange(count) + 10
    found = filled(items, width)
    assert len(found) == buffer
    np.testing.assert_array_equal(found[:count], items)
    assert (found[count:] == items[-1]).all()
    children = [(parent + 10, 0, 1) for parent in range(count)]
    np.testing.assert_array_equal(parents_of(children, width), found)


def test_parts_are_slices():
    assert [list(part) for part in parts([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
    assert list(parts([], 2)) == []


def test_units_are_ways_of_using_heads():
    gate = np.zeros((3, 2, H), np.float32)
    gate[:, 1] = [[1, 0.5, 0, 0], [1, 1, 0, 0], [0, 1, 0, 2]]
    span = np.full((3, 2, H), NO_SPAN, np.int32)
    span[1, 1, 1] = span[0, 1, 2] = 4
    swap = np.zeros((3, 2, H), bool)
    swap[2, 1, 3] = True
    units, gates = units_of(make_settings(gate, span, swap), 1)
    assert Units(*(field.tolist() for field in units)) == Units(
        [0, 1, 1, 3], [NO_SPAN, 4, NO_SPAN, NO_SPAN], [False, False, False, True]
    )
    np.testing.assert_array_equal(gates, [[1, 0, 0.5, 0], [1, 1, 0, 0], [0, 0, 1, 2]])


@pytest.mark.parametrize("index", [[0, 2], [3], [2, 1, 1], []])
def test_kept_heads_are_their_slices_of_the_parameters(index):
    _, params, _, _ = pieces_of()
    layer = params["encoder"]["layer_0"]
    attention = layer["attention"]
    found = keep_heads(layer, pieces_of()[0].config, np.array(index, int), H)
    assert {name for name in layer if found[name] is not layer[name]} == {"attention"}
    kept = found["attention"]
    np.testing.assert_array_equal(kept["out"]["bias"], attention["out"]["bias"])
    if not index:
        assert set(kept) == {"out"}
        assert set(kept["out"]) == {"bias"}
        return
    d = attention["out"]["bias"].shape[0]
    k = d // H
    for place, head in enumerate(index):
        mine, theirs = (slice(at * 3 * k, (at + 1) * 3 * k) for at in (place, head))
        for name in ("kernel", "bias"):
            np.testing.assert_array_equal(
                kept["streams"][name][..., mine], attention["streams"][name][..., theirs]
            )
        np.testing.assert_array_equal(
            kept["out"]["kernel"][place * k : (place + 1) * k],
            attention["out"]["kernel"][head * k : (head + 1) * k],
        )
    assert kept["streams"]["kernel"].shape == (d, len(index) * 3 * k)
