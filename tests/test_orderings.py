"""Orders in which heads go, what curves over them say, and the settings that a preset makes."""

import numpy as np
import pytest

from sat_jax.errors import InputError
from sat_jax.model.attention.edit import NO_SPAN
from sat_jax.sweep.orderings import (
    area,
    disagreeing,
    gates_of,
    order_by,
    points_of,
    random_orders,
    rank_correlations,
    ranks_of,
    removable,
    single_gates,
)
from sat_jax.sweep.plan import (
    METRICS,
    SPANS,
    cut,
    make_plan,
    metric_orders,
    order_plan,
    preset_orders,
    read_order,
)
from sat_jax.sweep.store import Store
from sat_jax.sweep.trie import distinct

SHAPE = (3, 4)
HEADS = 12


def test_ties_go_by_layer_and_head():
    values = np.array([[1.0, 3.0, 1.0], [3.0, 0.0, 1.0]])
    assert order_by(values, descending=False).tolist() == [4, 0, 2, 5, 1, 3]
    assert order_by(values, descending=True).tolist() == [1, 3, 0, 2, 5, 4]
    assert order_by(np.zeros((2, 2)), descending=True).tolist() == [0, 1, 2, 3]


def test_random_orders_are_permutations_of_their_own():
    orders = random_orders(3, HEADS, 5)
    assert orders.shape == (5, HEADS)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(HEADS), (5, 1)))
    assert len({tuple(order) for order in orders.tolist()}) == 5
    np.testing.assert_array_equal(orders[:2], random_orders(3, HEADS, 2))
    assert (orders != random_orders(4, HEADS, 5)).any()


def test_random_orders_are_uniform():
    orders = random_orders(0, 3, 6000)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_gates_go_one_after_the_other():
    order = random_orders(1, HEADS, 1)[0]
    gates = gates_of(order, np.arange(HEADS + 1), SHAPE)
    assert gates.shape == (HEADS + 1, *SHAPE)
    assert gates.dtype == np.float32
    assert (gates[0] == 1).all()
    assert (gates[-1] == 0).all()
    gone = gates[:-1] - gates[1:]
    np.testing.assert_array_equal(gone.reshape(HEADS, -1), np.eye(HEADS)[order])
    np.testing.assert_array_equal(gates_of(order, np.array([7, 2]), SHAPE), gates[[7, 2]])


def test_an_order_of_some_heads_leaves_the_others():
    gates = gates_of(np.array([5, 0]), np.array([0, 1, 2]), SHAPE).reshape(3, -1)
    assert [np.flatnonzero(gate == 0).tolist() for gate in gates] == [[], [5], [0, 5]]


def test_single_gates_leave_one_out():
    gates = single_gates(SHAPE)
    assert gates.shape == (HEADS, *SHAPE)
    for layer in range(3):
        for head in range(4):
            gate = gates[layer * 4 + head]
            assert gate[layer, head] == 0
            assert gate.sum() == HEADS - 1


def test_points_of_a_curve():
    assert points_of(144, True).tolist() == [0, 24, 48, 72, 96, 120, 144]
    assert points_of(144, False).tolist() == list(range(145))
    assert points_of(12, True).tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert points_of(4, True).tolist() == [0, 1, 2, 3, 4]
    assert points_of(1, True).tolist() == [0, 1]


def test_ranks_say_which_goes_first():
    order = np.array([4, 0, 2, 5, 1, 3])
    np.testing.assert_array_equal(ranks_of(order, (2, 3)), [[2, 5, 3], [6, 1, 4]])
    np.testing.assert_array_equal(order_by(ranks_of(order, (2, 3)), False), order)


def test_rank_correlations_are_spearmans():
    order = np.array([2, 0, 3, 1])
    other = np.array([0, 2, 3, 1])
    found = rank_correlations(np.stack([order, order[::-1], other]))
    # 1 - 6 sum d^2 / (n (n^2 - 1)): two neighbours change places, d = (1, 1).
    near = 1 - 6 * 2 / (4 * 15)
    np.testing.assert_allclose(found, [[1, -1, near], [-1, 1, -near], [near, -near, 1]])
    np.testing.assert_array_equal(rank_correlations(np.zeros((2, 1), int)), np.ones((2, 2)))
    # These are ranks of heads, not places: [1, 2, 0] against its inverse.
    cyclic = rank_correlations(np.array([[1, 2, 0], [0, 1, 2]]))
    assert cyclic[0, 1] == pytest.approx(1 - 6 * (4 + 1 + 1) / (3 * 8))


