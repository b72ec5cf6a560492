"""Prepared datasets: whole or absent, resumed after a hard kill, read back as they were spoken."""

import dataclasses
import json
import pickle
import shutil

import numpy as np
import pytest
import soundfile
from trees import FILES, RATE, count_reads, folder, noise, quiet, run_child, speak, write_timit

from sat_jax.audio import container, corpora, dataset
from sat_jax.audio.container import block_sizes
from sat_jax.audio.dataset import directory_of, prepare
from sat_jax.audio.phones import PHONES
from sat_jax.audio.prepared import open_split
from sat_jax.config import Corpus, Talker
from sat_jax.errors import InputError


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    corpus = Corpus(
        talker=Talker(speakers=3, utterances=4), data_dir=tmp_path_factory.mktemp("d"), workers=1
    )
    return corpus, prepare(corpus, quiet)


def test_what_was_spoken_is_read_back(talker):
    _, directory = talker
    split = open_split(directory, "all")
    spoken = speak(3, 4)
    assert len(split) == len(spoken) == 12
    for i, original in enumerate(spoken):
        got = split[i]
        assert got[:3] == original[:3]
        assert split.ids[i] == original.id
        assert split.speaker_names[split.speakers[i]] == original.speaker
        assert split.lengths[i] == len(original.audio)
        assert got.audio.dtype == np.int16
        assert got.phones.dtype == np.int32
        np.testing.assert_array_equal(got.audio, original.audio)
        np.testing.assert_array_equal(got.phones, original.phones)
    assert split.phone_names == list(PHONES)
    assert split.phone_source == "eSpeak NG phoneme events"
    assert split.lengths.dtype == split.speakers.dtype == np.int32
    assert [u.id for u in split.__getitems__([3, 0])] == [split.ids[3], split.ids[0]]


