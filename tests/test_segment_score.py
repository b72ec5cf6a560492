"""Strict hit counting, the R-value, and the boundaries that are references."""

import numpy as np
import pytest
from segment_oracles import oracle_hits

from sat_jax.analysis.segment_score import (
    SCORES,
    count_hits,
    drawn_scores,
    even_boundaries,
    half_frame_times,
    reference_boundaries,
    score,
)
from sat_jax.errors import InputError
from sat_jax.records.boundaries import TOLERANCE, targets


def test_hits_are_those_of_a_loop_over_references():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        references = np.unique(rng.integers(0, 40, rng.integers(0, 12))) * 80
        predicted = np.unique(rng.integers(0, 80, rng.integers(0, 25))) * 40
        assert count_hits(references, predicted) == oracle_hits(references, predicted)


def test_two_references_ten_milliseconds_apart_need_two_predictions():
    references = np.array([1600, 1760])
    assert count_hits(references, np.array([1650])) == 1
    assert count_hits(references, np.array([1600, 1640, 1679])) == 1
    assert count_hits(references, np.array([1640, 1700])) == 2
    # Their midpoint belongs to the later one.
    assert targets(references, np.array([1679.5, 1680, 1680.5])).tolist() == [0, 1, 1]


def test_a_hit_is_within_20_milliseconds():
    assert TOLERANCE == 320
    at = np.array([5000 - 321, 5000 - 320, 5000, 5000 + 320, 5000 + 321])
    assert targets(np.array([5000]), at).tolist() == [-1, 0, 0, 0, -1]
    assert targets(np.array([]), at).tolist() == [-1] * 5


def test_half_frames_lie_at_and_between_the_centres():
    assert half_frame_times(3, 200, 160).tolist() == [200, 280, 360, 440, 520]


@pytest.mark.parametrize(
    ("hits", "predicted", "r"),
    [
        (50, 50, 100),
        (0, 0, 100 - 50 * np.sqrt(2)),
        (25, 25, 100 - 25 * np.sqrt(2)),
        (50, 100, 50 - 25 * np.sqrt(2)),
        (0, 50, 100 - 50 - 25 * np.sqrt(2)),
        (50, 500, 100 - 450 - 225 * np.sqrt(2)),
    ],
    ids=["perfect", "nothing", "half", "twice as many", "all wrong", "every frame"],
)
def test_known_r_values(hits, predicted, r):
    got = score(hits, predicted, 50)
    assert got["r"] == pytest.approx(r)
    assert got["hit_rate"] == got["recall"] == 2 * hits
    assert got["over_segmentation"] == 2 * predicted - 100


def test_scores_are_the_published_definitions():
    rng = np.random.default_rng(0)
    references = rng.integers(1, 50, (4, 3))
    predicted = rng.integers(0, 90, (4, 3))
    hits = rng.integers(0, np.minimum(references, predicted) + 1)
    got = score(hits, predicted, references)
    assert set(got) == set(SCORES)
    for at in np.ndindex(hits.shape):
        h, p, n = int(hits[at]), int(predicted[at]), int(references[at])
        hr, os = 100 * h / n, 100 * (p - n) / n
        r1, r2 = ((100 - hr) ** 2 + os**2) ** 0.5, (hr - 100 - os) / 2**0.5
        assert got["r"][at] == pytest.approx(100 - (abs(r1) + abs(r2)) / 2)
        assert got["precision"][at] == pytest.approx(100 * h / p if p else 0)
        assert got["f1"][at] == pytest.approx(200 * h / (n + p))


def test_without_references_nothing_is_defined():
    for hits, predicted in ((0, 0), (0, 12)):
        for name, value in score(hits, predicted, 0).items():
            assert np.isnan(value), name


def test_even_boundaries_are_as_many_and_equally_far_apart():
    references = np.array([4000, 5000, 16000])
    assert even_boundaries(references).tolist() == [6000, 10000, 14000]
    # Silence at the edges moves nothing, and the ends of speech are not among them.
    assert even_boundaries(np.array([400, 410, 480, 800])).tolist() == [450, 550, 650, 750]
    assert len(even_boundaries(np.array([]))) == 0


def test_draws_are_scores_of_resampled_sums():
    rng = np.random.default_rng(0)
    # The last candidate predicts hardly ever: fewer boundaries than utterances.
    known = rng.integers(2, 30, 9)
    predicted = rng.integers(0, 40, (9, 4)) * [1, 1, 1, 0] + (np.arange(9) == 4)[:, None]
    hits = rng.integers(0, np.minimum(known[:, None], predicted) + 1)
    hits[4, 3] = 1
    found = np.stack([hits, predicted], -1)
    picks = rng.integers(0, 9, (40, 9))
    weights = np.stack([np.bincount(each, minlength=9) / 9 for each in picks])
    got = drawn_scores(weights, found, known)
    for g, each in enumerate(picks):
        wanted = score(hits[each].sum(0), predicted[each].sum(0), known[each].sum())
        for name in SCORES:
            np.testing.assert_allclose(got[name][g], wanted[name], rtol=1e-6, err_msg=name)


# Reference boundaries.


def test_references_are_the_starts_of_phones_inside_the_audio():
    phones = np.array([[0, 900, 1], [900, 1000, 1], [1000, 2000, 0], [2000, 2600, 4]])
    assert reference_boundaries(phones, 2600, "a").tolist() == [900, 1000, 2000]
    assert reference_boundaries(phones, 2001, "a").tolist() == [900, 1000, 2000]
    assert reference_boundaries(phones, 2000, "a").tolist() == [900, 1000]
    assert reference_boundaries(phones[:1], 800, "a").tolist() == []


@pytest.mark.parametrize(
    "spans",
    [
        [(0, 900), (901, 1600)],
        [(0, 900), (890, 1600)],
        [(0, 450), (450, 800)],
        [(10, 900), (900, 1600)],
        [(0, 900), (900, 900), (900, 1600)],
        [],
    ],
    ids=["gap", "overlap", "8 kHz", "late start", "empty phone", "no phones"],
)
def test_phones_that_do_not_tile_the_audio_are_refused(spans):
    phones = np.array([(*span, 0) for span in spans], np.int32).reshape(-1, 3)
    with pytest.raises(InputError, match="^utterance speaker/one: .*samples of 16 kHz$"):
        reference_boundaries(phones, 1600, "speaker/one")