def test_the_most_different_ranks_disagree_first():
    first = np.arange(1, 13).reshape(SHAPE)
    second = first.copy()
    second[0, 0], second[2, 3] = 12, 1
    second[1, 0], second[1, 1] = 6, 5
    assert disagreeing(first, second, 3) == [(0, 0), (2, 3), (1, 0)]
    assert disagreeing(first, second, 1) == [(0, 0)]
    assert disagreeing(first, first, 5) == []


def test_area_is_the_mean_height():
    pruned = np.array([0, 2, 3, 8])
    assert area(pruned, np.full(4, 7.0)) == pytest.approx(7)
    assert area(pruned, 4 + 2 * pruned) == pytest.approx(4 + 2 * 4)
    # A step whose middle lies in the long last part.
    assert area(pruned, np.array([1.0, 1, 1, 0])) == pytest.approx((3 + 2.5) / 8)
    two = np.stack([pruned, np.ones(4)])
    np.testing.assert_allclose(area(pruned, two), [4, 1])


@pytest.mark.parametrize(
    ("values", "lower_is_better", "expected"),
    [
        ([100, 99.5, 99, 98, 50], False, 4),
        ([100, 99.5, 98.9, 100, 100], False, 2),
        ([100, 101, 102, 103, 104], False, 8),
        ([100, 90, 100, 100, 100], False, 0),
        ([1.0, 1.005, 1.009, 1.02, 1.0], True, 4),
        ([1.0, 0.9, 0.8, 0.5, 0.1], True, 8),
        ([1.0, 1.2, 1.0, 1.0, 1.0], True, 0),
    ],
)
def test_what_can_go_is_a_prefix(values, lower_is_better, expected):
    pruned = np.array([0, 2, 4, 6, 8])
    assert removable(pruned, np.array(values), lower_is_better) == expected


def test_what_can_go_depends_on_the_loss():
    pruned, values = np.arange(4), np.array([100.0, 98, 90, 60])
    assert [removable(pruned, values, False, loss) for loss in (0, 0.05, 0.1, 0.4)] == [0, 1, 2, 3]


# --- Plans ----------------------------------------------------------------------------------------


def metrics():
    rng = np.random.default_rng(0)
    return {name: rng.random(SHAPE) for name in METRICS}


def orders_of(preset, user=None, draws=2):
    gradient = np.arange(HEADS, 0.0, -1).reshape(SHAPE)
    return preset_orders(preset, metric_orders(metrics()), gradient, user, draws, 0, SHAPE)


def test_heads_of_large_globalness_and_small_weight_go_first():
    values = metrics()
    orders = metric_orders(values)
    assert list(orders) == ["globalness", "verticality", "diagonality", "weight"]
    for name in ("globalness", "verticality", "diagonality"):
        assert orders[name][0] == values[name].argmax()
    assert orders["weight"][0] == values["weight"].argmin()


def test_orderings_of_a_preset():
    coarse, default, full = (orders_of(preset) for preset in ("coarse", "default", "full"))
    assert list(coarse) == [*METRICS, "random"]
    assert list(default) == [*METRICS, *(f"{name} reversed" for name in METRICS), "random"]
    more = ["layer", "gradient", "layer reversed", "gradient reversed"]
    assert list(full) == [*list(default)[:-1], *more, "random"]
    for orders in (default, full):
        for name in orders:
            if name.endswith(" reversed"):
                np.testing.assert_array_equal(orders[name][::-1], orders[name[:-9]])
    # The least important one by gradient goes first.
    np.testing.assert_array_equal(full["gradient"], np.arange(HEADS)[::-1])
    np.testing.assert_array_equal(full["layer"], np.arange(HEADS))
    assert "random" not in orders_of("full", draws=0)
    assert orders_of("coarse", user=np.array([3]))["user"].tolist() == [3]


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("coarse", (4 + 2) * 7),
        ("default", (4 + 4 + 2) * 13),
        ("full", (12 + 2) * 13 + 4 * 7 + (1 + HEADS) + len(SPANS) + len(SPANS) * 7),
    ],
)
def test_settings_of_a_preset(preset, settings):
    plan = make_plan(preset, orders_of(preset), SHAPE, "zero")
    assert len(plan.rows) == len(plan.settings.gate) == settings
    for row, gate, span, swap in zip(plan.rows, *plan.settings, strict=True):
        gone = (gate == 0) | swap
        assert gone.sum() == row.pruned
        assert (span == row.span).all()
        assert swap.any() == (row.kind == "mean" and row.pruned > 0)
        assert not ((gate == 0) & swap).any()
        if row.study == "single" and row.pruned:
            assert np.argwhere(gone).tolist() == [[row.layer, row.head]]
    # The intact model is one and the same setting wherever it comes up.
    intact = [i for i, row in enumerate(plan.rows) if row.pruned == 0 and row.span == NO_SPAN]
    assert len({distinct(plan.settings)[1][i] for i in intact}) == 1


