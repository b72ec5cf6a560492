"""VCTK, versions 0.92 and 0.80: microphones, texts, speakers and alignments."""

import numpy as np
import pytest
from trees import ctm, decode, noise, speak, textgrid, write_vctk

from sat_jax.audio.corpora import list_items
from sat_jax.audio.phones import PHONES
from sat_jax.audio.utterance import phone_rows
from sat_jax.config import Corpus
from sat_jax.errors import InputError

SPOKEN = speak(2, 2)
IDS = ["p000_001", "p000_002", "p001_001", "p001_002"]


@pytest.mark.parametrize("version", ["0.92", "0.80"])
def test_sentences_of_speakers(tmp_path, version):
    decoded = decode(Corpus(kind="vctk", path=write_vctk(tmp_path, SPOKEN, version)))
    assert [item.id for item in decoded] == IDS
    assert [item.speaker for item in decoded] == ["p000", "p000", "p001", "p001"]
    for item, original in zip(decoded, SPOKEN, strict=True):
        np.testing.assert_array_equal(item.audio, original.audio)  # the first microphone
        assert item.text == original.text
        assert (item.subset, item.segments, item.notes) == ("", None, ())


def test_the_second_microphone_stands_in_for_the_first(tmp_path):
    write_vctk(tmp_path, SPOKEN)
    (tmp_path / "wav48_silence_trimmed" / "p000" / "p000_002_mic1.flac").unlink()
    decoded = decode(Corpus(kind="vctk", path=tmp_path))
    assert [item.id for item in decoded] == IDS
    np.testing.assert_array_equal(decoded[1].audio, SPOKEN[1].audio // 2)


def test_a_speaker_without_texts_is_told(tmp_path):
    """p315 of the real corpus has none."""
    write_vctk(tmp_path, SPOKEN)
    for path in (tmp_path / "txt" / "p001").iterdir():
        path.unlink()
    notes = [item.notes for item in decode(Corpus(kind="vctk", path=tmp_path))]
    assert notes == [(), (), ("without a transcript",), ("without a transcript",)]


@pytest.mark.parametrize("version", ["0.92", "0.80"])
@pytest.mark.parametrize(
    "place", ["beside", "{folder}/{speaker}/{audio}", "{speaker}/{audio}", "{speaker}/{id}", "ctm"]
)
def test_alignments_with_and_without_folder_and_microphone(tmp_path, version, place):
    root = write_vctk(tmp_path / "VCTK", SPOKEN, version)
    bare = Corpus(kind="vctk", path=root)
    items = list_items(bare)
    given = root if place == "beside" else tmp_path / "grids"
    if place == "ctm":
        given = tmp_path / "a.ctm"
        given.write_text(ctm(dict(zip(IDS, SPOKEN, strict=True))))
    else:
        pattern = "{folder}/{speaker}/{id}" if place == "beside" else place
        for item, utterance in zip(items, SPOKEN, strict=True):
            parts = item.audio.relative_to(root).parts
            name = pattern.format(
                folder=parts[0], speaker=item.speaker, audio=item.audio.stem, id=item.id
            )
            (given / name).parent.mkdir(parents=True, exist_ok=True)
            (given / f"{name}.TextGrid").write_text(textgrid(utterance))
    corpus = bare if place == "beside" else Corpus(kind="vctk", path=root, alignments=given)
    for item, original in zip(decode(corpus), SPOKEN, strict=True):
        np.testing.assert_array_equal(phone_rows(item.segments, PHONES), original.phones)


def test_one_sentence_in_two_formats_is_named(tmp_path):
    root = write_vctk(tmp_path, [noise("a", speaker="p1")])
    first = root / "wav48_silence_trimmed" / "p1" / "p1_001_mic1.flac"
    first.with_suffix(".wav").write_bytes(first.read_bytes())
    with pytest.raises(InputError, match=r"p1_001_mic1\.flac and .*\.wav have the same id"):
        list_items(Corpus(kind="vctk", path=root))
