"""CTM files: segments and their places, utterances and their recordings, faults by line."""

import numpy as np
import pytest
from trees import RATE, ctm, decode, noise, quiet, speak, write_folder, write_librispeech

from sat_jax.audio.corpora import list_items
from sat_jax.audio.ctm import Lines, index_ctm, read_ctm
from sat_jax.audio.dataset import prepare
from sat_jax.audio.faults import BadItem
from sat_jax.audio.phones import PHONES
from sat_jax.audio.prepared import open_split
from sat_jax.audio.utterance import phone_rows
from sat_jax.config import Corpus
from sat_jax.errors import InputError

SPOKEN = speak(3, 2)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def segments(path, name):
    return read_ctm(path, index_ctm(path)[name])


def seconds(path, name):
    return [(s.start / RATE, s.end / RATE, s.label) for s in segments(path, name)]


MIXED = """\ufeff;; made by hand
a 1 0.00 0.25 sil

a 1 0.25 0.5 AH0 0.93
;; between
a 1 0.75 0.25 ŋ 1.0 lex speaker
b A .5 1 sil
"""


def test_lines_of_an_utterance_become_segments(tmp_path):
    path = write(tmp_path / "x.ctm", MIXED)
    assert list(index_ctm(path)) == ["a", "b"]
    assert seconds(path, "a") == [(0, 0.25, "sil"), (0.25, 0.75, "AH0"), (0.75, 1, "ŋ")]
    assert seconds(path, "b") == [(0.5, 1.5, "sil")]


def test_an_index_holds_bytes_and_first_lines(tmp_path):
    path = write(tmp_path / "x.ctm", MIXED)
    index = index_ctm(path)
    raw = path.read_bytes()
    assert raw[index["a"].start : index["a"].end].startswith(b"a 1 0.00")
    assert raw[index["a"].start : index["a"].end].endswith(b"speaker\n")
    assert raw[index["b"].start : index["b"].end] == b"b A .5 1 sil\n"
    assert [lines.number for lines in index.values()] == [2, 7]


def test_a_byte_order_mark_windows_line_ends_and_no_last_line_end(tmp_path):
    path = tmp_path / "x.ctm"
    path.write_bytes(b"\xef\xbb\xbfa\t1\t0\t1.0\taa\r\na 1 1.0 0.5 b")
    assert seconds(path, "a") == [(0, 1, "aa"), (1, 1.5, "b")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # 1/3 and 2/3 s, each number rounded by itself: a hole and an overlap of one millisecond.
        (["0.000 0.333", "0.334 0.333", "0.666 0.334"], [0.334, 0.666]),
        # The same in hundredths of which no more is known than hundredths.
        (["0.00 0.33", "0.34 0.33", "0.66 0.34"], [0.34, 0.66]),
    ],
)
def test_what_rounding_parts_is_one_boundary(tmp_path, lines, expected):
    path = write(tmp_path / "x.ctm", "".join(f"a 1 {line} aa\n" for line in lines))
    got = seconds(path, "a")
    assert [s[1] for s in got[:-1]] == [s[0] for s in got[1:]] == pytest.approx(expected)


def test_more_than_rounding_is_a_gap_or_an_overlap(tmp_path):
    path = write(tmp_path / "x.ctm", "a 1 0.000 0.333 aa\na 1 0.343 0.3 aa\n")
    assert seconds(path, "a") == [(0, 0.333, "aa"), (0.343, 0.643, "aa")]
    path = write(tmp_path / "x.ctm", "a 1 0 1 aa\na 1 2 1 aa\n")  # in whole seconds
    assert seconds(path, "a") == [(0, 1, "aa"), (2, 3, "aa")]
    path = write(tmp_path / "x.ctm", "a 1 0.00 0.01 aa\na 1 0.00 0.01 b\n")
    with pytest.raises(BadItem, match=r"x\.ctm, line 2: phone 'b' starts at 0 s, before 0\.01"):
        segments(path, "a")
    path = write(tmp_path / "x.ctm", "a 1 0.000 0.333 aa\na 1 0.330 0.3 b\n")
    with pytest.raises(BadItem, match=r"x\.ctm, line 2: phone 'b' starts at 0\.33 s, before") as e:
        segments(path, "a")
    assert e.value.reason == "overlapping phones"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a 1 0.5 aa", "line 3: it is 'a 1 0.5 aa', expected 'a', one channel, start, duration"),
        ("a 1 half 0.5 aa", "line 3: it is"),
        ("a 1 0.5 nan aa", "line 3: it is"),
        ("a 1 -0.5 0.5 aa", "line 3: it is"),
        ("a 2 0.5 0.5 aa", "line 3: it is .* one channel"),
        ("a 1 0.5 0 aa", "line 3: phone 'aa' has no duration"),
        ("a 1 0.5 -1 aa", "line 3: phone 'aa' has no duration"),
        ("a 1 0.1 1 aa", "line 3: phone 'aa' starts at 0.1 s, before 0.5 s"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, told):
    path = write(tmp_path / "x.ctm", f";; one\na 1 0.0 0.5 sil\n{line}\n")
    with pytest.raises(BadItem, match=told) as caught:
        segments(path, "a")
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert "\n" not in str(caught.value)


