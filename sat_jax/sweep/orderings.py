"""Scores of heads in, the order in which they are pruned and what a curve says about it out."""

import numpy as np


def order_by(values: np.ndarray, descending: bool) -> np.ndarray:
    """Heads (L * H,) in the order of pruning, by values (L, H); ties by layer and head."""
    flat = np.asarray(values, np.float64).reshape(-1)
    return np.argsort(-flat if descending else flat, kind="stable")


def random_orders(seed: int, heads: int, draws: int) -> np.ndarray:
    """Orders drawn uniformly, (draws, heads)."""
    generator = np.random.default_rng(seed)
    return np.stack([generator.permutation(heads) for _ in range(draws)])


def gates_of(order: np.ndarray, pruned: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Gates (G, L, H) with the first `pruned` (G,) heads of an order at 0 and the others at 1."""
    place = np.empty(shape[0] * shape[1], np.int64)
    place[:] = place.size
    place[order] = np.arange(len(order))
    gates = place[None, :] >= np.asarray(pruned)[:, None]
    return gates.astype(np.float32).reshape(-1, *shape)


def single_gates(shape: tuple[int, int]) -> np.ndarray:
    """Gates (L * H, L, H), each with one head at 0: leave one out."""
    heads = shape[0] * shape[1]
    return (1 - np.eye(heads, dtype=np.float32)).reshape(heads, *shape)


def points_of(heads: int, coarse: bool) -> np.ndarray:
    """Numbers of pruned heads that a curve shows: all, or the paper's seven (0, 1/6, ..., 1)."""
    return np.unique(np.linspace(0, heads, 7).round().astype(int) if coarse else range(heads + 1))


def ranks_of(order: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Rank (L, H) of each head in an order of all heads: 1 is pruned first."""
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks.reshape(shape)


def rank_correlations(orders: np.ndarray) -> np.ndarray:
    """Spearman correlation (O, O) of orders (O, N) of the same heads; 1 where there is one head."""
    ranks = np.argsort(orders, axis=1).astype(np.float64)
    centred = ranks - ranks.mean(1, keepdims=True)
    norms = np.sqrt((centred**2).sum(1))
    scale = np.outer(norms, norms)
    return np.divide(centred @ centred.T, scale, out=np.ones_like(scale), where=scale > 0)


def disagreeing(first: np.ndarray, second: np.ndarray, most: int) -> list[tuple[int, int]]:
    """At most so many heads (layer, head) whose ranks (L, H) differ, the most different first."""
    apart = np.abs(first - second)
    order = np.argsort(-apart.reshape(-1), kind="stable")[:most]
    pairs = [np.unravel_index(head, apart.shape) for head in order]
    return [(int(a), int(b)) for a, b in pairs if apart[a, b]]


def area(pruned: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of curves (..., N) over the share of pruned heads, by trapezoids: (...)."""
    steps = np.diff(pruned) / (pruned[-1] - pruned[0])
    return ((values[..., 1:] + values[..., :-1]) / 2 * steps).sum(-1)


def removable(
    pruned: np.ndarray, values: np.ndarray, lower_is_better: bool, loss: float = 0.01
) -> int:
    """Most heads that can be pruned so that neither they nor fewer of them lose more than `loss`.

    values (N,) at `pruned` (N,) heads, ascending from 0; the loss is relative to the first one.
    """
    worse = values - values[0] if lower_is_better else values[0] - values
    beyond = np.flatnonzero(worse > loss * abs(values[0]))
    return int(pruned[beyond[0] - 1 if len(beyond) else -1])
