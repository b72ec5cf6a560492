"""Names of phones in the IPA in; their classes among Lee & Hon's 39, and their manners, out.

The classes are of English: the names of the four accents of eSpeak NG that the talker uses, and
those of the Montreal Forced Aligner's English models. The manners are of any language.
"""
# ruff: noqa: RUF001 (letters of the IPA look like others; they are meant)

import unicodedata

from sat_jax.audio.phones import SILENCE

_STRESS = str.maketrans("", "", "ˈˌ")

_NAMES = {
    "iy": "i iː",
    "ih": "ɪ ᵻ",
    "eh": "ɛ e",
    "ae": "æ a ɛə",  # ɛə is New York's raised vowel of "half"
    "aa": "ɑː ɒ ɔ ɔː aː a:",
    "ah": "ʌ ə ɐ",
    "uh": "ʊ",
    "uw": "uː ʉ ʉː",
    "er": "ɚ ɜ ɜː ʌɹ əɹ əɪ",  # əɪ is New York's vowel of "nurse"
    "ey": "eɪ eː",
    "ay": "aɪ",
    "oy": "ɔɪ",
    "aw": "aʊ ʌʉ",
    "ow": "oʊ oː o əʊ",
    "l": "l əl",
    "r": "r ɹ",
    "w": "w ʍ",
    "y": "j ʲ",
    "m": "m",
    "n": "n n̩",
    "ng": "ŋ",
    "ch": "tʃ",
    "jh": "dʒ",
    "f": "f",
    "v": "v",
    "th": "θ",
    "dh": "ð",
    "s": "s",
    "z": "z",
    "sh": "ʃ ʒ",
    "hh": "h",
    "p": "p",
    "b": "b",
    "t": "t ʔ",
    "d": "d",
    "dx": "ɾ",
    "k": "k",
    "g": "ɡ",
    "iy ah": "iə",
    "eh ah": "eə",
    "uh ah": "ʊə",
    "ay ah": "aɪə",
    "ay er": "aɪɚ",
    "ih r": "ɪɹ",
    "eh r": "ɛɹ",
    "uh r": "ʊɹ",
    "uw r": "ʉɹ",
    "aa r": "ɑːɹ ɔːɹ",
}
_CLASSES = {name: tuple(units.split()) for units, names in _NAMES.items() for name in names.split()}
_CLASSES[""] = (SILENCE,)

# What aligners' dictionaries write beside these: diphthongs with a glide, allophones.
_ALIGNED = {
    "ae": "æː",
    "aa": "ɑ ɒː",
    "ah": "ɐː",
    "eh": "ɛː",
    "er": "ɝ ɝː ɞ ɹ̩ ɚː",
    "ih": "ɪə ɨ",
    "uh": "ʊː",
    "uw": "u",
    "ey": "ej ɛɪ",
    "ay": "aj ɑɪ",
    "oy": "ɔj oɪ",
    "aw": "aw",
    "ow": "ow əw",
    "l": "ɫ ʎ l̩ ɫ̩",
    "r": "ɻ",
    "m": "ɱ m̩",
    "n": "ɲ ɾ̃",
    "ng": "ŋ̍ ŋ̩",
    "v": "ʋ",
    "hh": "ç ɦ x",
    "ch": "ʧ tɕ",
    "jh": "ʤ dʑ",
    "t": "ʈ",
    "d": "ɖ",
    "k": "c kp",
    "g": "ɟ ɡb",
}
_ALIGNED_CLASSES = {name: unit for unit, names in _ALIGNED.items() for name in names.split()}

_LETTERS = {
    "vowel": "iyɨʉɯuɪʏʊeøɘɵɤoəɛœɜɞʌɔæɐaɶɑɒɚɝᵻ",
    "nasal": "mɱnɳɲŋɴ",
    "stop": "pbtdʈɖcɟkɡqɢʡʔɓɗʄɠʛɾɽⱱʘǀǃǂǁ",
    "affricate": "ʦʣʧʤʨʥ",
    "fricative": "ɸβfvθðszʃʒʂʐçʝxɣχʁħʕhɦɬɮɕʑɧʜʢ",
    "semivowel": "ʋɹɻjɰlɭʎʟwʍɥrʀʙɫɺ",
}
_MANNERS = {letter: manner for manner, letters in _LETTERS.items() for letter in letters}
_VOWEL_AND = {"j": "diphthong", "w": "diphthong", "ɥ": "diphthong", "ɹ": "vowel"}
_PAIRS = {
    ("stop", "fricative"): "affricate",
    ("stop", "stop"): "stop",
    ("nasal", "stop"): "stop",
}


def ipa_classes(name: str) -> tuple[str, ...]:
    """The one or two classes of a phone name of eSpeak NG; the empty name is a pause.

    Raises `KeyError` for a name of another accent.
    """
    bare = name.translate(_STRESS)
    if bare not in _CLASSES:
        raise KeyError(f"eSpeak NG's phone {name!r} has no class: add it to the table of ipa.py")
    return _CLASSES[bare]


def ipa_class(label: str) -> str | None:
    """The class of a label of English, None where it has none of the 39.

    Marks of stress, aspiration, place and length are looked past where the label with them has no
    class of its own. A vowel that glides into the next (ɪə) has the class of its first part.
    """
    bare = _plain(label)
    if not all(_is_letter(c) or _is_mark(c) for c in bare):
        return None
    letters = "".join(c for c in bare if _is_letter(c))
    for name in (bare, "".join(c for c in bare if _is_letter(c) or c == "ː"), letters):
        if name in _ALIGNED_CLASSES:
            return _ALIGNED_CLASSES[name]
        if name and name in _CLASSES:
            return _CLASSES[name][0]
    return None


def ipa_manner(label: str) -> str:
    """Manner of articulation of a label of any language; empty for what is no phone of the IPA.

    Different vowels, or a vowel and a glide, are a diphthong; a stop and a fricative are an
    affricate. Trills, laterals and glides are counted as semivowels and taps as stops, as Lee & Hon
    group theirs.
    """
    bare = _plain(label)
    letters = [c for c in bare if _is_letter(c)]
    manners = [_MANNERS.get(c, "") for c in letters]
    if not all(_is_letter(c) or _is_mark(c) for c in bare) or not all(manners) or not letters:
        return ""
    if set(manners[:2]) == {"vowel"} and len(set(letters)) == len(letters) <= 3:
        return "vowel" if len(letters) == 1 else "diphthong"
    if len(letters) == 1:
        return manners[0]
    if manners[:-1] == ["vowel"]:
        return _VOWEL_AND.get(letters[-1], "")
    return _PAIRS.get(tuple(manners), "") if letters[0] != letters[-1] else ""


def is_glottal_stop(label: str) -> bool:
    """Whether a label is the glottal stop, which Lee & Hon delete."""
    return _plain(label) == "ʔ"


def _plain(label: str) -> str:
    """Without stress; every letter apart from its marks, but c with a cedilla, which is one."""
    bare = label.translate(_STRESS).replace("g", "ɡ").replace("c\u0327", "ç")
    return "".join(c if c == "ç" else unicodedata.normalize("NFD", c) for c in bare)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character) in ("Ll", "Lo", "Lu")


def _is_mark(character: str) -> bool:
    # Aspiration and length are letters that modify (Lm), tildes and ties Mn, tones Sk.
    return unicodedata.category(character) in ("Lm", "Mn", "Sk") or character == ":"
