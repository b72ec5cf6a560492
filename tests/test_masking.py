"""Masking: shares, spans and replacements as published; interpolation against a loop."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax.pretrain.masking import choose_spans, corrupt, interpolate
from sat_jax.pretrain.objectives.reconstruction import masked_l1, mean_frame

choose = jax.jit(choose_spans, static_argnums=(2, 3))


def valid_of(lengths, t):
    return jnp.arange(t) < jnp.asarray(lengths)[:, None]


def runs(row):
    """Lengths of the runs of True."""
    return [len(list(group)) for value, group in itertools.groupby(row) if value]


@pytest.mark.parametrize("span", [1, 2, 3])
def test_spans_are_whole_inside_and_of_the_right_share(span):
    lengths = [112, 60, 17, 3, 2, 1, 0]
    valid = valid_of(lengths, 112)
    shares = []
    for seed in range(40):
        chosen = np.asarray(choose(jax.random.key(seed), valid, 0.15, span))
        assert not chosen[~np.asarray(valid)].any()
        for row in chosen:
            # Spans may touch, never overlap: every run is a multiple of the span.
            assert all(run % span == 0 for run in runs(row))
        shares.append(chosen.sum(1) / np.maximum(lengths, 1))
        fits = np.asarray(lengths) >= span
        assert (chosen.sum(1)[fits] >= span).all()
        assert (chosen.sum(1)[~fits] == 0).all()
    assert np.mean(shares, 0)[:2] == pytest.approx([0.15, 0.15], abs=0.015)


def test_placements_are_uniform_over_all_without_overlap():
    # Two spans of two among six positions: 6 placements, each as likely.
    valid = valid_of([6] * 4000, 6)
    chosen = np.asarray(choose(jax.random.key(0), valid, 2 / 3, 2))
    counts = Counter(tuple(row) for row in chosen)
    expected = set()
    for a, b in itertools.combinations(range(5), 2):
        if b - a >= 2:
            row = [False] * 6
            for start in (a, b):
                row[start] = row[start + 1] = True
            expected.add(tuple(row))
    assert set(counts) == expected
    # {0,1,2,3}, {1,2,3,4}, {2,3,4,5} come from one placement each, like the others.
    assert min(counts.values()) > 0.8 * 4000 / 6
    assert max(counts.values()) < 1.2 * 4000 / 6


def test_choice_does_not_depend_on_padding():
    key = jax.random.key(3)
    narrow = choose(key, valid_of([40, 25], 40), 0.15, 2)
    wide = choose(key, valid_of([40, 25], 64), 0.15, 2)
    np.testing.assert_array_equal(narrow, wide[:, :40])


def test_corruption_is_eighty_ten_ten_by_utterance():
    rng = np.random.default_rng(0)
    b, t = 3000, 12
    inputs = jnp.asarray(rng.normal(size=(b, t, 2)).astype(np.float32))
    valid = valid_of([t] * b, t)
    chosen = choose(jax.random.key(1), valid, 0.3, 1)
    out = np.asarray(jax.jit(corrupt)(jax.random.key(2), inputs, valid, chosen, 0.8, 0.1))
    at = np.asarray(chosen)
    np.testing.assert_array_equal(out[~at], np.asarray(inputs)[~at])
    zeroed = np.array([(out[i][at[i]] == 0).all() for i in range(b)])
    kept = np.array([(out[i][at[i]] == np.asarray(inputs)[i][at[i]]).all() for i in range(b)])
    assert zeroed.mean() == pytest.approx(0.8, abs=0.03)
    assert kept.mean() == pytest.approx(0.1, abs=0.03)
    replaced = ~zeroed & ~kept
    assert replaced.mean() == pytest.approx(0.1, abs=0.03)
    for i in np.flatnonzero(replaced)[:50]:
        own = {tuple(frame) for frame in np.asarray(inputs)[i]}
        assert all(tuple(frame) in own for frame in out[i][at[i]])


def test_replacements_never_come_from_padding():
    inputs = jnp.where(valid_of([5] * 200, 9)[:, :, None], 1.0, jnp.nan)
    valid = valid_of([5] * 200, 9)
    chosen = choose(jax.random.key(1), valid, 0.5, 1)
    out = np.asarray(corrupt(jax.random.key(2), inputs, valid, chosen, 0.0, 1.0))
    assert (out[np.asarray(valid)] == 1).all()


def test_interpolation_is_the_loop():
    rng = np.random.default_rng(4)
    lengths = [20, 13, 6, 1]
    target = rng.normal(size=(4, 20, 3)).astype(np.float32)
    valid = np.asarray(valid_of(lengths, 20))
    chosen = (rng.random((4, 20)) < 0.4) & valid
    chosen[2, :4] = True
    chosen[2, 4:6] = False
    chosen[1, 0] = chosen[1, 12] = True
    got = np.asarray(interpolate(jnp.asarray(target), jnp.asarray(chosen), jnp.asarray(valid)))
    for row, n in enumerate(lengths):
        known = [i for i in range(n) if not chosen[row, i]]
        if not known:
            continue
        for column in range(3):
            at = np.arange(n)
            expected = np.interp(at, known, target[row, known, column])
            np.testing.assert_allclose(got[row, :n, column], expected, atol=1e-5)


def test_loss_counts_chosen_frames_only():
    rng = np.random.default_rng(5)
    prediction, target = rng.normal(size=(2, 3, 7, 4))
    chosen = rng.random((3, 7)) < 0.5
    expected = np.abs(prediction - target)[chosen].mean()
    assert float(masked_l1(prediction, target, jnp.asarray(chosen))) == pytest.approx(expected)
    assert float(masked_l1(prediction, target, jnp.zeros((3, 7), bool))) == 0


def test_mean_frame_ignores_padding():
    target = np.arange(12.0).reshape(1, 6, 2)
    got = mean_frame(jnp.asarray(target), valid_of([3], 6))
    np.testing.assert_allclose(got[0, 0], target[0, :3].mean(0))
