"""Made-up heads: maps that look like a model's, and the table of their own metrics."""

from itertools import pairwise

import numpy as np
from scipy.special import xlogy

from sat_jax.figures import utterance
from sat_jax.records.check import CATEGORIES
from sat_jax.records.heads import HeadTable

METRICS = ("globalness", "verticality", "diagonality")
PHONES = ["sil", "dh", "ah", "k", "w", "ih", "b", "r", "aw", "n", "f", "aa", "s", "jh", "m", "sh"]


def make_example(layers, heads, positions, seed=0, phones=True):
    """Diagonal heads (some shifted) below, stripes on phones in the middle, diffuse heads above."""
    rng = np.random.default_rng(seed)
    seconds = positions * 0.03 + 0.015
    edges = np.concatenate([[0.0], np.arange(0.2, seconds - 0.17, 0.09), [seconds]])
    edges[2:-1] += rng.uniform(-0.02, 0.02, len(edges) - 3)
    kind = np.concatenate([[0], rng.integers(1, len(PHONES), len(edges) - 3), [0]])
    frame_kind = kind[np.searchsorted(edges[1:], 0.0225 + 0.03 * np.arange(positions))]
    offset = np.arange(positions)[None] - np.arange(positions)[:, None]
    logits = rng.normal(size=(layers, heads, positions, positions)) * 0.25
    for layer, head in np.ndindex(layers, heads):
        depth = (layer + rng.uniform(-0.7, 0.7)) / max(layers - 1, 1)
        if depth < 0.4:
            logits[layer, head] -= rng.uniform(0.1, 2) * abs(offset - rng.integers(-3, 4))
        elif depth < 0.7:
            logits[layer, head] += np.isin(frame_kind, rng.choice(frame_kind, 3)) * rng.uniform(
                2, 5
            )
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    spectrogram = rng.normal(size=(len(PHONES), 80))[np.repeat(frame_kind, 3)]
    return utterance.Example(
        id="spk07_$31$",
        maps=weights / weights.sum(axis=-1, keepdims=True),
        spectrogram=np.concatenate([spectrogram, spectrogram[-1:]]),
        audio=(rng.normal(size=int(seconds * 16000)) * 3000).astype(np.int16),
        phones=[
            (a, b, PHONES[k]) for (a, b), k in zip(pairwise(edges), kind, strict=True) if phones
        ],
        seconds_per_position=0.03,
        start_seconds=0.0225,
    )


def make_table(example, name="toy (step 2500)", noise=0.03, seed=0):
    """The metrics of the example's own maps; intervals and ranks from draws around them."""
    rng = np.random.default_rng(seed)
    probs, size = example.maps, example.maps.shape[-1]
    distance = abs(np.arange(size)[None] - np.arange(size)[:, None])
    columns = probs.mean(axis=-2)
    metrics = {
        "globalness": -xlogy(probs, probs).sum(axis=-1).mean(axis=-1),
        "verticality": xlogy(columns, columns).sum(axis=-1),
        "diagonality": -(probs * distance).sum(axis=(-2, -1)) / size**2,
        "weight": probs.max(axis=(-2, -1)),
        "mass_within_2": (probs * (distance <= 2)).sum(axis=-1).mean(axis=-1),
    }
    draws = {k: v + rng.normal(size=(99, *v.shape)) * noise * v.std() for k, v in metrics.items()}
    ranked = (*METRICS, "weight")
    ranks = {k: ranks_of(metrics[k][None])[0] for k in ranked}
    drawn = {k: ranks_of(draws[k]) for k in ranked}

    def category(of):
        return np.array(CATEGORIES)[np.argmin([of[k] for k in METRICS], axis=0)]

    def ends(of, q):
        return {k: np.quantile(v, q, axis=0) for k, v in of.items()}

    share = (category(drawn) == category(ranks)).mean(axis=0)
    return HeadTable(
        name,
        metrics,
        ends(draws, 0.025),
        ends(draws, 0.975),
        ranks,
        ends(drawn, 0.025),
        ends(drawn, 0.975),
        category(ranks),
        share,
        64,
        {},
    )


def ranks_of(values):
    """Rank 1 for the largest of the last two axes."""
    flat = -values.reshape(len(values), -1)
    return (np.argsort(np.argsort(flat, axis=1), axis=1) + 1).reshape(values.shape)
