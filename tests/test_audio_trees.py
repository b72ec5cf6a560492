"""Readers: the talker's speech comes back the same out of every layout, and bad trees are named."""

import shutil

import numpy as np
import pytest
import soundfile
from trees import RATE, decode, noise, speak, textgrid, write_folder, write_librispeech, write_timit

from sat_jax.audio.corpora import list_items
from sat_jax.audio.faults import BadItem
from sat_jax.audio.phones import PHONES
from sat_jax.audio.tree import unread_audio
from sat_jax.audio.utterance import phone_rows
from sat_jax.config import Corpus
from sat_jax.errors import InputError

SPOKEN = speak(3, 2)


def same_speech(decoded, spoken=SPOKEN):
    """Same audio to the bit and the same phones, whatever the order of ids."""
    by_audio = {u.audio.tobytes(): u for u in spoken}
    assert len(decoded) == len(spoken)
    for item in decoded:
        original = by_audio.pop(item.audio.tobytes())
        np.testing.assert_array_equal(phone_rows(item.segments, PHONES), original.phones)
        assert item.text.upper() == original.text.upper()
        assert item.notes == ()


def test_folder(tmp_path):
    corpus = Corpus(kind="folder", path=write_folder(tmp_path, SPOKEN))
    decoded = decode(corpus)
    same_speech(decoded)
    assert decoded[0].id == "talker000/talker000_000"
    assert decoded[0].speaker == "talker000"


@pytest.mark.parametrize("suffix", [".flac", ".FLAC", ".WAV", ".ogg", ".mp3", ".MP3", ".aiff"])
def test_folder_of_other_formats(tmp_path, suffix):
    corpus = Corpus(kind="folder", path=write_folder(tmp_path, SPOKEN[:1], suffix=suffix))
    [item] = decode(corpus)
    assert len(item.audio) == len(SPOKEN[0].audio)
    assert item.segments


def test_folder_without_alignments_has_no_phones(tmp_path):
    write_folder(tmp_path, SPOKEN[:2], textgrids=False)
    (tmp_path / "._hidden.wav").write_bytes(b"not audio")
    decoded = decode(Corpus(kind="folder", path=tmp_path))
    assert [item.segments for item in decoded] == [None, None]


def test_folder_of_any_depth_and_its_root(tmp_path):
    root = tmp_path / "speech"
    write_folder(root / "a" / "b", [noise("x", speaker="c")], textgrids=False)
    soundfile.write(root / "y.wav", noise("y").audio, RATE)
    found = [(i.id, i.speaker) for i in list_items(Corpus(kind="folder", path=root))]
    assert found == [("a/b/c/x", "c"), ("y", "speech")]


def test_folder_with_a_mirrored_tree_of_textgrids(tmp_path):
    write_folder(tmp_path / "wav", SPOKEN)
    for utterance in SPOKEN:
        (tmp_path / "grids" / utterance.speaker).mkdir(parents=True, exist_ok=True)
        name = f"{utterance.speaker}/{utterance.id}.TextGrid"
        shutil.move(tmp_path / "wav" / name, tmp_path / "grids" / name)
    corpus = Corpus(kind="folder", path=tmp_path / "wav", alignments=tmp_path / "grids")
    same_speech(decode(corpus))
    assert decode(Corpus(kind="folder", path=tmp_path / "wav"))[0].segments is None


def test_folder_never_borrows_an_alignment_from_another_folder(tmp_path):
    for speaker in ("ann", "bob"):
        write_folder(tmp_path / "wav", [noise("1", speaker=speaker)], textgrids=False)
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / "1.TextGrid").write_text(textgrid(noise("1")))
    with pytest.raises(InputError, match="has no TextGrid of this corpus"):
        list_items(Corpus(kind="folder", path=tmp_path / "wav", alignments=tmp_path / "grids"))


