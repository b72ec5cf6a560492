"""The record that every reader makes: what it holds, and how segments become label indices."""

from typing import NamedTuple

import numpy as np

from sat_jax.audio.phones import Segment


class Utterance(NamedTuple):
    """One utterance: int16 audio `(N,)` of 16 kHz, and int32 phones `(n, 3)`.

    A row of `phones` is start, end (samples) and label (an index into the corpus's phone names);
    rows tile `[0, N)`. A corpus without alignments has `n = 0`.
    """

    id: str
    speaker: str
    text: str
    audio: np.ndarray
    phones: np.ndarray


class Decoded(NamedTuple):
    """An utterance fresh from its reader, before the corpus's phone names are known.

    `segments` is None where the corpus has no alignments. `notes` are things done to the recording
    that are told once per corpus, as what follows "recordings were".
    """

    id: str
    speaker: str
    text: str
    subset: str
    audio: np.ndarray
    segments: list[Segment] | None
    notes: tuple[str, ...]


def phone_rows(segments: list[Segment], names: tuple[str, ...] | list[str]) -> np.ndarray:
    """int32 `(n, 3)` rows start, end, index into `names`. Raises `KeyError` for another label."""
    index = {name: i for i, name in enumerate(names)}
    rows = [(start, end, index[label]) for start, end, label in segments]
    return np.array(rows, np.int32).reshape(-1, 3)
