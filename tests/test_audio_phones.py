"""The 39 classes: every label of TIMIT and of ARPAbet has one, and nothing else does."""

import pytest

from sat_jax.audio.ipa import ipa_classes
from sat_jax.audio.phones import (
    DELETED,
    MANNER,
    PHONES,
    TIMIT_FOLDING,
    Segment,
    fold,
    join_silences,
)

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
    assert {fold(label) for label in TIMIT_61} == set(PHONES) | {DELETED}
    assert fold("q") == DELETED


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
    assert fold("AO1") == fold("AO1_B") == fold("ao_S") == "aa"
    assert fold("ZH") == "sh"


@pytest.mark.parametrize("label", ["xx", "aa3", "aa11", "1", "aw ay", "silence", ""])
def test_another_label_has_no_class(label):
    assert fold(label) is None


def segments(text):
    """`"aa:10 q:4"` as segments that follow each other."""
    made, start = [], 0
    for entry in text.split():
        label, _, length = entry.rpartition(":")
        made.append(Segment(start, start + int(length), label))
        start += int(length)
    return made


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
