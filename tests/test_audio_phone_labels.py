"""What labels mean: tables of TIMIT, IPA and SAMPA, a user's own file, silences, unknown labels."""
# ruff: noqa: RUF001 (letters of the IPA look like others; they are meant)

import pytest
from test_audio_phones import segments

from sat_jax.audio.phone_labels import (
    Phone,
    find_phone,
    manners_of,
    map_segments,
    ordered,
    read_phone_map,
    resolve,
)
from sat_jax.audio.phones import MANNER, PHONES, Segment
from sat_jax.config import Corpus
from sat_jax.errors import InputError

# The phones of MFA's English dictionaries (US, UK, Nigeria, India), by the class that ours are.
MFA_ENGLISH = {
    "iy": "i iː",
    "ih": "ɪ",
    "eh": "e ɛ ɛː",
    "ae": "æ a",
    "aa": "ɑ ɑː ɒ ɒː ɔ aː",
    "ah": "ə ɐ ʌ",
    "uh": "ʊ",
    "uw": "ʉ ʉː uː u",
    "er": "ɚ ɝ ɜː ɜ",
    "ey": "ej eː",
    "ay": "aj",
    "oy": "ɔj",
    "aw": "aw",
    "ow": "ow əw o oː",
    "l": "l ɫ ɫ̩ ʎ",
    "r": "ɹ r",
    "w": "w",
    "y": "j",
    "m": "m mʲ m̩ ɱ",
    "n": "n n̩ ɲ ɾ̃",
    "ng": "ŋ",
    "ch": "tʃ",
    "jh": "dʒ",
    "f": "f fʲ",
    "v": "v vʲ ʋ vʷ",
    "th": "θ",
    "dh": "ð",
    "s": "s",
    "z": "z",
    "sh": "ʃ ʒ",
    "hh": "h ç",
    "p": "p pʰ pʲ pʷ",
    "b": "b bʲ",
    "t": "t tʰ tʲ tʷ t̪ ʈ ʈʲ ʈʷ",
    "d": "d dʲ d̪ ɖ ɖʲ",
    "dx": "ɾ ɾʲ",
    "k": "k kʰ kʷ c cʰ cʷ kp",
    "g": "ɡ ɡʷ ɟ ɟʷ ɡb g",
}
SAMPA_ENGLISH = {
    "iy": "i: i",
    "ih": "I I@",
    "eh": "e E e@",
    "ae": "{",
    "aa": "A: Q O: A O",
    "ah": "V @",
    "uh": "U U@",
    "uw": "u: u",
    "er": "3: @` 3`",
    "ey": "eI",
    "ay": "aI",
    "oy": "OI",
    "aw": "aU",
    "ow": "@U oU",
    "l": "l l= 5",
    "r": "r r\\",
    "w": "w",
    "y": "j",
    "m": "m m=",
    "n": "n n=",
    "ng": "N",
    "ch": "tS",
    "jh": "dZ",
    "f": "f",
    "v": "v",
    "th": "T",
    "dh": "D",
    "s": "s",
    "z": "z",
    "sh": "S Z",
    "hh": "h",
    "p": "p p_h",
    "b": "b",
    "t": "t t_h",
    "d": "d",
    "dx": "4",
    "k": "k k_h",
    "g": "g",
}
SAMPA_GERMAN = {  # of BAS: what MAUS writes
    "vowel": "I E a O U Y 9 i: e: E: a: o: u: y: 2: @ 6 a~ e",
    "diphthong": "aI aU OY i:6 a6",
    "semivowel": "j l R\\ r",
    "nasal": "m n N n= m=",
    "affricate": "ts pf tS dZ",
    "fricative": "f v s z S Z C x h R",
    "stop": "p b t d k g ?",
}
IPA_ELSEWHERE = {
    "vowel": "ø œ̃ y ɯ ɨː aː˥ ã ɤ˩˧",
    "diphthong": "ai ʊə ej",
    "semivowel": "ɭ ʀ ɥ rː ʎ",
    "nasal": "ɳ ɴ ŋʷ n̪",
    "affricate": "tɕʰ dz ts ʈʂ t͡s pf",
    "fricative": "ɕ ʐ χ ʁ ħ ɸ β",
    "stop": "q ʔ ɓ ɖ tʰ ǃ mb kp",
}


