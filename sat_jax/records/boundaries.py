"""Which predicted boundaries hit which true ones, and the R-value of how many do.

Source: Räsänen, Laine, Altosaar, "An improved speech segmentation quality measure: the R-value",
Interspeech 2009. A hit is within 20 ms of the nearest true boundary: search windows of neighbours
are cut at their midpoint, so that no prediction can hit two, and no true boundary is hit twice.
"""

import numpy as np

from sat_jax.grid import SAMPLE_RATE

TOLERANCE = SAMPLE_RATE // 50
"""Samples (20 ms) by which a prediction may miss its reference."""


def targets(references: np.ndarray, times: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Which of the references (n,) a boundary at each of times (m,) would hit; -1 is none.

    References rise. A time halfway between two references belongs to the later one.
    """
    if len(references) == 0:
        return np.full(len(times), -1, np.int32)
    middles = (references[1:] + references[:-1]) / 2
    nearest = np.searchsorted(middles, times, side="right")
    near = np.abs(times - references[nearest]) <= tolerance
    return np.where(near, nearest, -1).astype(np.int32)


def hits(predicted: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which predicted (n,) boundaries hit and which true (m,) ones are hit; seconds in, bool out.

    Both rise; of several predictions that could hit one boundary the first does.
    """
    target = targets(true, predicted, TOLERANCE / SAMPLE_RATE + 1e-9)
    reached, first = np.unique(target, return_index=True)
    hit, found = np.zeros(len(predicted), bool), np.zeros(len(true), bool)
    hit[first[reached >= 0]] = found[reached[reached >= 0]] = True
    return hit, found


def r_value(hit_rate: np.ndarray, over_segmentation: np.ndarray) -> np.ndarray:
    """R-value of hit rate and over-segmentation, all in percent; 100 is perfect."""
    r1 = np.hypot(100.0 - hit_rate, over_segmentation)
    r2 = (-over_segmentation + hit_rate - 100.0) / np.sqrt(2.0)
    return 100.0 * (1.0 - (np.abs(r1) + np.abs(r2)) / 200.0)
