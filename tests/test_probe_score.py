"""Scores of probes: counts, accuracy, macro-F1, and intervals over utterances and seeds."""

import jax
import jax.numpy as jnp
import numpy as np
from test_probe import KEYS, assert_close

from sat_jax.analysis.bootstrap import bootstrap_weights, interval
from sat_jax.analysis.probe_score import accuracy, confusion, drawn, macro_f1, seed_means

score = jax.jit(lambda counts: (accuracy(counts), macro_f1(counts)))
resample = jax.jit(drawn)
mean = jax.jit(seed_means)
count = jax.jit(confusion, static_argnums=(3, 4))
weigh = jax.jit(bootstrap_weights, static_argnums=(1, 2))


def predictions(seed=7, n=300, utterances=9, classes=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, classes - 1, (n, 3)).astype(np.int32)
    utterance = rng.integers(0, utterances, n).astype(np.int32)
    return rng.integers(0, classes, n).astype(np.int32), labels, utterance


def test_counts_are_those_of_a_loop_over_frames():
    predicted, labels, utterance = predictions()
    wanted = np.zeros((9, 5, 3), int)
    for told, row, u in zip(predicted, labels, utterance, strict=True):
        for label in row[row >= 0]:
            wanted[u, told, 0] += told == label
            wanted[u, told, 1] += 1
            wanted[u, label, 2] += 1
    counts = count(predicted, labels, utterance, 9, 5)
    assert counts.dtype == jnp.int32
    np.testing.assert_array_equal(counts, wanted)


def test_scores_of_a_case_by_hand():
    # Class 0: 3 of 4 found, 1 too many. Class 1: 1 of 2, 2 too many. Class 2 has no reference.
    mixed = [[3, 4, 4], [1, 3, 2], [0, 1, 0]]
    perfect = [[2, 2, 2], [5, 5, 5], [0, 0, 0]]
    missed = [[2, 4, 2], [0, 0, 2], [0, 0, 0]]
    right, f1 = score(np.array([mixed, perfect, missed, np.zeros((3, 3))]))
    np.testing.assert_allclose(right, [4 / 6, 1, 2 / 4, np.nan])
    np.testing.assert_allclose(f1, [(6 / 8 + 2 / 5) / 2, 1, (4 / 6 + 0) / 2, np.nan])


def test_a_draw_scores_the_utterances_that_it_picked():
    counts = np.stack([count(*predictions(seed), 9, 5) for seed in (1, 2)])
    counts = np.stack([counts, counts[::-1], counts + counts[::-1]])  # (3, 2, U, P, 3)
    weights = weigh(KEYS[0], 9, 20)
    right, f1 = resample(weights, counts)
    assert right.shape == f1.shape == (20, 3, 2)
    times = np.round(np.asarray(weights) * 9).astype(int)
    picked = np.stack([np.repeat(counts, each, axis=2).sum(2) for each in times])
    assert_close((right, f1), score(picked), rtol=1e-5)
    single, _ = resample(weights, counts[0, 0])
    np.testing.assert_array_equal(single, np.asarray(right)[:, 0, 0])


def test_a_class_that_a_draw_left_out_is_left_out_of_its_mean():
    counts = np.zeros((2, 2, 3), int)
    counts[0, 0], counts[1, 1] = (4, 4, 4), (1, 1, 4)
    _, f1 = resample(np.float32([[1, 0], [0.5, 0.5]]), counts)
    np.testing.assert_allclose(f1, [1, (1 + 2 / 5) / 2], rtol=1e-6)


def test_one_seed_has_the_interval_of_the_utterances():
    counts = np.stack([count(*predictions(seed), 9, 5) for seed in (1, 2)])[:, None]
    right, _ = resample(weigh(KEYS[0], 9, 50), counts)
    alone = mean(weigh(jax.random.key(9), 1, 50), right)
    np.testing.assert_array_equal(alone, np.asarray(right)[..., 0])


def test_every_draw_picks_seeds_for_all_settings():
    values = np.random.default_rng(8).normal(size=(30, 4, 3)).astype(np.float32)
    weights = weigh(KEYS[0], 3, 30)
    means = np.asarray(mean(weights, values))
    for draw in range(30):
        picked = np.repeat(np.arange(3), np.round(np.asarray(weights[draw]) * 3).astype(int))
        np.testing.assert_allclose(means[draw], values[draw][:, picked].mean(1), atol=1e-6)
    assert len(np.unique(np.round(np.asarray(weights), 3), axis=0)) > 5


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    seeds, utterances, draws, trials, truth = 8, 40, 300, 150, 0.6
    rng = np.random.default_rng(9)
    effect = rng.normal(0, 0.12, (trials, 1, utterances)) + rng.normal(0, 0.05, (trials, seeds, 1))
    hits = rng.binomial(20, np.clip(truth + effect, 0, 1))
    counts = np.stack([hits, np.full_like(hits, 20), np.full_like(hits, 20)], -1)[..., None, :]
    utterance_key, seed_key = KEYS
    right, _ = resample(weigh(utterance_key, utterances, draws), counts)

    def covered(values):
        low, high = map(np.asarray, interval(values))
        return ((low <= truth) & (truth <= high)).mean()

    both = covered(mean(weigh(seed_key, seeds, draws), right))
    utterances_alone = covered(np.mean(right, -1))
    assert 0.86 <= both <= 0.99 and utterances_alone < both - 0.05
