"""Attention algorithms as plain numpy: one utterance and head at a time, from their formulas."""

import numpy as np


def softmax(logits, seen):
    """Rows over the keys that are seen; a row that sees none is 0."""
    out = np.zeros(logits.shape)
    for i, row in enumerate(logits):
        if seen[i].any():
            shifted = np.exp(row[seen[i]] - row[seen[i]].max())
            out[i, seen[i]] = shifted / shifted.sum()
    return out


def shared(query):
    return query @ query.T / np.sqrt(query.shape[1])


def everything(t):
    return np.ones((t, t), bool)


def strided(t, near):
    s = max(int(np.floor(np.sqrt(t))), 1)
    seen = np.zeros((t, t), bool)
    for i in range(t):
        for j in range(t):
            seen[i, j] = abs(i - j) <= s if near else (i - j) % s == 0
    return seen


def fixed(t, near):
    s = max(int(np.floor(np.sqrt(t))), 1)
    seen = np.zeros((t, t), bool)
    for i in range(t):
        for j in range(t):
            seen[i, j] = i // s == j // s if near else j % s == s - 1
    return seen


def transforms(kind, x, faithful=False):
    """Q(x) and P(x) row by row."""
    norm = np.linalg.norm(x, axis=1)
    top = norm.max()
    asking, kept = [], []
    for row, size in zip(x, norm, strict=True):
        if kind == "lsh_sign_alsh":
            small = 0.75 * row / top
            n = size if faithful else np.linalg.norm(small)
            asking.append([*small, 0, 0])
            kept.append([*small, 0.5 - n**2, 0.5 - n**4])
        elif kind == "lsh_xbox":
            asking.append([*row, 0])
            kept.append([*row, np.sqrt(max(top**2 - size**2, 0))])
        elif kind == "lsh_xbox_qnf":
            asking.append([*(top * row / size), 0])
            kept.append([*row, np.sqrt(max(top**2 - size**2, 0))])
        elif kind == "lsh_simple" and faithful:
            asking.append([*row, 0])
            kept.append([*row, 0])
        elif kind == "lsh_simple":
            small = row / top
            asking.append([*(row / size), 0])
            kept.append([*small, np.sqrt(max(1 - small @ small, 0))])
        elif kind == "lsh_simple_alsh":
            small = row / top
            lacking = np.sqrt(max(1 - small @ small, 0))
            asking.append([*small, lacking, 0])
            kept.append([*small, 0, lacking])
    return np.array(asking), np.array(kept)


def hashed(kind, x, direction, most, faithful=False):
    """Which keys each query keeps: those with the largest scores, the first of equal ones."""
    asking, kept = transforms(kind, x, faithful)
    seen = np.zeros((len(x), len(x)), bool)
    for i, a in enumerate(direction[: len(x)]):
        own = asking @ a if faithful else np.full(len(x), asking[i] @ a)
        scores = own * (kept @ a)
        seen[i, np.argsort(-scores, kind="stable")[:most]] = True
    return seen


def routed(x, rounds):
    """Pairs in one cluster of spherical k-means from evenly spaced positions."""
    t = len(x)
    count = max(int(np.floor(np.sqrt(t))), 1)
    points = x / np.linalg.norm(x, axis=1, keepdims=True)
    centres = points[[c * t // count for c in range(count)]]
    for _ in range(rounds):
        found = np.argmax(points @ centres.T, axis=1)
        for c in range(count):
            total = points[found == c].sum(0)
            if np.linalg.norm(total) > 1e-6:
                centres[c] = total / np.linalg.norm(total)
    found = np.argmax(points @ centres.T, axis=1)
    return found[:, None] == found[None, :]
