"""TextGrids and .PHN files: both text forms, every encoding, and one line for every fault."""

import numpy as np
import pytest
from trees import noise, textgrid

from sat_jax.audio.alignments import check_phones, noise_notes, read_phn, read_textgrid
from sat_jax.audio.faults import BadItem
from sat_jax.audio.phones import Segment

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "say ""ah"" 12 ! ok"
    item [2]:
        class = "TextTier"
        name = "points"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.7
            mark = "here"
    item [3]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 5e-1
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.0
            text = "AA1"
        intervals [3]:
            xmin = 1.0
            xmax = 1.5
            text = "T"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
2
"IntervalTier"
"words"
0
1.5
1
0
1.5
"say ""ah"" 12 ! ok"
"IntervalTier"
"phones"
0
1.5
3
0
0.5
""
0.5
1.0
"AA1"
1.0
1.5
"T"
"""
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")
EXPECTED = [Segment(0, 8000, ""), Segment(8000, 16000, "AA1"), Segment(16000, 24000, "T")]


def read(tmp_path, text, encoding="utf-8", tier=""):
    path = tmp_path / "a.TextGrid"
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return read_textgrid(path, tier)


@pytest.mark.parametrize(
    "text", [LONG, SHORT, LONG.replace("\n", "\r\n")], ids=["long", "short", "crlf"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_both_forms_in_every_encoding_are_the_same_segments(tmp_path, text, encoding):
    assert read(tmp_path, text, encoding) == EXPECTED


def test_letters_outside_ascii_and_comments_are_read(tmp_path):
    text = LONG.replace('"T"', '"é"').replace("size = 3\nitem", "size = 3 ! of 3\nitem")
    assert read(tmp_path, text)[-1].label == "é"


def test_the_tier_of_a_named_speaker_is_read(tmp_path):
    assert read(tmp_path, LONG.replace('"phones"', '"ann - Phones"')) == EXPECTED


@pytest.mark.parametrize("tier", ["MAU", "mau", "KAN-MAU"])
def test_the_tier_that_the_user_names_is_read(tmp_path, tier):
    both = LONG.replace('"words"', f'"{tier.upper()}"')
    assert [s.label for s in read(tmp_path, both, tier=tier)] == ['say "ah" 12 ! ok']
    with pytest.raises(BadItem, match=r"no interval tier 'ORT' .*--corpus\.tier NAME"):
        read(tmp_path, both, tier="ORT")


@pytest.mark.parametrize("name", ["MAU", "phone", "Phones", "bob - phone"])
def test_the_usual_names_of_a_tier_of_phones_are_found(tmp_path, name):
    assert read(tmp_path, LONG.replace('"phones"', f'"{name}"')) == EXPECTED


def test_of_two_speakers_the_user_names_one(tmp_path):
    two = LONG.replace('"words"', '"ann - phones"').replace('"phones"', '"bob - phones"')
    with pytest.raises(BadItem, match=r"several .*'ann - phones', 'points', 'bob - phones'"):
        read(tmp_path, two)
    assert read(tmp_path, two, tier="bob - phones") == EXPECTED


def test_gaps_are_left_open(tmp_path):
    gap = LONG.replace("xmax = 5e-1", "xmax = 0.4")
    assert read(tmp_path, gap)[:2] == [Segment(0, 6400, ""), Segment(8000, 16000, "AA1")]


FAULTS = {
    "overlap": (("xmin = 1.0", "xmin = 0.9"), "interval 3 starts at 0.9 s, before 1 s"),
    "backwards": (("xmax = 1.0", "xmax = 0.4"), "interval 2 lasts from 0.5 to 0.4 s"),
    "no duration": (("xmax = 1.0", "xmax = 0.5"), "interval 2 lasts from 0.5 to 0.5 s"),
    "past xmax": (('xmax = 1.5\n            text = "T"', 'xmax = 1.6\n text = "T"'), "ends at 1.6"),
    "before xmin": (("xmin = 0\n            xmax = 5e-1", "xmin = -1\n xmax = 5e-1"), "interval 1"),
    "too many announced": (("size = 3\n        intervals", "size = 4\n intervals"), "interval 4"),
    "too few announced": (("size = 3\n        intervals", "size = 2\n intervals"), "goes on with"),
    "no tier phones": (('"phones"', '"segments"'), "'words', 'points', 'segments'"),
    "two tiers phones": (('"words"', '"phones"'), "several interval tiers"),
    "no number": (("xmin = 0.5", "xmin = half"), "interval 2: expected a number"),
    "infinite": (("xmax = 1.0", "xmax = 1e999"), "interval 2: expected a number"),
    "half a count": (("intervals: size = 3", "intervals: size = 2.5"), "expected a count"),
    "no quotes": (('text = "AA1"', "text = AA1"), "interval 2: expected a quoted text"),
    "another object": (('"TextGrid"', '"Pitch"'), "not a TextGrid"),
    "another file": (('"ooTextFile"', '"chronological"'), "ooTextFile"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_names_the_file_and_the_interval(tmp_path, kind):
    (old, new), told = FAULTS[kind]
    assert old in LONG
    with pytest.raises(BadItem) as caught:
        read(tmp_path, LONG.replace(old, new))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'a.TextGrid'}: ")
    assert told in message
    assert "\n" not in message
    assert ";" in message


@pytest.mark.parametrize("text", ["", "junk\n" * 50, b"\x00\x01\x02\x03" * 9, b"\xff\xff\xff"])
def test_what_is_no_textgrid_is_a_fault(tmp_path, text):
    with pytest.raises(BadItem):
        read(tmp_path, text)


def test_a_textgrid_cut_anywhere_is_a_fault(tmp_path):
    for text in (LONG, SHORT):
        # After the closing quote of the last label only white space is left to lose.
        for end in range(1, len(text.rstrip()), 3):
            with pytest.raises(BadItem):
                read(tmp_path, text[:end])


def test_an_empty_tier_and_a_missing_file_are_faults(tmp_path):
    head = SHORT[: SHORT.index("3\n0\n0.5")]
    with pytest.raises(BadItem, match="is empty"):
        read(tmp_path, head + "0\n")
    with pytest.raises(BadItem, match="missing") as caught:
        read_textgrid(tmp_path / "none.TextGrid")
    assert caught.value.reason == "missing alignment"


def test_the_grids_of_the_test_trees_are_exact(tmp_path):
    utterance = noise("a", 0.37)
    got = read(tmp_path, textgrid(utterance))
    np.testing.assert_array_equal([s[:2] for s in got], utterance.phones[:, :2])


def test_phn_files_are_read_and_scaled_to_16_khz(tmp_path):
    path = tmp_path / "a.PHN"
    path.write_text("0 2400 h#\n2400 3000 ax-h\n\n")
    assert read_phn(path) == [Segment(0, 2400, "h#"), Segment(2400, 3000, "ax-h")]
    assert read_phn(path, rate=8000) == [Segment(0, 4800, "h#"), Segment(4800, 6000, "ax-h")]


@pytest.mark.parametrize("text", ["", "0 10\n", "0 x aa\n", "0 10 aa bb\n", "-5 10 aa\n"])
def test_a_bad_phn_line_is_a_fault(tmp_path, text):
    path = tmp_path / "a.PHN"
    path.write_text(text)
    with pytest.raises(BadItem, match=r"a\.PHN"):
        read_phn(path)


def test_phones_tile_the_audio_and_gaps_are_silence():
    given = [Segment(1000, 2000, "aa"), Segment(2100, 4000, "t")]
    assert check_phones(given, 5000, "a") == [
        Segment(0, 1000, "sil"),
        Segment(1000, 2000, "aa"),
        Segment(2000, 2100, "sil"),
        Segment(2100, 4000, "t"),
        Segment(4000, 5000, "sil"),
    ]


def test_up_to_20_ms_at_the_edges_are_no_silence():
    given = [Segment(320, 2000, "aa"), Segment(2000, 3000, "t")]
    assert check_phones(given, 3320, "a") == [Segment(0, 2000, "aa"), Segment(2000, 3320, "t")]
    assert [s.label for s in check_phones(given, 3321, "a")] == ["aa", "t", "sil"]
    later = [s._replace(start=s.start + 1, end=s.end + 1) for s in given]
    assert [s.label for s in check_phones(later, 3001, "a")] == ["sil", "aa", "t"]


def test_an_end_up_to_20_ms_past_the_audio_is_clipped():
    given = [Segment(0, 1000, "aa"), Segment(1000, 1320, "t")]
    assert check_phones(given, 1200, "a")[-1] == Segment(1000, 1200, "t")
    # A last phone that lies wholly behind the end is gone.
    assert check_phones(given, 1000, "a") == [Segment(0, 1000, "aa")]
    with pytest.raises(BadItem, match="interval 2 .* ends after the audio") as caught:
        check_phones(given, 999, "a")
    assert caught.value.reason == "alignment past the end of the audio"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([Segment(0, 100, "aa"), Segment(90, 200, "t")], "overlapping phones"),
        ([Segment(100, 200, "aa"), Segment(0, 100, "t")], "overlapping phones"),
        ([Segment(-5, 200, "aa")], "overlapping phones"),
        ([Segment(0, 100, "aa"), Segment(100, 100, "t")], "empty phone"),
        ([Segment(0, 100, "aa"), Segment(100, 90, "t")], "empty phone"),
    ],
)
def test_segments_that_cannot_be_are_faults(given, reason):
    with pytest.raises(BadItem, match=r"interval \d") as caught:
        check_phones(given, 1000, "a")
    assert caught.value.reason == reason


def test_spoken_noise_is_told():
    assert noise_notes([Segment(0, 1, "aa")]) == ()
    assert "'spn'" in noise_notes([Segment(0, 1, "aa"), Segment(1, 2, "SPN")])[0]


@pytest.mark.parametrize("share", [0.74, 0.5, 0.02])
def test_labels_that_end_far_too_early_are_of_another_time_scale(share):
    given = [Segment(0, round(share * 32000), "aa")]
    with pytest.raises(BadItem, match="interval ends at .* and the audio at 2 s") as caught:
        check_phones(given, 32000, "one.PHN")
    assert caught.value.reason == "alignment that covers too little of the audio"
    assert check_phones([Segment(0, 24000, "aa")], 32000, "one.PHN")[-1].label == "sil"
