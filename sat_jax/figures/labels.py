"""Where names of points fit: positions and obstacles in inches in, centres of the names out."""

import numpy as np

SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 1), (-0.8, 1), (0.8, -1), (-0.8, -1))
DISTANCE = 0.035  # inches between a point and its name


def label_centres(
    points: np.ndarray, sizes: np.ndarray, obstacles: np.ndarray, box: tuple[float, float]
) -> np.ndarray:
    """Centres of names beside their points that touch nothing; NaN where a name has no room.

    `points` `(n, 2)`, `sizes` `(n, 2)` of the names and `obstacles` `(m, 4)` as left, bottom,
    right, top are in inches from the lower left corner of a panel of size `box`. Points far from
    the crowd come first. Returns `(n, 2)`.
    """
    centres = np.full(np.shape(points), np.nan)
    taken = np.array(obstacles, float).reshape(-1, 4)
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=-1)
    for index in np.argsort(-distance, kind="stable"):
        half = sizes[index] / 2
        for side in SIDES:
            centre = points[index] + (DISTANCE + half) * side
            low, high = centre - half, centre + half
            inside = (low >= 0).all() and (high <= box).all()
            if inside and ((taken[:, 2:] < low) | (taken[:, :2] > high)).any(axis=-1).all():
                centres[index] = centre
                taken = np.vstack([taken, [*low, *high]])
                break
    return centres
