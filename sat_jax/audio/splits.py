"""Ids, speakers and a seed in, one of train, valid and test per utterance out."""

import hashlib

import numpy as np

from sat_jax.config import Corpus
from sat_jax.errors import InputError

SPLITS = ("train", "valid", "test")


def assign(ids: list[str], speakers: list[str], subsets: list[str], corpus: Corpus) -> np.ndarray:
    """Split of each utterance, int8 `(B,)` index into `SPLITS`; the order of the input is nothing.

    utterance: every speaker with three utterances or more is in all splits, others are in train.
    speaker: no speaker is in two. official: the tree's own subsets; where they name no valid, some
    of train's speakers are held out for it. Raises `InputError` where that cannot be.
    """
    check_possible(speakers, subsets, corpus)
    if corpus.split == "speaker":
        by_speaker = _hold_out(sorted(set(speakers)), corpus)
        return np.array([by_speaker[speaker] for speaker in speakers], np.int8)
    if corpus.split == "official":
        return _official(speakers, subsets, corpus)
    return _within_speakers(ids, speakers, corpus)


def check_possible(speakers: list[str], subsets: list[str], corpus: Corpus) -> None:
    """Raise `InputError` if the split that was asked for cannot be made of these speakers."""
    voices = len(set(speakers))
    if corpus.split == "speaker" and voices < 3:
        raise InputError(
            f"corpus.split speaker needs at least 3 speakers and this corpus has {voices}: "
            "--corpus.split utterance"
        )
    if corpus.split == "official" and not any(subsets):
        raise InputError(
            f"corpus.split official: this {corpus.kind} corpus has no subsets of its own: "
            "--corpus.split utterance or speaker"
        )


def _within_speakers(ids: list[str], speakers: list[str], corpus: Corpus) -> np.ndarray:
    groups: dict[str, list[str]] = {}
    for name, speaker in zip(ids, speakers, strict=True):
        groups.setdefault(speaker, []).append(name)
    chosen: dict[str, int] = {}
    for members in groups.values():
        chosen |= _hold_out(members, corpus) if len(members) >= 3 else dict.fromkeys(members, 0)
    if len(ids) >= 3 and set(chosen.values()) == {0}:
        # Nobody has three utterances: better a split that speakers are not all in than none.
        chosen = _hold_out(ids, corpus)
    return np.array([chosen[name] for name in ids], np.int8)


def _official(speakers: list[str], subsets: list[str], corpus: Corpus) -> np.ndarray:
    chosen = np.array([SPLITS.index(subset) if subset else 0 for subset in subsets], np.int8)
    train = sorted({s for s, split in zip(speakers, chosen, strict=True) if split == 0})
    if "valid" not in subsets and len(train) >= 2:
        held = set(
            _ordered(train, corpus.seed)[: _held(len(train) * corpus.valid_share, len(train) - 1)]
        )
        for i, speaker in enumerate(speakers):
            if chosen[i] == 0 and speaker in held:
                chosen[i] = 1
    return chosen


def _hold_out(names: list[str], corpus: Corpus) -> dict[str, int]:
    """Share three or more names out: at least one each for test, valid and train, in this order."""
    order = _ordered(names, corpus.seed)
    test = _held(len(order) * corpus.test_share, len(order) - 2)
    valid = _held(len(order) * corpus.valid_share, len(order) - test - 1)
    return {name: 2 if i < test else 1 if i < test + valid else 0 for i, name in enumerate(order)}


def _held(wanted: float, most: int) -> int:
    return max(1, min(round(wanted), most))


def _ordered(names: list[str], seed: int) -> list[str]:
    """Names in an order that depends on each name and the seed alone."""
    return sorted(
        names, key=lambda name: (hashlib.sha256(f"{seed}\0{name}".encode()).digest(), name)
    )
