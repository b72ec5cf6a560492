"""Segmentation as supplement 2 has it, by loops: scores, minima, hits."""

import itertools

import numpy as np

from sat_jax.records.boundaries import TOLERANCE


def oracle(frames, alpha, beta):
    """Score S (T,) of frames (T, F) by the formulas alone, and how safe it is.

    The latter is how near, relatively, the nearest K[i, k] is to its threshold.
    """
    v = np.asarray(frames, np.float64)
    t = len(v)
    k = np.exp(-np.sqrt(((v[:, None] - v[None]) ** 2).sum(-1)) / alpha)
    eps = beta * k.mean(1)
    above = k > eps[:, None]
    kf = np.zeros((t, t), int)
    for i, j in np.ndindex(t, t):
        kf[i, j] = above[i, min(i, j) : max(i, j) + 1].all()
    s = np.zeros(t, int)
    for centre in range(t):
        reach = min(centre, t - 1 - centre)
        s[centre] = sum(kf[centre - n, centre + n] for n in range(-reach, reach + 1))
    return s, np.abs(k / eps[:, None] - 1).min()


def oracle_minima(s):
    """Half frames (2T - 1,) bool at the centres of the runs of S below both of their neighbours."""
    runs = [[*run] for _, run in itertools.groupby(range(len(s)), key=lambda i: s[i])]
    found = np.zeros(2 * len(s) - 1, bool)
    for before, run, after in zip(runs, runs[1:], runs[2:], strict=False):
        if s[before[0]] > s[run[0]] < s[after[0]]:
            found[run[0] + run[-1]] = True
    return found


def oracle_hits(references, predicted):
    """References that a prediction hits, one reference after the other."""
    hits = 0
    for n, at in enumerate(references):
        opens = (references[n - 1] + at) / 2 if n else -np.inf
        closes = (at + references[n + 1]) / 2 if n + 1 < len(references) else np.inf
        hits += any(opens <= p < closes and abs(p - at) <= TOLERANCE for p in predicted)
    return hits


def block_diagonal(lengths):
    """Attention that is uniform within each of a row of blocks."""
    block = np.repeat(np.arange(len(lengths)), lengths)
    same = (block[:, None] == block[None, :]).astype(float)
    return same / same.sum(1, keepdims=True)
