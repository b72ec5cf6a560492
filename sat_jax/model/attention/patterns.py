"""Seven patterns of attention that hear nothing of the input (Raganato et al. 2020).

Where a row would have no key (what is before the first position, after the last), it attends to its
own position.
"""

import numpy as np

SELF, PREVIOUS, NEXT, BEFORE, AFTER, ENDING, BEGINNING = range(7)
NAMES = (
    "same position",
    "previous",
    "next",
    "everything before",
    "everything after",
    "towards the end",
    "towards the start",
)


def handcrafted(positions: int) -> np.ndarray:
    """The patterns (7, T, T), float64, rows sum to 1 (arXiv:2006.05174, "handcrafted").

    Everything before grows with the position as (j + 1)^3, everything after is its mirror image,
    and so are the two that look at the whole utterance.
    """
    place = np.arange(positions)
    query, key = place[:, None], place[None, :]
    rising = np.broadcast_to((key + 1.0) ** 3, (positions, positions))
    falling = np.broadcast_to((positions - key * 1.0) ** 3, (positions, positions))
    patterns = np.stack(
        [
            query == key,
            key == query - 1,
            key == query + 1,
            rising * (key < query),
            falling * (key > query),
            rising,
            falling,
        ]
    ).astype(np.float64)
    empty = patterns.sum(-1) == 0
    patterns += empty[..., None] * np.eye(positions)
    return patterns / patterns.sum(-1, keepdims=True)
