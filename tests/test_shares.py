"""How settings are shared out among processes, and how many nodes a device computes at once."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from sat_jax import exchange
from sat_jax.study.ablate.context import NODES, free_memory, nodes_within
from sat_jax.study.ablate.measure import probe_cost
from sat_jax.sweep.orderings import gates_of, points_of, random_orders
from sat_jax.sweep.shares import fresh_nodes, shares
from sat_jax.sweep.trie import distinct, make_settings, node_counts, take

L, H = 3, 4


def settings_of(kind):
    """Distinct settings in the order of the trie."""
    rng = np.random.default_rng(len(kind))
    if kind == "random":
        gates = rng.integers(0, 2, (60, L, H))
    elif kind == "orders":
        points = points_of(L * H, False)
        orders = [np.arange(L * H), np.arange(L * H)[::-1], *random_orders(0, L * H, 4)]
        gates = np.concatenate([gates_of(order, points, (L, H)) for order in orders])
    else:
        gates = np.ones((1, L, H))
    return distinct(make_settings(gates))[0]


def nodes_of(settings):
    return int(node_counts(settings).sum())


@pytest.mark.parametrize("kind", ["random", "orders", "one"])
def test_fresh_nodes_add_up_to_the_trie(kind):
    settings = settings_of(kind)
    fresh = fresh_nodes(settings)
    for count in range(1, len(fresh) + 1):
        assert fresh[:count].sum() == nodes_of(take(settings, slice(0, count)))


@pytest.mark.parametrize("processes", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("kind", ["random", "orders", "one"])
def test_every_setting_is_shared_out_once_and_few_nodes_are_computed_twice(kind, processes):
    settings = settings_of(kind)
    found = shares(settings, processes)
    assert len(found) == processes
    everyone = np.concatenate([np.arange(len(settings.gate))[share] for share in found])
    np.testing.assert_array_equal(everyone, np.arange(len(settings.gate)))
    counts = [nodes_of(take(settings, share)) for share in found if share.stop > share.start]
    whole = nodes_of(settings)
    assert whole <= sum(counts) <= whole + (len(counts) - 1) * (L - 1)
    # No share is larger than an equal part, one more path from the root, and one more setting.
    assert max(counts) <= whole / processes + 2 * L


@pytest.mark.parametrize("leaf", [0.0, 2.5])
@pytest.mark.parametrize("first", [0, 7, 42])
def test_the_largest_share_is_as_small_as_it_can_be(leaf, first):
    settings = take(settings_of("random"), slice(first, first + 14))

    def largest(edges):
        pieces = [take(settings, slice(a, b)) for a, b in itertools.pairwise(edges)]
        return max(nodes_of(each) + leaf * len(each.gate) for each in pieces)

    found = shares(settings, 4, leaf)
    every = [largest((0, *cuts, 14)) for cuts in itertools.combinations(range(1, 14), 3)]
    assert largest((0, *(share.stop for share in found))) == min(every)


def test_what_finishing_a_setting_costs_moves_the_cut():
    # Four settings that share nothing, and eight that differ in the last layer only.
    gates = np.zeros((12, L, H))
    gates[:4, 0, :] = [[1, 0, 0, 0], [1, 0, 0, 1], [1, 0, 1, 0], [1, 0, 1, 1]]
    gates[4:, 0] = 1
    gates[4:, 2, 1:] = list(itertools.product((0, 1), repeat=3))
    settings = distinct(make_settings(gates))[0]
    assert [share.stop for share in shares(settings, 2)] == [4, 12]
    assert [share.stop for share in shares(settings, 2, leaf=100.0)] == [6, 12]


def test_one_process_knows_everything_by_itself():
    assert exchange.everywhere({"a": 1}) == [{"a": 1}]
    assert exchange.from_leader(lambda: 3) == 3
    assert exchange.in_turns(3).tolist() == [0, 1, 2]
    assert exchange.joined(3, "abc") == ["a", "b", "c"]


def test_nodes_fill_half_of_what_is_free_on_the_fullest_device():
    def device(limit, used):
        return SimpleNamespace(memory_stats=lambda: {"bytes_limit": limit, "bytes_in_use": used})

    assert free_memory([device(100, 10), device(100, 40), device(90, 0)]) == 60
    assert free_memory([device(100, 10), SimpleNamespace(memory_stats=lambda: None)]) is None
    assert free_memory([SimpleNamespace(memory_stats=lambda: {"bytes_in_use": 3})]) is None
    assert [nodes_within(free, 10) for free in (0, 39, 40, 160, 319, 10**9)] == [
        *(1, 1, 2, 8, 8, NODES)
    ]


def test_probes_cost_their_products_beside_those_of_a_layer():
    def task(hidden, depth):
        budget = SimpleNamespace(hidden=hidden, depth=depth, steps=10, batch=20)
        return SimpleNamespace(classes=3, budget=budget)

    loaded = SimpleNamespace(
        model=SimpleNamespace(spec=SimpleNamespace(width=4)),
        config=SimpleNamespace(model=SimpleNamespace(ffn=8)),
        analysis=SimpleNamespace(ablate=SimpleNamespace(probe_seeds=2)),
    )
    speech = SimpleNamespace(utterance=np.zeros(100))

    def cost(*tasks):
        return probe_cost(SimpleNamespace(loaded=loaded, speech=speech, tasks=tasks))

    layer = 100 * (4 * 4 * 4 + 2 * 4 * 8)
    assert cost() == 0
    assert cost(task(0, 1)) == pytest.approx(2 * 3 * 200 * 4 * 3 / layer)
    assert cost(task(5, 2)) == pytest.approx(2 * 3 * 200 * (4 * 5 + 5 * 5 + 5 * 3) / layer)
    assert cost(task(0, 1), task(5, 2)) == pytest.approx(cost(task(0, 1)) + cost(task(5, 2)))
