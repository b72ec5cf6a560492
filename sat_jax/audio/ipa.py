"""A phone name of eSpeak NG in, one or two of Lee & Hon's classes out.

The names are those of the four accents that the talker uses; stress marks carry no class.
"""
# ruff: noqa: RUF001 (letters of the IPA look like others; they are meant)

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


def ipa_classes(name: str) -> tuple[str, ...]:
    """The one or two classes of a phone name; the empty name is a pause.

    Raises `KeyError` for a name of another accent.
    """
    bare = name.translate(_STRESS)
    if bare not in _CLASSES:
        raise KeyError(f"eSpeak NG's phone {name!r} has no class: add it to the table of ipa.py")
    return _CLASSES[bare]
