"""Phone segmentation: scores of features and of heads, one utterance as an example; checks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sat_jax.errors import InputError
from sat_jax.records.check import check_categories, check_numbers, head_mask_of


class Score(NamedTuple):
    """One kind of feature, scored on the test split as tuned on the validation split; percent."""

    name: str  # "MFCC", "log-mel", "hidden layer 4", "head L3 H2", "untrained: head L1 H2"
    r: float  # R-value (100 = perfect), its bootstrap 95 % interval
    low: float
    high: float
    hit_rate: float
    over_segmentation: float
    precision: float
    recall: float
    f1: float
    valid_r: float  # on the validation split, where it was tuned
    tried: int  # candidates of its kind that the validation split chose from
    alpha: float
    beta: float
    curve: np.ndarray  # (n, 2) precision and recall while beta moves around its tuned value


class SegmentTable(NamedTuple):
    """R-values of every head and hidden state of one model; `low`, `high` end 95 % intervals.

    Pruned heads are NaN.
    """

    name: str
    scores: tuple[Score, ...]  # baselines, best hidden layer, best heads; the first is MFCC
    heads_valid: np.ndarray  # (L, H) on the validation split
    heads: np.ndarray  # (L, H) on the test split
    heads_low: np.ndarray
    heads_high: np.ndarray
    hidden: np.ndarray  # (L + 1,) on the test split, hidden states 0..L
    hidden_low: np.ndarray
    hidden_high: np.ndarray
    category: np.ndarray  # (L, H) "global", "vertical", "diagonal", or "pruned"
    even: float  # of evenly spaced boundaries at the true rate
    utterances: int
    boundaries: int


class Panel(NamedTuple):
    """One matrix of the example utterance, times in seconds."""

    title: str
    matrix: np.ndarray  # (T, T)
    attention: bool  # drawn as density on a log scale; similarities 0..1 on a linear scale
    start: float  # left edge of cell 0
    step: float  # width of a cell
    predicted: np.ndarray  # (n,) boundaries
    overlap: np.ndarray  # (t,) score S whose minima are the boundaries; empty: none
    overlap_times: np.ndarray  # (t,)


class SegmentExample(NamedTuple):
    """One utterance and what was made of it, see `figures.utterance.Example`."""

    id: str
    audio: np.ndarray  # (N,) int16
    spectrogram: np.ndarray  # (frames, F) log-mel
    phones: list[tuple[float, float, str]]
    hop_seconds: float
    start: float  # seconds, left edge of frame 0
    panels: tuple[Panel, ...]


def check_segments(tables: Sequence[SegmentTable]) -> None:
    """Raise InputError where there is no table, shapes disagree, or a value is not finite."""
    if not tables:
        raise InputError("segmentation figures: no table was given; expected at least one model")
    for table in tables:
        where, shape = f"segment table {table.name!r}", np.shape(table.category)
        check_categories(where, table.category)
        if not table.scores:
            raise InputError(f"{where}: scores are empty; expected at least one score")
        heads = ("heads_valid", "heads", "heads_low", "heads_high")
        hidden = ("hidden", "hidden_low", "hidden_high")
        of_heads = {name: (getattr(table, name), shape) for name in heads}
        check_numbers(where, of_heads, head_mask_of(table.category))
        shapes = dict.fromkeys(hidden, (shape[0] + 1,)) | {"even": ()}
        check_numbers(where, {name: (getattr(table, name), shapes[name]) for name in shapes})
        for score in table.scores:
            values = {name: (getattr(score, name), ()) for name in Score._fields[1:-1]}
            values["curve"] = (score.curve, (None, 2))
            check_numbers(f"{where}, score {score.name!r}", values)


def check_segment_example(example: SegmentExample) -> None:
    """Raise InputError where there is no panel or the records of one disagree."""
    where = f"segment example {example.id!r}"
    if not example.panels or not example.hop_seconds > 0:
        raise InputError(
            f"{where}: {len(example.panels)} panels and {example.hop_seconds} s per frame; "
            "expected at least one panel and a positive hop"
        )
    sound = {"spectrogram": (example.spectrogram, (None, None)), "audio": (example.audio, (None,))}
    check_numbers(where, sound)
    if not np.size(example.spectrogram) or not np.size(example.audio):
        raise InputError(f"{where}: spectrogram or audio is empty; give an utterance with sound")
    for start, end, label in example.phones:
        if not start < end:
            raise InputError(f"{where}: phone {label!r} ends at {end} s, not after {start} s")
    for panel in example.panels:
        size = len(panel.matrix)
        fields = {"matrix": (panel.matrix, (size, size)), "predicted": (panel.predicted, (None,))}
        fields["overlap_times"] = (panel.overlap_times, (None,))
        fields["overlap"] = (panel.overlap, np.shape(panel.overlap_times))
        check_numbers(f"{where}, panel {panel.title!r}", fields)
        if not size or not panel.step > 0:
            raise InputError(
                f"{where}, panel {panel.title!r}: {size} cells of {panel.step} s; expected > 0"
            )
