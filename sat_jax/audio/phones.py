"""Phone labels of corpora and aligners in, the 39 classes of Lee & Hon out.

The classes are those of K.-F. Lee and H.-W. Hon, "Speaker-independent phone recognition using
hidden Markov models", IEEE Trans. ASSP 37(11), 1989, table 2: TIMIT's 61 labels fold to 48, of
which 9 more pairs are not told apart, and all closures and pauses are one silence.
"""

from typing import NamedTuple

SILENCE = "sil"

# The order of every phone axis and every figure: by manner, and within it from front to back
# (vowels: from high to low), voiceless beside voiced.
_BY_MANNER = {
    "silence": (SILENCE,),
    "vowel": ("iy", "ih", "eh", "ae", "aa", "ah", "uh", "uw", "er"),
    "diphthong": ("ey", "ay", "oy", "aw", "ow"),
    "semivowel": ("l", "r", "w", "y"),
    "nasal": ("m", "n", "ng"),
    "affricate": ("ch", "jh"),
    "fricative": ("f", "v", "th", "dh", "s", "z", "sh", "hh"),
    "stop": ("p", "b", "t", "d", "dx", "k", "g"),
}
PHONES: tuple[str, ...] = tuple(phone for group in _BY_MANNER.values() for phone in group)
MANNER: dict[str, str] = {phone: manner for manner, group in _BY_MANNER.items() for phone in group}

DELETED = ""
"""In place of the class of the glottal stop, which Lee & Hon delete before training and scoring."""

TIMIT_FOLDING: dict[str, str] = {
    **{phone: phone for phone in PHONES if phone != SILENCE},
    **dict.fromkeys(("pcl", "tcl", "kcl", "bcl", "dcl", "gcl", "h#", "pau", "epi"), SILENCE),
    "ao": "aa",
    "ax": "ah",
    "ax-h": "ah",
    "axr": "er",
    "el": "l",
    "em": "m",
    "en": "n",
    "eng": "ng",
    "hv": "hh",
    "ix": "ih",
    "nx": "n",
    "ux": "uw",
    "zh": "sh",
}
"""TIMIT's labels to classes; with `q`, which has no class, these are the 61."""


class Segment(NamedTuple):
    """One labelled stretch of an utterance: samples `[start, end)` of 16 kHz."""

    start: int
    end: int
    label: str


def fold(label: str) -> str | None:
    """Class of a TIMIT or ARPAbet label (any case, with or without a stress digit).

    Kaldi's marks of a phone's place in the word (`AH0_B`) are looked past.
    `q`, which has no class, is folded to `DELETED`; None stands for any other label.
    """
    bare = label.strip().lower()
    if bare[-2:] in ("_b", "_i", "_e", "_s"):
        bare = bare[:-2]
    if bare == "q":
        return DELETED
    if bare[-1:] in ("0", "1", "2") and bare[:-1] in TIMIT_FOLDING:
        bare = bare[:-1]
    return TIMIT_FOLDING.get(bare)


def join_silences(segments: list[Segment]) -> list[Segment]:
    """One silence in place of several in a row."""
    joined: list[Segment] = []
    for segment in segments:
        if joined and segment.label == SILENCE == joined[-1].label:
            joined[-1] = joined[-1]._replace(end=segment.end)
        else:
            joined.append(segment)
    return joined
