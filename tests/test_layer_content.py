"""What layers hold, against canonical correlations and informations that are known."""

import numpy as np
import pytest

from sat_jax.analysis import moments
from sat_jax.analysis.layer_content import (
    clusters_of,
    held_out_correlations,
    shared_information,
)
from sat_jax.study.layer_content import one_hot

RNG = np.random.default_rng(0)


def by_shard(x, y, shards=4):
    pairs = [(0, 0), (1, 1), (0, 1)]
    found = moments.begin([x[:64], y[:64]], pairs, shards)
    for shard in range(shards):
        moments.add(found, [x[shard::shards], y[shard::shards]], shard)
    return found


def test_what_follows_linearly_is_found_and_what_does_not_is_not():
    x = RNG.normal(size=(4000, 10)).astype(np.float32)
    follows = (x @ RNG.normal(size=(10, 3))).astype(np.float32)
    assert held_out_correlations(by_shard(x, follows), 1).min() > 0.99
    alone = RNG.normal(size=(4000, 3)).astype(np.float32)
    # On the frames that it learns from, noise correlates; on others it does not.
    assert held_out_correlations(by_shard(x, alone), 1).max() < 0.06


def test_the_correlation_is_that_of_the_noise():
    # y = z + n with equal variances, x = z: correlation 1 / sqrt 2 in every direction.
    z = RNG.normal(size=(20_000, 3))
    y = (z + RNG.normal(size=z.shape)).astype(np.float32)
    turned = (z @ np.linalg.qr(RNG.normal(size=(3, 3)))[0]).astype(np.float32)
    found = held_out_correlations(by_shard(turned, y), 1)
    np.testing.assert_allclose(found, np.sqrt(0.5), atol=0.02)


def test_constant_columns_and_empty_shards_are_left_out():
    x = RNG.normal(size=(400, 4)).astype(np.float32)
    y = np.stack([x[:, 0], np.full(400, 3.0, np.float32)], axis=1)
    assert held_out_correlations(by_shard(x, y), 1).min() > 0.99
    assert np.isnan(held_out_correlations(by_shard(x, y * 0), 1)).all()
    found = by_shard(x, y)
    found.count[2] = 0
    assert np.isnan(held_out_correlations(found, 1)).tolist() == [False, False, True, False]


def test_information_is_all_of_the_entropy_or_none():
    labels = np.repeat(np.arange(4), 100)
    assert shared_information(labels * 2 + np.arange(400) % 2, labels) == pytest.approx(1)
    assert shared_information(np.tile(np.arange(4), 100), labels) == pytest.approx(0)
    # Half of the labels told apart: ln 2 of ln 4.
    assert shared_information(labels // 2, labels) == pytest.approx(0.5)
    assert shared_information(labels, np.where(labels > 1, -1, labels)) == pytest.approx(1)
    assert np.isnan(shared_information(labels, labels * 0))


def test_clusters_find_what_lies_apart():
    centres = 20 * np.eye(5, 6)
    labels = RNG.integers(0, 5, 1000)
    rows = (centres[labels] + RNG.normal(size=(1000, 6))).astype(np.float32)
    found = clusters_of(rows[:800], rows[800:], 5, 0)
    assert shared_information(found, labels[800:]) == pytest.approx(1)


def test_labels_become_shares_of_a_position():
    found = one_hot(np.array([[0, 0, 2], [-1, 1, 1], [-1, -1, -1]]), 3)
    np.testing.assert_allclose(found, np.array([[2, 0, 1], [0, 2, 0], [0, 0, 0]]) / 3, atol=1e-6)