def corpus(**settings):
    return Corpus(**{"phone_map": "timit"} | settings)


def classes(labels, **settings):
    return {label: find_phone(label, corpus(**settings)) for label in labels.split()}


@pytest.mark.parametrize("table", [("ipa", MFA_ENGLISH), ("sampa", SAMPA_ENGLISH)], ids=str)
def test_every_label_of_english_has_its_class(table):
    name, labels = table
    assert set(labels) == set(PHONES) - {"sil"}
    for phone, several in labels.items():
        expected = Phone(phone, MANNER[phone])
        assert classes(several, phone_map=name) == dict.fromkeys(several.split(), expected)


@pytest.mark.parametrize("table", [("ipa", IPA_ELSEWHERE), ("sampa", SAMPA_GERMAN)], ids=str)
def test_labels_of_other_languages_keep_their_name_and_have_a_manner(table):
    name, labels = table
    for manner, several in labels.items():
        for label, phone in classes(several, phone_map=name, phone_set="as-is").items():
            assert phone == Phone(label, manner)


@pytest.mark.parametrize("label", ["h#", "bad", "zz", "aa", "a1", "t-", "ts!", "?", "ia2"])
def test_what_is_no_phone_of_the_ipa_has_no_manner(label):
    assert find_phone(label, corpus(phone_map="ipa", phone_set="as-is")) == Phone(label, "")
    assert find_phone(label, corpus(phone_map="ipa")) is None


def test_one_letter_means_what_the_map_says():
    as_is = {"phone_set": "as-is"}
    assert find_phone("y", corpus(**as_is)).manner == "semivowel"
    assert find_phone("y", corpus(phone_map="sampa", **as_is)).manner == "vowel"
    assert find_phone("y", corpus(phone_map="ipa", **as_is)).manner == "vowel"
    assert find_phone("y:", corpus(phone_map="sampa")) is None  # English has none


SILENT = ["", " ", "sil", "SIL", "sp", "spn", "<eps>", "pau", "<p:>", "#", "_", "<nib>", "silence"]


@pytest.mark.parametrize("label", SILENT)
@pytest.mark.parametrize("phone_set", ["timit39", "as-is"])
@pytest.mark.parametrize("name", ["timit", "ipa", "sampa"])
def test_labels_of_silence_are_one_phone(label, phone_set, name):
    found = find_phone(label, corpus(phone_map=name, phone_set=phone_set))
    assert found == Phone("sil", "silence")


def test_timits_own_silences_and_closures_as_they_are():
    found = classes("h# pau epi tcl AH0 q", phone_set="as-is")
    assert [found[label].name for label in ("h#", "pau", "epi")] == ["sil"] * 3
    assert found["tcl"] == Phone("tcl", "stop")
    assert found["AH0"] == Phone("AH0", "vowel")
    assert found["q"] == Phone("q", "stop")


def test_the_user_names_more_silences():
    mine = corpus(phone_set="as-is", silence=("breath", "X"))
    assert find_phone("breath", mine).name == "sil"
    assert find_phone("x", mine).name == "x"  # case counts


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
def test_mapping_keeps_the_time_line_whole(given, expected):
    assert map_segments(segments(given), corpus()) == segments(expected)


def test_labels_as_they_are_only_name_the_pauses():
    given = [Segment(0, 5, ""), Segment(5, 9, "sil"), Segment(9, 12, "AA1"), Segment(12, 15, "q")]
    expected = [Segment(0, 9, "sil"), Segment(9, 12, "AA1"), Segment(12, 15, "q")]
    assert map_segments(given, corpus(phone_set="as-is")) == expected


