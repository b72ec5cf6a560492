"""Phone labels of corpora and aligners in, the 39 classes of Lee & Hon out.

The classes are those of K.-F. Lee and H.-W. Hon, "Speaker-independent phone recognition using
hidden Markov models", IEEE Trans. ASSP 37(11), 1989, table 2: TIMIT's 61 labels fold to 48, of
which 9 more pairs are not told apart, and all closures and pauses are one silence.
"""

from typing import NamedTuple

from sat_jax.errors import InputError

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

# The glottal stop: Lee & Hon delete it before training and scoring.
DELETED = "q"

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

# What aligners write between words. `spn` is spoken noise or a word outside the dictionary: no
# phone is known for it, so it joins the class of everything that is not a phone, and is counted.
PAUSES = ("", "sil", "sp", "spn", "<eps>")
SPOKEN_NOISE = "spn"


class Segment(NamedTuple):
    """One labelled stretch of an utterance: samples `[start, end)` of 16 kHz."""

    start: int
    end: int
    label: str


def fold(label: str) -> str | None:
    """Class of a TIMIT or ARPAbet label (any case, with or without a stress digit).

    None stands for `q`, which has no class. Raises `InputError` for any other label.
    """
    bare = label.strip().lower()
    if bare in PAUSES:
        return SILENCE
    if bare == DELETED:
        return None
    if bare in TIMIT_FOLDING:
        return TIMIT_FOLDING[bare]
    if bare[-1] in "012" and bare[:-1] in TIMIT_FOLDING:
        return TIMIT_FOLDING[bare[:-1]]
    raise InputError(
        f"phone {label!r} is neither ARPAbet nor TIMIT; --corpus.phone-set as-is keeps any label"
    )


def fold_segments(segments: list[Segment]) -> list[Segment]:
    """Fold every label; delete `q` and join silences that touch. Segments must tile their span.

    Where Lee & Hon delete `q`, its time has to go somewhere: each neighbour takes half, the only
    neighbour takes all. Silences that touch (a closure and a pause) have no boundary between them.
    """
    folded = [(start, end, fold(label)) for start, end, label in segments]
    kept: list[list] = []
    hole = None
    for start, end, label in folded:
        if label is None:
            hole = start if hole is None else hole
            continue
        if hole is not None:
            middle = (hole + start) // 2 if kept else hole
            if kept:
                kept[-1][1] = middle
            start, hole = middle, None
        kept.append([start, end, label])
    if hole is not None:
        if kept:
            kept[-1][1] = folded[-1][1]
        else:
            kept.append([hole, folded[-1][1], SILENCE])
    return join_silences([Segment(*entry) for entry in kept])


def join_silences(segments: list[Segment]) -> list[Segment]:
    """One silence in place of several in a row."""
    joined: list[Segment] = []
    for segment in segments:
        if joined and segment.label == SILENCE == joined[-1].label:
            joined[-1] = joined[-1]._replace(end=segment.end)
        else:
            joined.append(segment)
    return joined


def keep_labels(segments: list[Segment]) -> list[Segment]:
    """Labels as they are, except that an empty label is called `sil`; silences are joined."""
    return join_silences(
        [s._replace(label=s.label.strip() or SILENCE) for s in segments],
    )