def test_folder_with_speakers_from_a_csv(tmp_path):
    write_folder(tmp_path / "wav", [noise("1"), noise("2")], textgrids=False)
    table = tmp_path / "speakers.csv"
    table.write_text("\ufeffid,speaker\nann/1,zoe\nann/2,max\n", encoding="utf-8")
    corpus = Corpus(kind="folder", path=tmp_path / "wav", speakers=table)
    assert [i.speaker for i in list_items(corpus)] == ["zoe", "max"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,speaker\nann/1,zoe\n", "no line for the recording 'ann/2'"),
        ("id,speaker\nann/1,zoe\nann/2,\n", "line 3: expected a value"),
        ("id,speaker\nann/1,zoe\nann/2,max\nann/1,max\n", "'ann/1' has two speakers"),
        ("name,who\nann/1,zoe\n", "line 2: expected a value"),
    ],
)
def test_a_bad_csv_is_named(tmp_path, text, told):
    write_folder(tmp_path / "wav", [noise("1"), noise("2")], textgrids=False)
    table = tmp_path / "speakers.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        list_items(Corpus(kind="folder", path=tmp_path / "wav", speakers=table))
    assert str(table) in str(caught.value)


def test_librispeech(tmp_path):
    write_librispeech(tmp_path / "L", SPOKEN[:2], "train-clean-100", tmp_path / "L")
    write_librispeech(tmp_path / "L", SPOKEN[2:4], "dev-clean", tmp_path / "L")
    write_librispeech(tmp_path / "L", SPOKEN[4:], "test-other", tmp_path / "L")
    decoded = decode(Corpus(kind="librispeech", path=tmp_path / "L"))
    same_speech(decoded)
    assert decoded[0].id == "talker000-7-0000"
    assert [d.subset for d in decoded] == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2


@pytest.mark.parametrize("root", ["L", "L/train-clean-100"])
@pytest.mark.parametrize("grids", ["grids", "grids/train-clean-100"])
def test_librispeech_with_alignments_with_and_without_the_subset(tmp_path, root, grids):
    write_librispeech(tmp_path / "L", SPOKEN, "train-clean-100", tmp_path / "grids")
    corpus = Corpus(kind="librispeech", path=tmp_path / root, alignments=tmp_path / grids)
    decoded = decode(corpus)
    same_speech(decoded)
    assert {d.subset for d in decoded} == {"train"}


def test_a_missing_transcript_is_told(tmp_path):
    write_librispeech(tmp_path, SPOKEN[:2])
    path = next(tmp_path.rglob("*.trans.txt"))
    path.write_text(path.read_text().splitlines()[0])
    first, second = decode(Corpus(kind="librispeech", path=tmp_path))
    assert (first.text, first.notes) == (SPOKEN[0].text.upper(), ())
    assert (second.text, second.notes) == ("", ("without a transcript",))


@pytest.mark.parametrize("is_sphere", [True, False])
@pytest.mark.parametrize("upper", [True, False])
def test_timit(tmp_path, is_sphere, upper):
    write_timit(tmp_path, SPOKEN, is_sphere, ("talker002",), upper)
    decoded = decode(Corpus(kind="timit", path=tmp_path))
    same_speech(decoded)
    # Every speaker says SA1, so an id is speaker and sentence.
    assert [d.id for d in decoded[:2]] == ["TALKER000_SA1", "TALKER000_SA2"]
    assert [d.subset for d in decoded] == ["train"] * 4 + ["test"] * 2


def test_labels_can_be_kept_as_they_are(tmp_path):
    write_timit(tmp_path, SPOKEN[:1])
    [item] = decode(Corpus(kind="timit", path=tmp_path, phone_set="as-is"))
    assert item.segments[0].label == "sil"
    assert item.segments[1].label == PHONES[SPOKEN[0].phones[1, 2]]
    assert len(item.segments) == len(SPOKEN[0].phones)


def test_an_unknown_phone_is_named_and_can_be_kept(tmp_path):
    write_timit(tmp_path, [noise("a")])
    phn = next(tmp_path.rglob("*.PHN"))
    phn.write_text(phn.read_text().replace("ow", "qq").replace("aa", "qq"))
    with pytest.raises(InputError, match=r"by the map timit: 'qq' \(1\): 1 of 3 .* as-is"):
        decode(Corpus(kind="timit", path=tmp_path))
    with pytest.raises(BadItem, match=r"SA1\.PHN: labels .* 'qq'; keep labels") as caught:
        decode(Corpus(kind="timit", path=tmp_path, skip_bad=True))
    assert caught.value.reason == "unknown phone"
    [item] = decode(Corpus(kind="timit", path=tmp_path, phone_set="as-is"))
    assert "qq" in [s.label for s in item.segments]