def test_what_is_not_utf8_is_named_by_its_line(tmp_path):
    path = tmp_path / "x.ctm"
    path.write_bytes(b"a 1 0 1 aa\na 1 1 1 \xff\n")
    with pytest.raises(BadItem, match="line 2: it is not UTF-8"):
        segments(path, "a")
    path.write_bytes(b"a 1 0 1 aa\n\xff 1 1 1 a\n")
    with pytest.raises(InputError, match="line 2: it is not UTF-8"):
        index_ctm(path)


def test_lines_that_do_not_stand_together_are_named(tmp_path):
    path = write(tmp_path / "x.ctm", "a 1 0 1 aa\nb 1 0 1 aa\n;;\na 1 1 1 aa\n")
    with pytest.raises(InputError, match=r"x\.ctm, line 4: utterance 'a' began in line 1.*sort"):
        index_ctm(path)


def test_a_ctm_of_librispeech_is_the_same_phones_as_textgrids(tmp_path):
    write_librispeech(tmp_path / "L", SPOKEN, textgrids=tmp_path / "grids")
    names = [item.id for item in list_items(Corpus(kind="librispeech", path=tmp_path / "L"))]
    aligned = write(tmp_path / "a.ctm", ctm(dict(zip(names, SPOKEN, strict=True))))
    corpus = Corpus(kind="librispeech", path=tmp_path / "L", alignments=aligned)
    for item, original in zip(decode(corpus), SPOKEN, strict=True):
        np.testing.assert_array_equal(phone_rows(item.segments, PHONES), original.phones)
        assert item.notes == ()


@pytest.mark.parametrize("name", ["{speaker}/{id}", "{id}"])
def test_an_utterance_is_an_id_or_the_last_part_of_one(tmp_path, name):
    write_folder(tmp_path / "wav", SPOKEN, textgrids=False)
    by_name = {name.format(speaker=u.speaker, id=u.id): u for u in SPOKEN}
    aligned = write(tmp_path / "a.ctm", ctm(by_name))
    corpus = Corpus(kind="folder", path=tmp_path / "wav", alignments=aligned)
    for item, original in zip(decode(corpus), SPOKEN, strict=True):
        np.testing.assert_array_equal(phone_rows(item.segments, PHONES), original.phones)


def test_a_last_part_of_two_recordings_is_refused(tmp_path):
    spoken = [noise("1", speaker=speaker) for speaker in ("ann", "bob")]
    write_folder(tmp_path / "wav", spoken, textgrids=False)
    aligned = write(tmp_path / "a.ctm", ctm({"0": spoken[0], "1": spoken[0]}))
    corpus = Corpus(kind="folder", path=tmp_path / "wav", alignments=aligned)
    with pytest.raises(InputError, match=r"line 4: utterance '1' .* 2 recordings, 'ann/1'"):
        list_items(corpus)


def test_a_recording_whose_id_is_the_name_has_the_utterance(tmp_path):
    """`ann/1` ends like it, and has none."""
    root = write_folder(tmp_path / "wav", [noise("1")], textgrids=False)
    (root / "1.wav").write_bytes((root / "ann" / "1.wav").read_bytes())
    aligned = write(tmp_path / "a.ctm", ctm({"1": noise("1")}))
    items = list_items(Corpus(kind="folder", path=root, alignments=aligned))
    assert [(item.id, item.lines.number) for item in items] == [("1", 1), ("ann/1", 0)]


def test_an_utterance_without_lines_is_a_bad_item(tmp_path):
    write_folder(tmp_path / "wav", SPOKEN[:2], textgrids=False)
    aligned = write(tmp_path / "a.ctm", ctm({SPOKEN[0].id: SPOKEN[0]}))
    corpus = Corpus(kind="folder", path=tmp_path / "wav", alignments=aligned)
    with pytest.raises(BadItem, match=f"a.ctm: it has no line of .*{SPOKEN[1].id}") as caught:
        decode(corpus)
    assert caught.value.reason == "missing alignment"


