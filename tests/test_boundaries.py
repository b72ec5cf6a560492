"""Hits of single boundaries, and the R-value from precision and recall."""

import numpy as np
import pytest

from sat_jax.records import boundaries


def test_a_boundary_is_hit_once_by_the_nearest_within_20_ms():
    hits = boundaries.hits
    true = np.array([0.10, 0.13, 0.50])
    hit, found = hits(np.array([0.08, 0.114, 0.116, 0.477, 0.52, 0.52]), true)
    # 0.08 takes 0.10, 0.114 comes too late, 0.116 is nearer to 0.13; 0.477 is 23 ms off.
    assert hit.tolist() == [True, False, True, False, True, False]
    assert found.tolist() == [True, True, True]
    assert hits(np.array([0.115]), true)[1].tolist() == [False, True, False]
    for predicted, reference in ((true, true[:0]), (true[:0], true)):
        assert [part.tolist() for part in hits(predicted, reference)] == [
            [False] * len(predicted),
            [False] * len(reference),
        ]


@pytest.mark.parametrize(
    ("references", "predicted", "right"), [(200, 200, 200), (200, 150, 120), (300, 420, 240)]
)
def test_r_value_of_precision_and_recall_is_that_of_counts(references, predicted, right):
    rate, over = 100 * right / references, 100 * (predicted / references - 1)
    r1 = np.sqrt((100 - rate) ** 2 + over**2)
    r2 = (-over + rate - 100) / np.sqrt(2)
    expected = 100 * (1 - (abs(r1) + abs(r2)) / 200)
    assert boundaries.r_value(rate, 100 * (rate * predicted / (100 * right) - 1)) == pytest.approx(
        expected
    )