def test_an_unknown_label_is_named_with_the_cure():
    with pytest.raises(InputError, match=r"'zz'.*as-is.*--corpus\.phone-map FILE\.csv"):
        map_segments(segments("aa:3 zz:4"), corpus())


AUTO = {
    "timit": "sil dh ax kcl k ae q tcl t h#",
    "ipa": "spn ð ə kʰ æ tʰ ɫ̩ aj",
    "sampa": "<p:> D @ k_h { t l= aI",
}


@pytest.mark.parametrize("phone_set", ["timit39", "as-is"])
@pytest.mark.parametrize("name", AUTO)
def test_the_map_that_knows_the_labels_is_found(name, phone_set):
    labels = dict.fromkeys(AUTO[name].split(), 3)
    found = resolve(Corpus(phone_set=phone_set), labels)
    assert found.phone_map == name


def test_unknown_labels_are_counted_and_named_together():
    labels = {"AA1": 90, "T": 60, "zz": 4, "!": 9}
    with pytest.raises(InputError, match=r"'!' \(9\), 'zz' \(4\): 13 of 163 intervals; keep"):
        resolve(Corpus(), labels)
    assert resolve(Corpus(skip_bad=True), labels).phone_map == "timit"


def test_own_labels_have_no_manner_and_none_is_guessed():
    labels = {"17": 5, "2": 4, "42": 5, "<p:>": 2}  # 2 is a vowel of SAMPA
    found = resolve(Corpus(phone_set="as-is"), labels)
    assert {find_phone(label, found).manner for label in ("17", "2", "42")} == {""}
    assert find_phone("<p:>", found).manner == "silence"


def written(tmp_path, text, name="map.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_phones_manners_silence_and_what_is_deleted(tmp_path):
    text = "label,phone,manner\nA,aa,open\nB,aa,open\nK,k,click\nE,ee,vowel\nx,,\nnn,,silence\n"
    mine = corpus(phone_map=str(written(tmp_path, text)))
    given = segments("A:5 x:2 B:5 nn:4 #:4 K:3 E:3")
    assert map_segments(given, mine) == segments("aa:6 aa:6 sil:8 k:3 ee:3")
    assert ordered({"aa", "sil", "k", "ee"}, mine) == [
        Phone("sil", "silence"),
        Phone("ee", "vowel"),
        Phone("aa", "open"),
        Phone("k", "click"),
    ]
    assert resolve(mine, {"A": 1, "#": 1}) == mine
    with pytest.raises(InputError, match=r"map\.csv: 'Q' \(2\): 2 of 3 intervals; add a line"):
        resolve(mine, {"A": 1, "Q": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label;phone;manner\n", "line 1: no column 'label' .*label,phone,manner"),
        ("label,phone\nA,b\n", "line 1: no column 'manner'"),
        ("", "line 1: no column 'label' .columns: none"),
        ("label,phone,manner\nA,a,vowel\nA,e,vowel\n", "line 3: 'A' has two phones"),
        ("label,phone,manner\nA,a,vowel\nB,a,stop\n", "line 3: phone 'a' is 'stop' here"),
    ],
)
def test_a_file_that_is_no_map_is_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_phone_map(written(tmp_path, text))


def test_a_map_that_does_not_exist_is_named_with_the_choices(tmp_path):
    with pytest.raises(InputError, match=r"corpus\.phone-map .*timit, arpabet, ipa, sampa"):
        resolve(Corpus(phone_map=str(tmp_path / "none.csv")), {"a": 1})


def test_phones_as_they_are_stand_by_manner():
    mine = corpus(phone_map="sampa", phone_set="as-is")
    names = [phone.name for phone in ordered({"sil", "t", "y:", "N", "a:", "%%"}, mine)]
    assert names == ["sil", "a:", "y:", "N", "t", "%%"]


def test_manners_of_phones_of_any_model():
    assert manners_of(["sil", "aa", "k"]) == ("silence", "vowel", "stop")
    assert manners_of(["y", "ʃ", "tʃ"]) == ("vowel", "fricative", "affricate")
    assert manners_of(["c1", "c2"]) == ("", "")
