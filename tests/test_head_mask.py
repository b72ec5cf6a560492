"""Numbers of the heads that are left: into place and back, summarised alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from sat_jax.analysis.head_mask import in_place, layer_means, nothing_pruned
from sat_jax.analysis.head_metrics import MEASURES
from sat_jax.analysis.head_types import CATEGORY_OF, summarise
from sat_jax.errors import InputError
from sat_jax.study.segments.entries import model_entries
from sat_jax.study.segments.search import Chosen
from sat_jax.trace import reduce

LEFT = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)


def test_one_head_may_be_left():
    rng = np.random.default_rng(0)
    names = (*CATEGORY_OF, "weight")
    values = {name: rng.normal(size=(30, 3, 4)).astype(np.float32) for name in names}
    left = np.zeros((3, 4), bool)
    left[2, 2] = True
    summary = summarise({k: v[:, left] for k, v in values.items()}, draws=50, head_mask=left)
    for name in names:
        bounds = (summary.ranks[name], summary.rank_low[name], summary.rank_high[name])
        assert [each[2, 2] for each in bounds] == [1, 1, 1]
    assert (summary.category[2, 2], summary.category_share[2, 2]) == ("global", 1)
    assert summary.shares["global"] == (1, 1, 1)
    state, head = model_entries(SimpleNamespace(r=np.array([5.0, 1, 2, 9, 3])), left)
    assert (head.name, head.index, head.place, head.tried) == ("head L3 H3", 0, Chosen(2, 0), 1)
    assert (state.name, state.index, state.place) == ("hidden layer 2", 3, Chosen(5, 0))


def test_a_diverged_head_is_named_by_its_place_among_all_heads():
    values = np.ones((2, 5))
    reduce.require_finite("m", {"weight": values, "curve": values[..., None]}, ["a", "b"], LEFT)
    for wrong in (np.nan, np.inf):
        values[1, 4] = wrong
        with pytest.raises(InputError, match="weight of utterance b .* layer 3, head 4"):
            reduce.require_finite("m", {"weight": values}, ["a", "b"], LEFT)


def test_numbers_come_into_place_and_back():
    values = np.arange(10.0).reshape(2, 5)
    placed = in_place(values, LEFT, axis=1)
    assert placed.shape == (2, 3, 4)
    np.testing.assert_array_equal(placed[:, LEFT], values)
    assert np.isnan(placed[:, ~LEFT]).all()
    assert in_place(np.arange(5), LEFT).dtype == np.float64
    with pytest.raises(ValueError, match="could not be broadcast|shape mismatch"):
        in_place(np.arange(4.0), LEFT)
    with pytest.raises(ValueError, match="values of 12 heads, head_mask has 5"):
        summarise(dict.fromkeys(MEASURES, np.zeros((2, 12))), head_mask=LEFT)
    curves = np.random.default_rng(0).random((6, 3, 4, 7)).astype(np.float32)
    every = layer_means(curves.reshape(6, 12, 7), nothing_pruned((3, 4)))
    np.testing.assert_array_equal(every, curves.mean(2))
    some = layer_means(curves[:, LEFT], LEFT)
    np.testing.assert_array_equal(some[:, 2], curves[:, 2, [1, 3]].mean(1))
    assert np.isnan(some[:, 1]).all()


def test_summary_of_some_heads_is_that_of_a_model_that_has_only_these():
    # The shapes of the studies above, for which everything is compiled.
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=(8, 3, 4)).astype(np.float32) for name in MEASURES}
    some = summarise({k: v[:, LEFT] for k, v in values.items()}, draws=20, head_mask=LEFT)
    alone = summarise({name: each[:, LEFT][:, None] for name, each in values.items()}, draws=20)
    for ours, theirs in zip(some[1:7], alone[1:7], strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name][LEFT], theirs[name][0])
            assert np.isnan(ours[name][~LEFT]).all()
    np.testing.assert_array_equal(some.category[LEFT], alone.category[0])
    assert (some.category[~LEFT] == "pruned").all()
    assert some.shares == alone.shares
