"""Ranks, categories and bootstrap intervals against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax.analysis.bootstrap import bootstrap_weights
from sat_jax.analysis.head_types import (
    CATEGORY_OF,
    categories,
    ranks,
    summarise,
)

NAMES = [*CATEGORY_OF, "weight", "mean_offset"]


def per_utterance(rng, utterances=40, layers=2, heads=3, noise=0.1):
    centre = {name: rng.normal(size=(1, layers, heads)) for name in NAMES}
    return {
        name: (value + noise * rng.normal(size=(utterances, layers, heads))).astype(np.float32)
        for name, value in centre.items()
    }


def test_rank_one_is_the_highest_and_ties_keep_their_order():
    np.testing.assert_array_equal(ranks(jnp.array([0.1, 0.9, 0.5, 0.9])), [4, 1, 3, 2])


def test_a_head_belongs_to_its_best_rank():
    values = jnp.array([[9.0, 1, 2, 3], [0, 9, 1, 2], [0, 1, 9, 2]])
    np.testing.assert_array_equal(categories(values)[:3], [0, 1, 2])


def test_a_tie_goes_to_the_larger_relative_gap_then_to_the_order():
    # Head 0 leads every list: relative to the medians its gaps are 1, 3 and 2.
    values = jnp.array([[4.0, 2, 2], [-0.5, -0.125, -0.125], [6.0, 2, 2]])
    values = values.at[1].set(jnp.array([8.0, 2.0, 2.0]))
    assert categories(values)[0] == 1
    same = jnp.array([[4.0, 2, 2]] * 3)
    assert categories(same)[0] == 0


def test_summary_is_mean_over_utterances():
    values = per_utterance(np.random.default_rng(0))
    summary = summarise(values, draws=100)
    for name in NAMES:
        np.testing.assert_allclose(summary.metrics[name], values[name].mean(0), rtol=1e-5)
        assert (summary.low[name] <= summary.metrics[name]).all()
        assert (summary.metrics[name] <= summary.high[name]).all()
    order = np.argsort(-summary.metrics["weight"].ravel())
    assert summary.ranks["weight"].ravel()[order].tolist() == [1, 2, 3, 4, 5, 6]


def test_interval_has_the_width_of_the_standard_error():
    values = per_utterance(np.random.default_rng(1), utterances=400, noise=1.0)
    summary = summarise(values, draws=2000)
    width = summary.high["globalness"] - summary.low["globalness"]
    expected = 2 * 1.96 * values["globalness"].std(0) / np.sqrt(400)
    np.testing.assert_allclose(width, expected, rtol=0.1)


def test_bootstrap_draws_whole_utterances_with_replacement():
    weights = np.asarray(bootstrap_weights(jax.random.key(0), 30, 500))
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    counts = np.rint(weights * 30)
    np.testing.assert_allclose(weights * 30, counts, atol=1e-4)
    assert counts.var() == pytest.approx(1 - 1 / 30, rel=0.05)


def test_certain_heads_are_certain_and_uncertain_ones_are_not():
    rng = np.random.default_rng(2)
    clear = summarise(per_utterance(rng, noise=1e-4), draws=100)
    assert (clear.category_share == 1).all()
    np.testing.assert_array_equal(clear.rank_low["weight"], clear.rank_high["weight"])
    same = {name: np.tile(rng.normal(size=(40, 1, 1)), (1, 2, 3)) for name in NAMES}
    noise = {name: value + rng.normal(size=(40, 2, 3)) for name, value in same.items()}
    assert summarise(noise, draws=100).category_share.min() < 0.9


def test_one_utterance_has_intervals_of_no_width():
    values = per_utterance(np.random.default_rng(3), utterances=1)
    summary = summarise(values, draws=100)
    for name in NAMES:
        np.testing.assert_allclose(summary.low[name], summary.high[name], rtol=1e-6)


def test_shares_are_those_of_the_categories_and_sum_to_one():
    for seed in range(3):
        values = per_utterance(np.random.default_rng(seed), noise=2.0)
        summary = summarise(values, draws=100, seed=seed)
        assert set(summary.shares) == set(CATEGORY_OF.values())
        assert sum(share for share, _, _ in summary.shares.values()) == pytest.approx(1)
        for label, (share, low, high) in summary.shares.items():
            assert share == pytest.approx((summary.category == label).mean())
            assert 0 <= low <= high <= 1
        # The same draws, counted one by one.
        weights = np.asarray(bootstrap_weights(jax.random.key(seed), 40, 100))
        drawn = np.stack([np.einsum("gu,ulh->glh", weights, values[name]) for name in CATEGORY_OF])
        of_draws = np.asarray(categories(jnp.asarray(drawn.reshape(3, 100, -1))))
        for i, (_, low, high) in enumerate(summary.shares.values()):
            wanted = np.percentile((of_draws == i).mean(-1), (2.5, 97.5))
            np.testing.assert_allclose((low, high), wanted, atol=1e-6)


def test_certain_categories_have_certain_shares():
    summary = summarise(per_utterance(np.random.default_rng(2), noise=1e-4), draws=100)
    for share, low, high in summary.shares.values():
        np.testing.assert_allclose((low, high), share, atol=1e-6)
