"""Several runs side by side: one record per run, and its check."""

from typing import NamedTuple

import numpy as np

from sat_jax.errors import InputError
from sat_jax.records.check import CATEGORIES, check_numbers

SCORES = ("MFCC", "log-mel", "best layer", "best head")
"""What stands for each kind of feature in a run's segmentation, in the order of its table."""


class RunRow(NamedTuple):
    """One run among others that differ in their masking. `low` and `high` end 95 % intervals."""

    name: str
    c_num: int  # masked span in frames
    offset: np.ndarray  # (n,) |modal offset| of the diagonal heads in ms; empty: there are none
    offset_mean: float  # ms; not shown where offset is empty
    offset_low: float
    offset_high: float
    shares: dict[str, tuple[float, float, float]]  # category -> share of heads, low, high
    globalness: np.ndarray  # (n,) of all heads that are not pruned, nats
    scores: dict[str, tuple[float, float, float]]  # keys of `SCORES` -> R-value, low, high
    valid_loss: float
    interpolation: float  # the same loss of linear interpolation across the masked span


class LearningCurve(NamedTuple):
    """How a run's loss fell, beside what it has to beat."""

    run: str
    baseline: str
    """In words."""
    step: np.ndarray
    """(n,)"""
    share: np.ndarray
    """(n,) running means of the loss as a share of its baseline's."""


def check_run(row: RunRow) -> None:
    """Raise InputError where a category or a score is missing, or a value is not finite."""
    where = f"run {row.name!r}"
    for field, wanted in (("shares", CATEGORIES), ("scores", SCORES)):
        missing = [name for name in wanted if name not in getattr(row, field)]
        if missing:
            raise InputError(f"{where}: {field} has no {missing[0]!r}; expected {wanted}")
    fields = {f"shares[{name}]": (row.shares[name], (3,)) for name in CATEGORIES}
    fields |= {f"scores[{name}]": (row.scores[name], (3,)) for name in SCORES}
    fields |= {"offset": (row.offset, (None,)), "globalness": (row.globalness, (None,))}
    means = ("offset_mean", "offset_low", "offset_high") if np.size(row.offset) else ()
    for name in (*means, "valid_loss", "interpolation"):
        fields[name] = (getattr(row, name), ())
    check_numbers(where, fields)
    if not np.size(row.globalness):
        raise InputError(f"{where}: globalness is empty; expected one value per head")
