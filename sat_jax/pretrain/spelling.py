"""Transcripts in, numbers of letters out: what CTC learns to name where its letters spell words."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sat_jax.audio.prepared import spread, take
from sat_jax.errors import InputError
from sat_jax.features.batches import frames_of_split
from sat_jax.grid import Grid

BREAK = "|"
"""The letter between two words, in published vocabularies and here."""
SAMPLED = 64
"""Transcripts that are read before training, to see whether their characters are known."""


def spells_words(letters: Sequence[str]) -> bool:
    """Whether a model's letters spell transcripts: whether one of them stands between words."""
    return BREAK in letters


def spell(text: str, letters: Mapping[str, int]) -> tuple[list[int], list[str]]:
    """Numbers of a transcript's letters, a break between words, and characters that have none.

    A character that is no letter is looked for in upper, then in lower case, a typographic
    apostrophe as a plain one. Whatever else is left out, and a word of which nothing stays too.
    """
    words, unknown = [], []
    for word in text.replace("\u2019", "'").split():
        forms = [(c, [f for f in (c, c.upper(), c.lower()) if f in letters]) for c in word]
        # A break that a transcript writes itself is no letter of a word.
        found = [letters[known[0]] for c, known in forms if known and c != BREAK]
        unknown += [c for c, known in forms if not known]
        words += [found] if found else []
    spelled = [number for word in words for number in (letters[BREAK], *word)]
    return spelled[1:], unknown


def spelled_rows(texts: Sequence[str], letters: Mapping[str, int], most: int) -> np.ndarray:
    """Letters `(B, most)` int32 of transcripts, -1 behind the last.

    A transcript of more than `most` letters has -1 only: no alignment of so many would fit.
    """
    found = np.full((len(texts), most), -1, np.int32)
    for row, text in zip(found, texts, strict=True):
        numbers, _ = spell(text, letters)
        if len(numbers) <= most:
            row[: len(numbers)] = numbers
    return found


def require_transcripts(
    split: Any, letters: Mapping[str, int], where: str, say: Callable[[str], None]
) -> None:
    """Read some transcripts of a split, and say which of their characters are left out.

    Raises `InputError` where none of them has a letter; `where` names the corpus.
    """
    some = spread(split, SAMPLED)
    spelled = [spell(some[i].text, letters) for i in range(len(some))]
    if not any(numbers for numbers, _ in spelled):
        raise InputError(
            f"objective ctc: {where} has no transcripts (looked at {len(some)} utterances), and "
            "this model's letters spell words: give a corpus with transcripts, or convert the "
            "model with --letters phones"
        )
    unknown = Counter(character for _, left in spelled for character in left)
    if unknown:
        named = ", ".join(f"{c!r} ({count})" for c, count in unknown.most_common(12))
        say(
            f"characters that are none of the model's letters are left out; in {len(some)} "
            f"transcripts: {named}{', ...' if len(unknown) > 12 else ''}"
        )


def uncropped(
    splits: Mapping[str, Any], grid: Grid, max_frames: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train and valid splits without utterances that a batch would crop: a transcript is whole.

    How many are left out is told to `say`. Raises `InputError` where none stays.
    """
    most = max_frames // grid.frames * grid.frames
    found = {}
    for name in ("train", "valid"):
        split = splits[name]
        frames = frames_of_split(split, grid)
        kept = np.flatnonzero(frames <= most)
        if not len(kept):
            raise InputError(
                f"batches.max-frames is {max_frames}, and every utterance of the {name} split is "
                f"longer (the shortest has {frames.min()} frames); a transcript belongs to a whole "
                "utterance: give more"
            )
        if len(kept) < len(split):
            say(
                f"{len(split) - len(kept)} of {len(split)} utterances of the {name} split are left "
                f"out: longer than batches.max-frames {max_frames}, and a transcript belongs to a "
                "whole utterance"
            )
            split = take(split, kept)
        found[name] = split
        # Batches are no longer than the training utterances need.
        most = min(most, -(-int(frames[kept].max()) // grid.frames) * grid.frames)
    return found
