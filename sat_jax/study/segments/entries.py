"""Tuned candidates in, those that stand for their kind out: the best on the tuning utterances."""

from typing import NamedTuple

import numpy as np

from sat_jax.study.segments.search import SPECTRAL, Chosen, Tuned


class Entry(NamedTuple):
    """A candidate that stands for its kind."""

    name: str
    index: int
    """Among all candidates of its source."""
    place: Chosen
    tried: int
    attention: bool = False
    """Whether its rows are attention."""


def spectral_entries(tuned: Tuned) -> list[Entry]:
    """The better normalisation of MFCC and of log-mel."""
    kinds = list(SPECTRAL)
    entries = []
    for kind in ("MFCC", "log-mel"):
        members = [i for i, name in enumerate(kinds) if name.split(",")[0] == kind]
        best = max(members, key=lambda i: tuned.r[i])
        entries.append(Entry(kind, best, Chosen(best, 0), len(members)))
    return entries


def model_entries(tuned: Tuned, head_mask: np.ndarray) -> list[Entry]:
    """The best hidden state and the best head.

    Candidates are the heads that are not pruned, True in `head_mask` (L, H), then the states.
    """
    n, layers = int(head_mask.sum()), len(head_mask)
    state, head = int(tuned.r[n:].argmax()), int(tuned.r[:n].argmax())
    layer, number = np.argwhere(head_mask)[head].tolist()
    # Among the rows of its layer, which pruned heads have none of.
    member = int(head_mask[layer, :number].sum())
    return [
        Entry(f"hidden layer {state}", n + state, Chosen(layers + state, 0), layers + 1),
        Entry(f"head L{layer + 1} H{number + 1}", head, Chosen(layer, member), n, attention=True),
    ]
