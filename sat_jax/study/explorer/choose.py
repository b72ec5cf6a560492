"""A split in, the few utterances that the explorer shows out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sat_jax.trace.example import pick_utterance


def chosen_utterances(split: Any, ids: Sequence[str], count: int, shown: str) -> list[int]:
    """Indices in a split: of `ids`, or `count` that cover its lengths and speakers.

    The first is the one that figures show (`shown`, see `pick_utterance`); each other one is the
    closest to its share of the lengths among those whose speaker was chosen least often. Raises
    `InputError` for an unknown id.
    """
    if ids:
        return [pick_utterance(split, each) for each in dict.fromkeys(ids)]
    chosen = [pick_utterance(split, shown)]
    count = min(count, len(split))
    lengths = np.asarray(split.lengths, np.float64)
    # Half a step from either end: neither the shortest nor the longest stands for many.
    shares = (np.arange(count - 1) + 0.5) / max(count - 1, 1)
    for wanted in np.quantile(lengths, shares):
        heard = np.bincount(split.speakers[chosen], minlength=int(split.speakers.max()) + 1)
        times = heard[split.speakers].astype(np.float64)
        times[chosen] = np.inf
        rare = np.flatnonzero(times == times.min())
        chosen.append(int(rare[np.abs(lengths[rare] - wanted).argmin()]))
    return chosen
