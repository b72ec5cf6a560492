"""Splits: a function of ids and seed alone, never empty where they need not be."""

import itertools

import numpy as np
import pytest

from sat_jax.audio.splits import SPLITS, assign
from sat_jax.config import Corpus
from sat_jax.errors import InputError


def corpus_of(**counts):
    """Ids and speakers with so many utterances each."""
    pairs = [(f"{s}/{i}", s) for s, count in counts.items() for i in range(count)]
    return [p[0] for p in pairs], [p[1] for p in pairs]


def splits_of(ids, speakers, subsets=None, **settings):
    found = assign(ids, speakers, subsets or [""] * len(ids), Corpus(**settings))
    return dict(zip(ids, found.tolist(), strict=True))


def test_every_speaker_with_three_utterances_is_in_every_split():
    ids, speakers = corpus_of(a=3, b=4, c=40, d=100)
    found = splits_of(ids, speakers)
    for speaker in "abcd":
        assert {found[i] for i in ids if i[0] == speaker} == {0, 1, 2}
    large = [found[i] for i in ids if i[0] == "d"]
    assert [large.count(split) for split in range(3)] == [85, 5, 10]


def test_speakers_with_fewer_are_in_train():
    ids, speakers = corpus_of(a=2, b=1, c=20)
    found = splits_of(ids, speakers)
    assert [found[i] for i in ("a/0", "a/1", "b/0")] == [0, 0, 0]


def test_the_order_of_files_and_other_speakers_change_nothing():
    ids, speakers = corpus_of(a=20, b=20)
    found = splits_of(ids, speakers)
    order = np.random.default_rng(0).permutation(len(ids))
    assert splits_of([ids[i] for i in order], [speakers[i] for i in order]) == found
    more = splits_of(*corpus_of(a=20, b=20, c=20))
    assert all(more[i] == found[i] for i in ids)


def test_the_seed_changes_who_is_held_out():
    ids, speakers = corpus_of(a=40)
    found = [splits_of(ids, speakers, seed=seed) for seed in range(8)]
    held = {tuple(i for i in ids if split[i] == 2) for split in found}
    assert len(held) > 4


def test_three_utterances_fill_three_splits_whoever_speaks_them():
    for counts in ({"a": 3}, {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2}):
        assert set(splits_of(*corpus_of(**counts)).values()) == {0, 1, 2}
    assert set(splits_of(*corpus_of(a=2)).values()) == {0}


def test_large_shares_leave_something_to_train_on():
    for count in range(3, 12):
        found = splits_of(*corpus_of(a=count), valid_share=0.49, test_share=0.5)
        assert set(found.values()) == {0, 1, 2}


def test_by_speaker_no_speaker_is_in_two_splits():
    ids, speakers = corpus_of(**{f"s{i}": 5 for i in range(20)})
    found = splits_of(ids, speakers, split="speaker")
    per_speaker = {s: {found[i] for i in ids if i.split("/")[0] == s} for s in speakers}
    assert all(len(splits) == 1 for splits in per_speaker.values())
    counts = [sum(splits == {k} for splits in per_speaker.values()) for k in range(3)]
    assert counts == [17, 1, 2]


def test_by_speaker_needs_three():
    assert set(splits_of(*corpus_of(a=1, b=1, c=1), split="speaker").values()) == {0, 1, 2}
    with pytest.raises(InputError, match=r"has 2: --corpus\.split utterance"):
        splits_of(*corpus_of(a=9, b=9), split="speaker")


def test_official_is_what_the_tree_says():
    ids, speakers = corpus_of(a=2, b=2, c=2)
    subsets = ["train", "train", "valid", "valid", "test", "test"]
    found = splits_of(ids, speakers, subsets, split="official")
    assert [SPLITS[found[i]] for i in ids] == subsets


def test_official_without_valid_holds_out_whole_speakers_of_train():
    ids, speakers = corpus_of(**{f"s{i}": 3 for i in range(10)})
    subsets = ["test" if s in ("s8", "s9") else "train" for s in speakers]
    found = splits_of(ids, speakers, subsets, split="official")
    per_speaker = [{found[f"s{i}/{k}"] for k in range(3)} for i in range(10)]
    assert per_speaker[8:] == [{2}, {2}]
    assert sorted(itertools.chain(*per_speaker[:8])) == [0] * 7 + [1]


def test_official_where_the_tree_has_none_is_refused():
    with pytest.raises(InputError, match="no subsets of its own"):
        splits_of(*corpus_of(a=9), split="official")