@pytest.mark.parametrize(("kind", "other"), [("zero", "mean"), ("mean", "zero")])
def test_full_compares_the_other_kind(kind, other):
    plan = make_plan("full", orders_of("full"), SHAPE, kind)
    compared = [row for row in plan.rows if row.kind == other]
    assert {row.study for row in compared} == {"order"}
    assert [row.ordering for row in compared] == [name for name in METRICS for _ in range(7)]
    spans = [row.span for row in plan.rows if row.study == "span"]
    assert spans == [NO_SPAN, 50, 25, 15, 5, 3, 2, 1, 0]
    grid = {(row.pruned, row.span) for row in plan.rows if row.study == "grid"}
    assert grid == {(pruned, span) for pruned in range(0, 13, 2) for span in SPANS}


def test_random_draws_are_numbered():
    plan = make_plan("coarse", orders_of("coarse", draws=3), SHAPE, "zero")
    draws = [row.draw for row in plan.rows if row.ordering == "random"]
    assert draws == [0] * 7 + [1] * 7 + [2] * 7


def test_heads_are_taken_away_in_one_way_or_the_other():
    gates = np.ones((2, *SHAPE), np.float32)
    gates[1, 2, 1] = 0
    zero, mean = cut(gates, "zero", 5), cut(gates, "mean", 5)
    np.testing.assert_array_equal(zero.gate, gates)
    assert not zero.swap.any()
    assert (mean.gate == 1).all()
    np.testing.assert_array_equal(mean.swap, gates == 0)
    assert (zero.span == 5).all()
    assert (mean.span == 5).all()


def test_an_order_of_some_heads_is_measured_up_to_its_end():
    plan = order_plan("user", 0, np.array([3, 9]), np.arange(13), SHAPE, "zero")
    assert [row.pruned for row in plan.rows] == [0, 1, 2]
    few = order_plan("user", 0, np.array([3, 9, 1]), points_of(HEADS, True), SHAPE, "zero")
    assert [row.pruned for row in few.rows] == [0, 2, 3]
    one = order_plan("user", 0, np.array([3]), points_of(HEADS, True), SHAPE, "zero")
    assert [row.pruned for row in one.rows] == [0, 1]


# --- The order of a user --------------------------------------------------------------------------


def written(tmp_path, text):
    path = tmp_path / "order.csv"
    path.write_text(text)
    return path


def test_an_order_is_read(tmp_path):
    path = written(tmp_path, "head,why,layer\n1,a,1\n4,b,3\n2,,2\n")
    assert read_order(path, SHAPE).tolist() == [0, 11, 5]
    # As spreadsheets save it.
    path.write_text("layer,head\n2,1\n", encoding="utf-8-sig")
    assert read_order(path, SHAPE).tolist() == [4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer,head\n1,1\n2,5\n", r"line 3: there is no layer 2, head 5.*3 layers of 4 heads"),
        ("layer,head\n0,1\n", r"line 2: there is no layer 0, head 1"),
        ("layer,head\n1,1\n4,1\n", r"line 3: there is no layer 4"),
        ("layer,head\n1,-1\n", r"line 2: there is no layer 1, head -1"),
        ("layer,head\n1,1\n2,1\n1,1\n", r"line 4: layer 1, head 1 came before"),
        ("layer,head\n1,1.5\n", r"line 2: '1', '1.5' are no whole numbers"),
        ("layer,head\n1\n", r"line 2: '1', None are no whole numbers"),
        ("layer,heads\n1,1\n", r"has no columns layer,head; give both"),
        ("1,1\n2,1\n", r"has no columns layer,head; give both"),
        ("", r"has no columns layer,head; give both"),
    ],
)
def test_a_wrong_order_names_the_file_and_the_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as raised:
        read_order(path, SHAPE)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_order_that_cannot_be_read_names_the_file(tmp_path):
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as raised:
            read_order(path, SHAPE)
        assert str(path) in str(raised.value)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00layer,head")
    (tmp_path / "endless.csv").write_text("layer,head\n1," + "1" * 200_000)
    for name in ("binary.csv", "endless.csv"):
        with pytest.raises(InputError, match="cannot be read"):
            read_order(tmp_path / name, SHAPE)


def test_a_file_of_leaves_that_is_missing_costs_no_other(tmp_path):
    store = Store(tmp_path, "one", print)
    for key in ("a", "b"):
        store.add([key], {"value": np.array([1.0])})
    (tmp_path / "one" / "00000-0.npz").unlink()
    again = Store(tmp_path, "one", print)
    again.add(["c"], {"value": np.array([2.0])})
    assert {key for key in "abc" if key in Store(tmp_path, "one", print)} == {"b", "c"}
