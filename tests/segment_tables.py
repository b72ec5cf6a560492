"""Made-up records of segmentation: scores, tables of heads, an utterance."""

from itertools import pairwise

import numpy as np
from head_figures import PHONES

from sat_jax.records.check import CATEGORIES
from sat_jax.records.segments import Panel, Score, SegmentExample, SegmentTable


def make_score(name, r, tried, rng, width=1.0):
    """A score whose curve runs from many predictions to few and passes its tuned point."""
    recall = np.linspace(95, 45, 15)
    precision = r - 60 * ((recall - 72) / 100) - 0.02 * (recall - 72) ** 2
    low, high = r - rng.uniform(1, 2) * width, r + rng.uniform(1, 2) * width
    middle = (recall[8], precision[8])
    over = 100 * (middle[0] / middle[1] - 1)
    values = (r, low, high, middle[0], over, middle[1], middle[0], 70.0, r + 0.5, tried, 2.0, 1.1)
    return Score(name, *values, np.stack([precision, recall], axis=-1))


def make_table(layers, heads, name="toy (step 2500)", trained=True, seed=0):
    """Heads that get better towards the middle layers, or are all alike if untrained."""
    rng = np.random.default_rng(seed)
    depth = np.linspace(-1, 1, layers + 1)
    r = 62 + rng.normal(size=(layers, heads)) * 5 + trained * 10 * (1 - depth[1:, None] ** 2)
    valid = r + rng.normal(size=r.shape) * 1.5
    hidden = 68 + trained * 8 * (1 - depth**2)
    best = np.unravel_index(valid.argmax(), valid.shape)
    scores = [
        make_score("MFCC", 74.0, 1, rng),
        make_score("log-mel", 72.5, 1, rng),
        make_score(f"hidden layer {hidden.argmax()}", hidden.max(), layers + 1, rng),
        make_score(f"head L{best[0] + 1} H{best[1] + 1}", r[best], layers * heads, rng),
    ]
    return SegmentTable(
        name,
        tuple(scores),
        valid,
        r,
        r - rng.uniform(0.5, 2, r.shape),
        r + rng.uniform(0.5, 2, r.shape),
        hidden,
        hidden - 1,
        hidden + 1,
        rng.choice(CATEGORIES, r.shape),
        48.0,
        64,
        2210,
    )


def make_example(seconds=3.0, panels=4, predicted=True, seed=0):
    """Frames of 10 ms whose similarity is high within phones; predictions mostly near the truth."""
    rng = np.random.default_rng(seed)
    edges = np.concatenate([[0.0], np.arange(0.2, seconds - 0.2, 0.09), [seconds]])
    edges[2:-1] += rng.uniform(-0.02, 0.02, len(edges) - 3)
    kind = rng.integers(1, len(PHONES), len(edges) - 1)
    kind[[0, -1]] = 0
    frames = int(seconds * 100) - 1
    centres = 0.0125 + 0.01 * np.arange(frames)
    rows = rng.normal(size=(len(PHONES), 12))[kind[np.searchsorted(edges[1:], centres)]]
    rows = rows + rng.normal(size=rows.shape) * 0.4
    apart = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=-1))
    similar = np.exp(-apart / 3)
    attention = np.exp(4 * similar - 0.02 * abs(np.arange(frames)[:, None] - np.arange(frames)))
    attention /= attention.sum(axis=-1, keepdims=True)
    near = edges[1:-1] + rng.normal(size=len(edges) - 2) * 0.015
    near = np.sort(np.append(near[rng.random(len(near)) < 0.85], rng.uniform(0, seconds, 3)))
    near = near if predicted else near[:0]
    score = 3 + 20 * abs(centres[:, None] - np.append(near, [-1, 99])).min(axis=1).clip(0, 0.5) * 5
    score *= 10 if seconds > 10 else 1  # three digits on the axis
    none = np.zeros(0)
    grid = (0.0075, 0.01)
    made = [
        Panel("attention of L3 H2", attention, True, *grid, none, none, none),
        Panel("similarity of its rows, exp(-d/alpha)", similar, False, *grid, near, score, centres),
        Panel("similarity of hidden layer 4", similar**2, False, *grid, near, score, centres),
        Panel(
            "similarity of MFCC", similar**0.5, False, *grid, near + 0.012, score, centres + 0.012
        ),
    ]
    return SegmentExample(
        id="spk07_$31$",
        audio=(rng.normal(size=int(seconds * 16000)) * 3000).astype(np.int16),
        spectrogram=rng.normal(size=(len(PHONES), 80))[kind[np.searchsorted(edges[1:], centres)]],
        phones=[(a, b, PHONES[k]) for (a, b), k in zip(pairwise(edges), kind, strict=True)],
        hop_seconds=0.01,
        start=0.0075,
        panels=tuple(made[:panels]),
    )


LONG = "a run with a very long name, " * 6