def test_splits_share_the_corpus_out(talker):
    _, directory = talker
    parts = [open_split(directory, name) for name in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [6, 3, 3]
    ids = [i for part in parts for i in part.ids]
    assert sorted(ids) == open_split(directory, "all").ids
    for part in parts:
        assert [part[i].id for i in range(len(part))] == part.ids
        assert {part.speaker_names[s] for s in part.speakers} == set(part.speaker_names)
        assert part.fingerprint == parts[0].fingerprint


def test_a_split_can_be_sent_to_another_process(talker):
    _, directory = talker
    split = open_split(directory, "test")
    first = split[0]
    again = pickle.loads(pickle.dumps(split))
    assert again[0].audio.tobytes() == first.audio.tobytes()
    assert again.ids == split.ids


def test_the_second_call_reads_nothing(talker, monkeypatch):
    corpus, directory = talker
    seen = count_reads(monkeypatch, "talker")
    monkeypatch.setattr(dataset, "list_items", None)
    told = []
    assert prepare(corpus, told.append) == directory
    assert seen == []
    assert "12 utterances" in told[0]


def test_a_pool_makes_the_same_corpus(tmp_path):
    corpora = [folder(tmp_path, workers=n, data_dir=tmp_path / str(n)) for n in (1, 2)]
    first, second = (open_split(prepare(corpus, quiet), "all") for corpus in corpora)
    assert first.fingerprint == second.fingerprint
    assert first.ids == second.ids
    assert [first[i].audio.tobytes() for i in range(FILES)] == [
        second[i].audio.tobytes() for i in range(FILES)
    ]


def test_neither_tensorflow_nor_jax_is_imported(talker):
    _, directory = talker
    child = run_child(
        """
        import sys
        from sat_jax.audio.prepared import open_split
        assert "tensorflow_datasets" not in sys.modules
        split = open_split(sys.argv[1], "all")
        assert len(split[0].audio) == split.lengths[0]
        print([name for name in ("tensorflow", "jax", "flax", "torch") if name in sys.modules])
        """,
        directory,
    )
    out, error = child.communicate()
    assert out == "[]\n", error


def test_metadata_travels_with_the_dataset(talker):
    _, directory = talker
    [path] = directory.glob("sat_speech/*/metadata.json")
    metadata = json.loads(path.read_text())
    assert metadata["sample_rate"] == RATE
    assert metadata["phone_names"] == list(PHONES)
    assert metadata["speakers"] == ["talker000", "talker001", "talker002"]
    assert metadata["fingerprint"] == open_split(directory, "all").fingerprint


def test_no_phones_are_no_rows_and_no_names(tmp_path):
    split = open_split(prepare(folder(tmp_path, 3), quiet), "all")
    assert split.phone_names == []
    assert split.phone_source == ""
    assert split[0].phones.shape == (0, 3)
    assert split[0].phones.dtype == np.int32


def test_labels_as_they_are_are_the_corpus_s_own_names(tmp_path):
    spoken, said = [noise(str(i)) for i in range(12)], []
    write_timit(tmp_path / "t", spoken)
    phn = next((tmp_path / "t").rglob("SA2.PHN"))
    phn.write_text(phn.read_text().replace("aa", "zz"))
    corpus = Corpus(
        kind="timit", path=tmp_path / "t", phone_set="as-is", data_dir=tmp_path, workers=1
    )
    split = open_split(prepare(corpus, said.append), "all")
    assert split.phone_names == ["sil", "aa", "zz"]
    assert split.phone_manners == ["silence", "vowel", ""]
    assert split.phone_source == "TIMIT .PHN, labels by the map timit"
    assert any("'zz' (1)" in line and "--corpus.phone-map" in line for line in said)
    labels = {u.id: u.phones[:, 2].tolist() for u in (split[0], split[split.ids.index("ANN_SA2")])}
    assert labels == {"ANN_SA1": [0, 1, 0], "ANN_SA2": [0, 2, 0]}


def test_blocks_keep_the_order(tmp_path, monkeypatch):
    assert block_sizes([5, 5, 5, 20, 1, 1], most=10) == [2, 1, 1, 2]
    monkeypatch.setattr(container, "BLOCK_BYTES", 2 * 480 * 2)  # two recordings each
    directory = prepare(folder(tmp_path), quiet)
    assert len(list(directory.glob("sat_speech/*/*.array_record*"))) == FILES // 2
    split = open_split(directory, "all")
    assert [split[i].id for i in range(FILES)] == split.ids == sorted(split.ids)


def test_the_directory_depends_on_every_field_that_changes_the_content(tmp_path):
    base = folder(tmp_path, 1, alignments=tmp_path / "a", speakers=tmp_path / "s.csv")
    other = {
        "kind": "timit",
        "path": tmp_path / "b",
        "alignments": tmp_path / "c",
        "speakers": tmp_path / "d.csv",
        "phone_set": "as-is",
        "phone_map": "sampa",
        "silence": ("x",),
        "tier": "MAU",
        "split": "speaker",
        "valid_share": 0.2,
        "test_share": 0.2,
        "skip_bad": True,
        "seed": 1,
    }
    same = {"data_dir": tmp_path / "e", "workers": 7, "talker": Talker(1, 1)}
    assert set(other) | set(same) == {f.name for f in dataclasses.fields(Corpus)}
    names = {directory_of(dataclasses.replace(base, **{k: v})).name for k, v in other.items()}
    assert len(names | {directory_of(base).name}) == len(other) + 1
    for name, value in same.items():
        assert directory_of(dataclasses.replace(base, **{name: value})).name == (
            directory_of(base).name
        )
    spoken = {directory_of(Corpus(talker=Talker(n, 1))).name for n in (1, 2)}
    assert len(spoken) == 2


def test_conversions_are_told_once_per_corpus(tmp_path):
    for i in range(5):
        stereo = np.stack([noise(str(i)).audio] * 2, axis=1)
        (tmp_path / "wav").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "wav" / f"{i}.wav", stereo, 8000)
    told = []
    directory = prepare(folder(tmp_path), told.append)
    assert told[:2] == [
        "5 recordings were 8000 Hz and were resampled to 16000 Hz (first: 0)",
        "5 recordings were of 2 channels and were mixed down to one (first: 0)",
    ]
    notes = json.loads((directory / "corpus.json").read_text())["notes"]
    assert list(notes.values()) == [{"count": 5, "first": "0"}] * 2
    assert len(told) == 3
    shutil.rmtree(tmp_path / "data")
    for i in range(4):
        (tmp_path / "wav" / f"{i}.wav").unlink()
    prepare(folder(tmp_path), told.append)
    assert told[3] == "1 recording was 8000 Hz and was resampled to 16000 Hz (first: 4)"


def test_the_first_of_a_note_is_the_first_of_the_corpus(tmp_path):
    """Two silent recordings in different parts, the first of which is not its part's first."""
    corpus = folder(tmp_path)
    recordings = sorted((tmp_path / "wav").rglob("*.wav"))
    for path in (recordings[2], recordings[-1]):
        soundfile.write(path, np.zeros(480, np.int16), RATE)
    told = []
    prepare(corpus, told.append)
    first = recordings[2].relative_to(tmp_path / "wav").with_suffix("").as_posix()
    assert told[0] == f"2 recordings were digital silence from end to end (first: {first})"


def test_a_corpus_of_two_can_be_analysed_but_not_split(tmp_path):
    directory = prepare(folder(tmp_path, 2), quiet)
    assert len(open_split(directory, "all")) == 2
    with pytest.raises(InputError, match=r"the valid split is empty \(2 utterances"):
        open_split(directory, "valid")


def test_wrong_names_of_splits_and_directories_are_named(talker, tmp_path):
    with pytest.raises(InputError, match="give one of train, valid, test, all"):
        open_split(talker[1], "dev")
    with pytest.raises(InputError, match="is not a prepared corpus"):
        open_split(tmp_path, "all")


def test_every_kind_has_a_reader_of_its_fields():
    fields = {field.name for field in dataclasses.fields(Corpus)}
    for reader in corpora.CORPORA.values():
        assert set(reader.fields) <= fields