def test_faults_of_a_whole_utterance_name_its_first_line(tmp_path):
    spoken = [noise("1"), noise("2")]
    write_folder(tmp_path / "wav", spoken, textgrids=False)
    text = ctm({"1": spoken[0], "2": spoken[1]})
    # Without skip_bad, unknown labels end the preparation before anything is read.
    corpus = Corpus(
        kind="folder", path=tmp_path / "wav", alignments=tmp_path / "a.ctm", skip_bad=True
    )
    write(tmp_path / "a.ctm", text.replace(f" {PHONES[5]}", " qq"))
    with pytest.raises(BadItem, match=r"a\.ctm, from line 1 \(1\): .*'qq'"):
        decode(corpus)
    write(tmp_path / "a.ctm", text + "2 1 0.3 0.2 aa\n")
    with pytest.raises(BadItem, match=r"a\.ctm, from line 4 \(2\): .* ends after the audio"):
        decode(corpus)


def test_a_folder_of_ctm_files_is_one(tmp_path):
    write_folder(tmp_path / "wav", SPOKEN[:2], textgrids=False)
    folder = tmp_path / "ctm"
    folder.mkdir()
    for number, spoken in enumerate(SPOKEN[:2], start=1):
        write(folder / f"{number}.ctm", ctm({spoken.id: spoken}))
    corpus = Corpus(kind="folder", path=tmp_path / "wav", alignments=folder)
    assert [len(item.segments) for item in decode(corpus)] == [len(u.phones) for u in SPOKEN[:2]]
    write(folder / "3.ctm", ctm({SPOKEN[0].id: SPOKEN[0]}))
    with pytest.raises(InputError, match=r"3\.ctm, line 1: utterance .* is in .*1\.ctm too"):
        list_items(corpus)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("other.ctm", "has no utterance of this corpus: expected for example 'ann/1', and .*'x'"),
        ("empty.ctm", "has no utterance of this corpus"),
        ("notes.txt", r"notes\.txt is another file: give a tree of TextGrids, or a file"),
        ("none", "none does not exist"),
        ("both", "holds CTM files and TextGrids"),
    ],
)
def test_alignments_of_something_else_are_named(tmp_path, name, told):
    write_folder(tmp_path / "wav", [noise("1")], textgrids=False)
    write(tmp_path / "other.ctm", ctm({"x": noise("1")}))
    write(tmp_path / "empty.ctm", "")
    write(tmp_path / "notes.txt", "no alignment")
    (tmp_path / "both").mkdir()
    write(tmp_path / "both" / "a.ctm", "")
    write(tmp_path / "both" / "a.TextGrid", "")
    corpus = Corpus(kind="folder", path=tmp_path / "wav", alignments=tmp_path / name)
    with pytest.raises(InputError, match=told):
        list_items(corpus)


def test_a_tier_of_a_ctm_is_refused(tmp_path):
    write_folder(tmp_path / "wav", [noise("1")], textgrids=False)
    aligned = write(tmp_path / "a.ctm", ctm({"1": noise("1")}))
    corpus = Corpus(kind="folder", path=tmp_path / "wav", alignments=aligned, tier="phones")
    with pytest.raises(InputError, match=r"corpus\.tier is 'phones', and CTM files have no tiers"):
        list_items(corpus)


def test_a_corpus_with_a_ctm_says_where_its_phones_come_from(tmp_path):
    write_folder(tmp_path / "wav", SPOKEN, textgrids=False)
    aligned = write(tmp_path / "a.ctm", ctm({u.id: u for u in SPOKEN}))
    corpus = Corpus(
        kind="folder",
        path=tmp_path / "wav",
        alignments=aligned,
        data_dir=tmp_path / "d",
        workers=2,
    )
    split = open_split(prepare(corpus, quiet), "all")
    assert split.phone_source == "CTM, labels by the map timit"
    assert [len(split[i].phones) for i in range(len(split))] == [len(u.phones) for u in SPOKEN]


def test_no_lines_stand_for_a_missing_utterance(tmp_path):
    path = write(tmp_path / "x.ctm", "a 1 0 1 aa\n")
    with pytest.raises(BadItem, match="has no line of utterance 'b'"):
        read_ctm(path, Lines("b", 0, 0, 0))
