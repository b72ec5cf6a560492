"""Phone statistics of heads in, what each head does out: named operations with effect sizes.

An operation is named where attention differs from uniform attention by at least `EFFECT` times, in
one direction for the whole bootstrap interval. The effect is that ratio: 2 is twice as much
attention as an indifferent head gives, 0.5 half as much. The operations are those that section 5 of
arXiv:2006.03265 reads off its figures.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sat_jax.records.phones import PhoneSummary

EFFECT = 1.5
LEAST = 5
"""Utterances (or groups of them) in which a phone has to occur: fewer have no honest interval."""

SINGLE = {
    "towards_silence": ("attends to silence", "not to silence"),
    "same": ("same phone elsewhere", "not the same phone elsewhere"),
}


class Operation(NamedTuple):
    """One thing that one head does."""

    layer: int
    """From 0."""
    head: int
    name: str
    """A value of `SINGLE`, "focus" or "neglect"."""
    phone: str
    """The phone of a focus or a neglect, else empty."""
    effect: float
    """Attention as a ratio to uniform attention."""
    low: float
    high: float


def named_operations(summary: PhoneSummary, phones: Sequence[str]) -> list[Operation]:
    """Every operation of every head, the strongest of a head first."""
    found = []
    shape = summary.own.value.shape
    for at in np.ndindex(shape):
        mine = []
        for field, names in SINGLE.items():
            value, low, high = (float(part[at]) for part in getattr(summary, field))
            if summary.seen.max() >= LEAST and is_strong(value, low, high):
                mine.append(Operation(*at, names[value < 1], "", value, low, high))
        for p, phone in enumerate(phones):
            if summary.seen[p] < LEAST:
                continue
            value, low, high = (1.0 + float(part[at][p]) for part in summary.concentration)
            if is_strong(value, low, high):
                name = "focus" if value > 1 else "neglect"
                mine.append(Operation(*at, name, phone, value, low, high))
        found += sorted(mine, key=lambda op: -strength(op.effect))
    return found


def is_strong(value: float, low: float, high: float) -> bool:
    """Whether a ratio is `EFFECT` times away from 1, its interval on one side; False for NaN."""
    away = value >= EFFECT or value <= 1 / EFFECT
    return bool(away and (low > 1 or high < 1))


def strength(effect: float) -> float:
    """How far a ratio is from 1, in either direction alike."""
    return abs(np.log(max(effect, 1e-6)))


def short_text(operations: Sequence[Operation], most: int = 3) -> str:
    """What one head does, in a few words: its strongest phones, then its other operations."""
    parts = []
    for name in ("focus", "neglect"):
        chosen = [op.phone for op in operations if op.name == name]
        if chosen:
            more = f" +{len(chosen) - most}" if len(chosen) > most else ""
            parts.append(f"{name}: {', '.join(chosen[:most])}{more}")
    return "; ".join(parts + [op.name for op in operations if not op.phone])
