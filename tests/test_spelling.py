"""Transcripts as letters for CTC: how they are spelled, and which utterances can be taken."""

import dataclasses
from contextlib import closing
from typing import NamedTuple

import numpy as np
import pytest

from sat_jax.config import Batches, Config, Ctc, MaskedReconstruction
from sat_jax.errors import InputError
from sat_jax.features.batches import train_batches
from sat_jax.grid import stacked_grid
from sat_jax.pretrain.labels import labelled_whole, open_labels
from sat_jax.pretrain.spelling import spell, spelled_rows

LETTERS = ("_", "|", "A", "B", "C", "'")
NUMBERS = {letter: number for number, letter in enumerate(LETTERS) if number}
GRID = stacked_grid(400, 160, 2)


@pytest.mark.parametrize(
    ("text", "letters", "unknown"),
    [
        ("ab ca", "AB|CA", ""),
        ("  A\tb\n", "A|B", ""),
        ("a\u2019b c'", "A'B|C'", ""),
        ("a, b?", "A|B", ",?"),
        ("a 12 b", "A|B", "12"),
        ("a|b", "AB", ""),
        ("_a", "A", "_"),
        ("", "", ""),
        ("xyz", "", "xyz"),
    ],
)
def test_words_are_spelled_and_parted(text, letters, unknown):
    found, left = spell(text, NUMBERS)
    assert "".join(LETTERS[number] for number in found) == letters
    assert "".join(left) == unknown


def test_a_letter_is_taken_as_it_is_before_another_case():
    assert spell("aA", {"|": 1, "a": 2, "A": 3})[0] == [2, 3]
    assert spell("A", {"|": 1, "a": 2})[0] == [2]


def test_what_does_not_fit_a_row_has_no_letters():
    assert spelled_rows(["ab", "abc", "abca", ""], NUMBERS, 3).tolist() == [
        *([2, 3, -1], [2, 3, 4], [-1, -1, -1], [-1, -1, -1])
    ]


class Record(NamedTuple):
    audio: np.ndarray
    phones: np.ndarray
    text: str


@dataclasses.dataclass(frozen=True)
class Spoken:
    """A split whose utterances are named by their transcripts, of so many frames each."""

    ids: list
    lengths: np.ndarray
    rows: np.ndarray
    speakers: np.ndarray
    phone_names: tuple = ()

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return Record(np.ones(self.lengths[i], np.int16), np.zeros((0, 3), np.int32), self.ids[i])


def split_of(**frames):
    count = np.arange(len(frames))
    return Spoken(list(frames), GRID.frame_samples(np.array(list(frames.values()))), count, count)


CONFIG = Config(objective=Ctc(), batches=Batches(size=2, max_frames=20, buckets=2))
CONFIG = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, letters=LETTERS))
SPLITS = {"train": split_of(ab=20, abc=21, ca=9, caa=8), "valid": split_of(b=20, bb=10, c=22)}


def taken(config=CONFIG, splits=SPLITS):
    said = []
    found = labelled_whole(config, GRID, splits, said.append)
    return found, open_labels(config, GRID, found, None, "data", said.append), said


def test_batches_bring_the_letters_of_whole_utterances():
    splits, labels, said = taken()
    assert [splits[name].ids for name in splits] == [["ab", "ca", "caa"], ["b", "bb"]]
    assert said == [
        "1 of 4 utterances of the train split are left out: longer than batches.max-frames 20, and "
        "a transcript belongs to a whole utterance",
        said[1],
    ]
    assert said[1].startswith("1 of 3 utterances of the valid split are left out")
    options = {"with_labels": labels.phones, "with_texts": labels.texts}
    heard = set()
    for process in range(2):
        stream = train_batches(
            *(splits["train"], CONFIG.batches, GRID, 0), process=process, processes=2, **options
        )
        with closing(stream):
            for batch in (next(stream) for _ in range(6)):
                ((row,),) = labels.of(batch)
                assert len(row) == labels.width(GRID.frame_count(batch.audio.shape[1]))
                text = "".join(LETTERS[number] for number in row if number >= 0)
                assert text == splits["train"].ids[batch.index[0]].upper()
                heard.add(text)
    assert heard == {"AB", "CA", "CAA"}


def test_valid_utterances_are_no_longer_than_batches_of_the_train_split_are():
    splits, _, _ = taken(splits={"train": split_of(a=9), "valid": split_of(a=10, b=11)})
    assert splits["valid"].ids == ["a"]


def test_other_objectives_take_everything_and_bring_nothing():
    config = dataclasses.replace(CONFIG, objective=MaskedReconstruction())
    splits, labels, said = taken(config)
    assert splits is SPLITS and not said
    assert labels.width(20) == 0 and labels.of(None) == () and not labels.texts


def test_characters_without_a_letter_are_named():
    _, _, said = taken(splits={"train": split_of(**{"a, b, 1": 9}), "valid": split_of(a=9)})
    assert said[-1].endswith("left out; in 1 transcripts: ',' (2), '1' (1)")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"xyz": 9, "": 9}, "data has no transcripts .looked at 2 utterances.*--letters phones"),
        ({"ab": 30, "ac": 21}, "max-frames is 20, and every .* train .* has 21 frames"),
    ],
)
def test_a_corpus_that_cannot_be_spelled_is_one_line(train, message):
    with pytest.raises(InputError, match=message):
        taken(splits={"train": split_of(**train), "valid": SPLITS["valid"]})
