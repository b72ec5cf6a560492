"""Reference and predicted phone boundaries in, hits and the R-value out.

Source: Räsänen, Laine, Altosaar, "An improved speech segmentation quality measure: the R-value",
Interspeech 2009. Times are samples; what a hit is, `records.boundaries` says. The edges of an
utterance are no boundaries.
"""

import numpy as np

from sat_jax.errors import InputError
from sat_jax.records.boundaries import r_value, targets

SCORES = ("r", "hit_rate", "over_segmentation", "precision", "recall", "f1")


def reference_boundaries(phones: np.ndarray, samples: int, name: str) -> np.ndarray:
    """Boundaries (n,) in samples between phones (m, 3) (start, end, label), inside [0, samples).

    Raises `InputError`, naming utterance `name`, where phones leave a gap, overlap, or end before
    the audio does: they are then of other audio, or in another unit.
    """
    starts, ends = phones[:, 0], phones[:, 1]
    covered = len(phones) and starts[0] == 0 and ends[-1] >= samples
    if not covered or (starts[1:] != ends[:-1]).any() or (ends <= starts).any():
        reach = f"{starts[0]} to {ends[-1]}" if len(phones) else "nothing"
        raise InputError(
            f"utterance {name}: its phones cover {reach} and its audio 0 to {samples} samples; "
            "phones have to follow each other without gaps, in samples of 16 kHz"
        )
    return starts[1:][starts[1:] < samples]


def half_frame_times(frames: int, first: float, hop: int) -> np.ndarray:
    """Times in samples of frame centres and of the middles between them, (2 frames - 1,).

    `first` is the centre of the first frame.
    """
    return first + np.arange(2 * frames - 1) * hop / 2


def count_hits(references: np.ndarray, predicted: np.ndarray) -> int:
    """References (n,) that at least one of the predicted (m,) boundaries hits; both rise."""
    hit = targets(references, predicted)
    return len(np.unique(hit[hit >= 0]))


def even_boundaries(references: np.ndarray) -> np.ndarray:
    """As many boundaries as references, evenly spaced: what knowing the rate alone is worth.

    They stand in the middle of equal parts of the stretch from the first reference to the last, so
    that silence at the edges of an utterance has none and the ends of speech are not given away.
    """
    if not len(references):
        return np.zeros(0)
    count, first, last = len(references), references[0], references[-1]
    return first + (last - first) * (np.arange(count) + 0.5) / count


def score(
    hits: np.ndarray, predicted: np.ndarray, references: np.ndarray | int
) -> dict[str, np.ndarray]:
    """R-value, hit rate, over-segmentation, precision, recall and F1 in percent, of any shape.

    Counts are sums over utterances. No prediction has precision and F1 0; without references
    nothing is defined and everything is NaN.
    """
    hits, predicted = np.asarray(hits, float), np.asarray(predicted, float)
    total = np.where(np.asarray(references) > 0, references, np.nan)
    recall = 100.0 * hits / total
    over = 100.0 * (predicted / total - 1.0)
    precision = 100.0 * hits / np.where(predicted > 0, predicted, 1.0) + 0.0 * total
    f1 = 2.0 * precision * recall / np.maximum(precision + recall, 1e-12)
    return dict(
        zip(SCORES, (r_value(recall, over), recall, over, precision, recall, f1), strict=True)
    )


def drawn_scores(
    weights: np.ndarray, found: np.ndarray, known: np.ndarray
) -> dict[str, np.ndarray]:
    """`score` of every bootstrap draw: weights (G, U), found (U, C, 2), known (U,) references.

    Returns arrays (G, C).
    """
    sums = np.einsum("gu,ucn->gcn", weights, found.astype(np.float64))
    return score(sums[..., 0], sums[..., 1], (weights @ known)[:, None])
