"""What heads do with phones: statistics with their intervals, and the table that is drawn."""

from typing import NamedTuple

import numpy as np

from sat_jax.errors import InputError
from sat_jax.records.check import check_categories, head_mask_of

ENDS = ("", "_low", "_high")
"""What the names of an interval's value and ends have at their end, in tables and messages."""
PAIRS = ("relation", "elsewhere")


class Interval(NamedTuple):
    """A value with its bootstrap 95 % interval, arrays of one shape."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class PhoneSummary(NamedTuple):
    """What every head of one model does with phones.

    NaN where a phone or a pair never occurs, and for pruned heads.
    """

    relation: np.ndarray
    """(L, H, P, P) P_h of eq. 6: 0 as uniform attention, -1 none."""
    elsewhere: np.ndarray
    """(L, H, P, P) the same for attention that leaves the query's own segment."""
    concentration: Interval
    """(L, H, P) C_h: mean of the relation over query phones."""
    silence: Interval
    """(L, H) share of the attention on silence."""
    silence_uniform: float
    own: Interval
    """(L, H) share of the attention inside the query's own segment."""
    own_uniform: float
    same: Interval
    """(L, H) attention of phones (not silence) that leaves their segment and reaches the same phone
    elsewhere, as a ratio to uniform attention."""
    towards_silence: Interval
    """(L, H) share on silence as a ratio to uniform attention."""
    seen: np.ndarray
    """(P,) groups of utterances in which each phone occurs."""


class PhoneTable(NamedTuple):
    """A summary with the names of its phones and what else is known of the heads."""

    name: str
    """The model, as it stands over its figures."""
    phones: tuple[str, ...]
    """(P,) in the order of axes: silence first, then by manner."""
    manners: tuple[str, ...]
    """(P,) manner of each phone, e.g. "vowel"; empty where unknown."""
    summary: PhoneSummary
    verticality: np.ndarray
    """(L, H)."""
    category: np.ndarray
    """(L, H) "global", "vertical", "diagonal", or "pruned": all else is NaN there."""
    operations: tuple[tuple[str, ...], ...]
    """(L)(H) what the head does in a few words, empty if nothing is known."""
    utterances: int
    """How many are behind every mean."""


def check_phones(table: PhoneTable) -> None:
    """Raise InputError where shapes disagree or a value is missing that has to be there."""
    where, summary = f"phone table {table.name!r}", table.summary
    shape, count = np.shape(table.category), len(table.phones)
    if not count:
        raise InputError(f"{where}: 0 phones; expected at least one")
    check_categories(where, table.category)
    head_mask = head_mask_of(table.category)
    if len(table.manners) != count:
        raise InputError(f"{where}: {len(table.manners)} manners for {count} phones; use '' too")
    if [len(row) for row in table.operations] != [shape[1]] * shape[0]:
        raise InputError(f"{where}: operations are not {shape[0]} x {shape[1]} texts; use '' too")
    # Concentrations are missing together, silence where the corpus has none, and the same phone for
    # a head that never leaves its own segment.
    absent = {
        "concentration": np.isnan(summary.concentration.value),
        "silence": np.isnan(summary.silence_uniform),
        "own": False,
        "same": np.isnan(summary.same.value),
    }
    fields = {name: (getattr(summary, name), (*shape, count, count)) for name in PAIRS}
    fields["verticality"] = (table.verticality, shape)
    for name in absent:
        size = (*shape, count) if name == "concentration" else shape
        for end, values in zip(ENDS, getattr(summary, name), strict=True):
            fields[name + end] = (values, size)
    for field, (values, size) in fields.items():
        values = np.asarray(values)
        if values.shape != size:
            raise InputError(f"{where}: {field} has shape {values.shape}, expected {size}")
        least = -1.0 if field in PAIRS else -np.inf
        missing = absent.get(field.partition("_")[0], field in PAIRS)
        wrong = ~((np.isfinite(values) & (values >= least - 1e-4)) | (np.isnan(values) & missing))
        wrong[~head_mask] = ~np.isnan(values[~head_mask])
        if wrong.any():
            at = np.argwhere(wrong)[0]
            raise InputError(
                f"{where}: {field} is {values[tuple(at)]} at L{at[0] + 1} H{at[1] + 1}; look for "
                "empty utterances or a checkpoint that diverged"
            )
    if np.isnan(summary.concentration.value[head_mask]).all(axis=-1).any():
        raise InputError(f"{where}: a head has no concentration; give utterances with phones")