def test_a_truncated_timit_file_is_caught_by_its_phones(tmp_path):
    utterance = noise("a")
    write_timit(tmp_path, [utterance])
    wav = next(tmp_path.rglob("*.WAV"))
    soundfile.write(wav, utterance.audio[:-400], RATE, format="WAV")
    with pytest.raises(BadItem, match="ends after the audio"):
        decode(Corpus(kind="timit", path=tmp_path))


@pytest.mark.parametrize("kind", ["librispeech", "timit", "folder"])
def test_a_missing_alignment_is_a_bad_item_where_others_have_one(tmp_path, kind):
    if kind == "folder":
        write_folder(tmp_path, SPOKEN)
    elif kind == "timit":
        write_timit(tmp_path, SPOKEN)
    else:
        write_librispeech(tmp_path, SPOKEN, textgrids=tmp_path)
    corpus = Corpus(kind=kind, path=tmp_path)
    lost = list_items(corpus)[3].alignment
    lost.unlink()
    with pytest.raises(BadItem, match="missing") as caught:
        decode(corpus)
    assert caught.value.reason == "missing alignment"
    assert str(lost) in str(caught.value)


def test_two_files_with_one_id_are_both_named(tmp_path):
    write_folder(tmp_path, [noise("1")], textgrids=False)
    write_folder(tmp_path, [noise("1")], textgrids=False, suffix=".flac")
    with pytest.raises(InputError, match=r"1\.flac and .*1\.wav have the same id 'ann/1'"):
        list_items(Corpus(kind="folder", path=tmp_path))


def test_audio_that_is_not_read_is_told(tmp_path):
    write_folder(tmp_path, [noise("1")], textgrids=False)
    assert unread_audio(tmp_path) == ""
    (tmp_path / "ann" / "1.m4a").write_bytes(b"the original of 1.wav")
    assert unread_audio(tmp_path) == ""
    (tmp_path / "ann" / "2.m4a").write_bytes(b"")
    assert unread_audio(tmp_path) == (
        f"1 audio file is in a format that is not read (.m4a; first: {tmp_path}/ann/2.m4a): "
        "convert to wav or flac, for each file: ffmpeg -i NAME.m4a NAME.flac"
    )
    (tmp_path / "ann" / "0.WMA").write_bytes(b"")
    line = unread_audio(tmp_path)
    assert line.startswith("2 audio files are in a format that is not read (.m4a, .wma; first: ")
    assert "ann/0.WMA)" in line


@pytest.mark.parametrize("kind", ["librispeech", "timit", "folder", "common_voice", "vctk"])
def test_a_tree_of_such_files_only_is_an_error_that_says_so(tmp_path, kind):
    (tmp_path / "a.m4a").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no .*, and 1 audio file is .*a\.m4a.*ffmpeg"):
        list_items(Corpus(kind=kind, path=tmp_path))


def test_links_are_followed_and_loops_end(tmp_path):
    write_folder(tmp_path / "far", [noise("1")], textgrids=False)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "ann").symlink_to(tmp_path / "far" / "ann")
    (tmp_path / "far" / "ann" / "loop").symlink_to(tmp_path / "near")
    assert [i.id for i in list_items(Corpus(kind="folder", path=tmp_path / "near"))] == ["ann/1"]


@pytest.mark.parametrize("kind", ["librispeech", "timit", "folder", "common_voice", "vctk"])
def test_an_empty_or_missing_tree_is_named(tmp_path, kind):
    with pytest.raises(InputError, match="holds no .*--corpus.path"):
        list_items(Corpus(kind=kind, path=tmp_path))
    with pytest.raises(InputError, match="none does not exist"):
        list_items(Corpus(kind=kind, path=tmp_path / "none"))
    with pytest.raises(InputError, match="needs the root of a tree: give --corpus.path"):
        list_items(Corpus(kind=kind))


def test_settings_of_another_kind_are_refused(tmp_path):
    with pytest.raises(InputError, match="talker, librispeech, timit, common_voice, vctk, folder"):
        list_items(Corpus(kind="librispech"))
    with pytest.raises(InputError, match=r"corpus\.path is .* does not read"):
        list_items(Corpus(path=tmp_path))
    with pytest.raises(InputError, match=r"corpus\.speakers is .* does not read"):
        list_items(Corpus(kind="timit", path=tmp_path, speakers=tmp_path / "a.csv"))
    with pytest.raises(InputError, match=r"corpus\.seed"):
        list_items(Corpus(seed=-1))
