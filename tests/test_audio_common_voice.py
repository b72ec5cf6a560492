"""Common Voice: which clips its tables name, of whom, in which subset; and faults by line."""

from collections import Counter

import numpy as np
import pytest
from trees import ctm, decode, noise, quiet, speak, textgrid, write_common_voice

from sat_jax.audio.corpora import list_items
from sat_jax.audio.dataset import prepare
from sat_jax.audio.faults import BadItem
from sat_jax.audio.phones import PHONES
from sat_jax.audio.prepared import open_split
from sat_jax.audio.utterance import phone_rows
from sat_jax.config import Corpus
from sat_jax.errors import InputError

TABLES = {
    "train": [noise("a1", speaker="a"), noise("a2", speaker="a")],
    "dev": [noise("b1", speaker="b")],
    "test": [noise("c1", speaker="c")],
    "other": [noise("d1", speaker="d")],
}
TABLES["validated"] = [*TABLES["train"], *TABLES["dev"], *TABLES["test"], noise("c2", speaker="c")]


def common_voice(root, tables=None, suffix=".wav", **settings):
    write_common_voice(root, TABLES if tables is None else tables, suffix)
    return Corpus(kind="common_voice", path=root, **settings)


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def listed(corpus):
    return [(item.id, item.speaker, item.subset) for item in list_items(corpus)]


def test_tables_name_clips_speakers_and_subsets(tmp_path):
    assert listed(common_voice(tmp_path)) == [
        ("a1", "a", "train"),
        ("a2", "a", "train"),
        ("b1", "b", "valid"),
        ("c1", "c", "test"),
        ("c2", "c", ""),
    ]


def test_official_splits_leave_out_what_is_in_none_of_them(tmp_path):
    """c2 is validated but in no subset; its speaker is one of the test."""
    corpus = common_voice(tmp_path, split="official", data_dir=tmp_path / "d", workers=1)
    directory = prepare(corpus, quiet)
    ids = {name: open_split(directory, name).ids for name in ("train", "valid", "test")}
    assert ids == {"train": ["a1", "a2"], "valid": ["b1"], "test": ["c1"]}


def test_a_clip_that_no_table_names_is_not_read(tmp_path):
    corpus = common_voice(tmp_path)
    write_common_voice(tmp_path, {"invalidated": [noise("x")]}, ".wav")
    assert "x" not in [name for name, *_ in listed(corpus)]


def test_sentences_are_taken_as_they_are(tmp_path):
    corpus = common_voice(tmp_path, {"train": [noise("a"), noise("b")]})
    edit(tmp_path / "train.tsv", "text of a", '"Ja," sagte er; "nein" né"')
    texts = [item.text for item in decode(corpus)]
    assert texts == ['"Ja," sagte er; "nein" né"', "text of b"]


def test_an_empty_sentence_is_told(tmp_path):
    corpus = common_voice(tmp_path, {"train": [noise("a")]})
    edit(tmp_path / "train.tsv", "text of a", "")
    assert [item.notes for item in decode(corpus)] == [("without a transcript",)]


def test_clips_are_mp3_and_the_first_tables_had_names_without_suffix(tmp_path):
    corpus = common_voice(tmp_path, suffix=".mp3")
    edit(tmp_path / "train.tsv", "a1.mp3", "a1")
    assert listed(corpus)[0] == ("a1", "a", "train")
    assert {len(item.audio) for item in decode(corpus)} == {len(noise("a1").audio)}


def test_a_clip_that_is_missing_is_a_bad_item(tmp_path):
    corpus = common_voice(tmp_path, data_dir=tmp_path / "d", workers=1, skip_bad=True)
    (tmp_path / "clips" / "b1.wav").unlink()
    told = []
    assert "b1" not in open_split(prepare(corpus, told.append), "all").ids
    assert any(f"{tmp_path}/clips/b1.mp3: cannot be opened (No such" in line for line in told)


def test_a_name_is_never_a_path_out_of_the_tree(tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"")
    corpus = common_voice(tmp_path / "cv")
    edit(tmp_path / "cv" / "train.tsv", "a1.mp3", "../../secret.wav")
    paths = {item.id: item.audio for item in list_items(corpus)}
    assert paths["secret"] == tmp_path / "cv" / "clips" / "secret.wav"


@pytest.mark.parametrize("place", ["clips", "", "grids/clips", "grids", "ctm"])
def test_alignments(tmp_path, place):
    spoken = speak(2, 2)
    corpus = common_voice(tmp_path / "en", {"train": spoken})
    given = None
    if place == "ctm":
        given = tmp_path / "en.ctm"
        given.write_text(ctm({u.id: u for u in spoken}))
    else:
        folder = tmp_path / place if place.startswith("grids") else tmp_path / "en" / place
        folder.mkdir(parents=True, exist_ok=True)
        given = tmp_path / "grids" if place.startswith("grids") else None
        for utterance in spoken:
            (folder / f"{utterance.id}.TextGrid").write_text(textgrid(utterance))
    corpus = Corpus(kind="common_voice", path=tmp_path / "en", alignments=given)
    for item, original in zip(decode(corpus), spoken, strict=True):
        np.testing.assert_array_equal(phone_rows(item.segments, PHONES), original.phones)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("client_id", "speaker", r"train\.tsv: its first line names the columns speaker, path"),
        ("a1.mp3", "", r"train\.tsv, line 2: expected 6 columns with a client_id and a path"),
        ("a\ta2.mp3", "\ta2.mp3", r"train\.tsv, line 3: expected 6 columns"),
        ("\ta2.mp3\tf00\ttext of a2\t2\ten", "", r"train\.tsv, line 3: expected 6 columns"),
        ("a2.mp3", "c1.mp3", r"test\.tsv, line 2: 'c1\.mp3' is in the train subset too"),
    ],
)
def test_a_bad_table_is_named(tmp_path, old, new, told):
    corpus = common_voice(tmp_path)
    edit(tmp_path / "train.tsv", old, new)
    with pytest.raises(InputError, match=told) as caught:
        list_items(corpus)
    assert not isinstance(caught.value, BadItem)


def test_a_table_that_is_not_utf8_is_named(tmp_path):
    corpus = common_voice(tmp_path)
    (tmp_path / "dev.tsv").write_bytes((tmp_path / "dev.tsv").read_bytes() + b"\xff\n")
    with pytest.raises(InputError, match=r"dev\.tsv, after line \d: cannot be read"):
        list_items(corpus)


def test_what_a_folder_of_a_language_needs_is_said(tmp_path):
    corpus = common_voice(tmp_path, {"validated": TABLES["validated"]}, split="official")
    with pytest.raises(InputError, match=r"holds no train\.tsv or dev\.tsv or test\.tsv: check"):
        list_items(corpus)
    (tmp_path / "clips").rename(tmp_path / "mp3")
    with pytest.raises(InputError, match=r"holds no clips/\*\.mp3"):
        list_items(Corpus(kind="common_voice", path=tmp_path))


def test_speakers_are_those_of_the_clients(tmp_path):
    corpus = common_voice(tmp_path, split="speaker", data_dir=tmp_path / "d", workers=1)
    split = open_split(prepare(corpus, quiet), "all")
    assert Counter(split.speaker_names[s] for s in split.speakers) == {"a": 2, "b": 1, "c": 2}
