"""The 39 classes: every label of TIMIT and of ARPAbet has one, and nothing else does."""

import pytest

from sat_jax.audio.ipa import ipa_classes
from sat_jax.audio.phones import (
    MANNER,
    PHONES,
    TIMIT_FOLDING,
    Segment,
    fold,
    fold_segments,
    join_silences,
    keep_labels,
)
from sat_jax.errors import InputError

# The 61 labels of TIMIT's own documentation (PHONCODE.DOC), by its headings.
_TIMIT = """
b d g p t k dx q jh ch s sh z zh f th v dh m n ng em en eng nx l r w y hh hv el
iy ih eh ey ae aa aw ay ah ao oy ow uh uw ux er ax ix axr ax-h
bcl dcl gcl pcl tcl kcl pau epi h#
"""
_CMU = """
AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y
Z ZH
"""
TIMIT_61, CMU_39 = _TIMIT.split(), _CMU.split()
VOWELS = [p for p in CMU_39 if p[0] in "AEIOU"]


def test_there_are_39_classes_with_silence_first_and_manners_together():
    assert len(PHONES) == len(set(PHONES)) == 39
    assert PHONES[0] == "sil"
    manners = [MANNER[phone] for phone in PHONES]
    blocks = [m for i, m in enumerate(manners) if i == 0 or manners[i - 1] != m]
    assert blocks == [
        "silence",
        "vowel",
        "diphthong",
        "semivowel",
        "nasal",
        "affricate",
        "fricative",
        "stop",
    ]


def test_the_61_labels_of_timit_fold_onto_all_39_classes():
    assert len(set(TIMIT_61)) == 61
    assert set(TIMIT_61) == set(TIMIT_FOLDING) | {"q"}
    assert {fold(label) for label in TIMIT_61} == set(PHONES) | {None}
    assert fold("q") is None


def test_the_folding_is_that_of_lee_and_hon():
    # Table 2 of the paper, read as groups of labels that are not told apart.
    groups = [
        {"aa", "ao"},
        {"ah", "ax", "ax-h"},
        {"er", "axr"},
        {"hh", "hv"},
        {"ih", "ix"},
        {"l", "el"},
        {"m", "em"},
        {"n", "en", "nx"},
        {"ng", "eng"},
        {"sh", "zh"},
        {"uw", "ux"},
        {"pcl", "tcl", "kcl", "bcl", "dcl", "gcl", "h#", "pau", "epi"},
    ]
    found: dict[str | None, set[str]] = {}
    for label in TIMIT_61:
        found.setdefault(fold(label), set()).add(label)
    assert {frozenset(g) for g in found.values() if len(g) > 1} == {frozenset(g) for g in groups}


def test_arpabet_folds_with_and_without_stress_and_in_any_case():
    assert len(CMU_39) == 39
    for label in CMU_39:
        assert fold(label) == fold(label.lower()) == fold(f" {label} ")
    for vowel in VOWELS:
        assert {fold(vowel + digit) for digit in "012"} == {fold(vowel)}
    assert fold("AO1") == "aa"
    assert fold("ZH") == "sh"


@pytest.mark.parametrize("label", ["", "sil", "SIL", "sp", "spn", "<eps>", " "])
def test_pauses_and_spoken_noise_are_silence(label):
    assert fold(label) == "sil"


@pytest.mark.parametrize("label", ["xx", "aa3", "aa11", "1", "tʃ", "aw ay", "silence"])
def test_an_unknown_label_is_named(label):
    with pytest.raises(InputError, match="as-is") as caught:
        fold(label)
    assert repr(label) in str(caught.value)


def segments(text):
    """`"aa:10 q:4"` as segments that follow each other."""
    made, start = [], 0
    for entry in text.split():
        label, _, length = entry.rpartition(":")
        made.append(Segment(start, start + int(length), label))
        start += int(length)
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("h#:10 aa:10", "sil:10 aa:10"),
        ("aa:10 q:4 iy:10", "aa:12 iy:12"),  # each neighbour takes half
        ("aa:10 q:4 q:4 iy:10", "aa:14 iy:14"),
        ("q:4 iy:10", "iy:14"),
        ("aa:10 q:4", "aa:14"),
        ("q:4", "sil:4"),
        ("tcl:5 t:5 h#:7 pau:3", "sil:5 t:5 sil:10"),
        ("h#:6 q:4 tcl:6", "sil:16"),
        ("ix:5 ih:5", "ih:5 ih:5"),  # two phones stay two phones
    ],
)
def test_folding_keeps_the_time_line_whole(given, expected):
    assert fold_segments(segments(given)) == segments(expected)


def test_labels_as_they_are_only_name_the_pauses():
    given = [Segment(0, 5, ""), Segment(5, 9, "sil"), Segment(9, 12, "AA1"), Segment(12, 15, "q")]
    assert keep_labels(given) == [Segment(0, 9, "sil"), Segment(9, 12, "AA1"), Segment(12, 15, "q")]


def test_silences_are_joined_and_nothing_else():
    given = segments("sil:1 sil:2 aa:3 aa:4 sil:5")
    assert join_silences(given) == segments("sil:3 aa:3 aa:4 sil:5")


def test_names_of_espeak_fold_without_stress_and_unknown_ones_raise():
    assert ipa_classes("") == ("sil",)
    assert ipa_classes("t\N{LATIN SMALL LETTER ESH}") == ("ch",)
    stressed = "\N{MODIFIER LETTER VERTICAL LINE}i\N{MODIFIER LETTER TRIANGULAR COLON}"
    assert ipa_classes(stressed) == ("iy",)
    with pytest.raises(KeyError, match="has no class"):
        ipa_classes("y")
