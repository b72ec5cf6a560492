"""What the maps of one model's heads look like: a record."""

from typing import NamedTuple

import numpy as np


class HeadPatterns(NamedTuple):
    """The N heads that are not pruned, in order."""

    name: str
    """The model, as it stands over its figures."""
    place: np.ndarray
    """(N, 2) layer and head, from 0."""
    maps: np.ndarray
    """(N, G, G) mean maps on a common grid; rows are queries and sum to 1."""
    category: np.ndarray
    """(N,) global, vertical or diagonal."""
    case: np.ndarray
    """(N,) general case."""
    near: np.ndarray
    """(N,) share of the attention within a few positions."""
    columns: np.ndarray
    """(N,) distance of the mean over queries from uniform attention."""
    embedding: dict[str, np.ndarray]
    """Name of a method to places (N, 2)."""
