"""Labels of a corpus in, its phones and their manners of articulation out.

A map knows a label's phone: one of the tables for TIMIT and ARPAbet, IPA and SAMPA, or a user's CSV
file. `resolve` chooses the table that knows the labels of a corpus.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sat_jax.audio.ipa import ipa_class, ipa_manner, is_glottal_stop
from sat_jax.audio.phones import DELETED, MANNER, SILENCE, Segment, fold, join_silences
from sat_jax.audio.sampa import ipa_of_sampa
from sat_jax.config import Corpus
from sat_jax.errors import InputError

SPOKEN_NOISE = "spn"
SILENCES = ("", "sil", "sp", SPOKEN_NOISE, "pau", "<eps>", "<sil>", "<p:>", "<p>", "p:", "#", "##")
SILENCES += ("_", "silence", "pause", "<nib>", "<usb>", "<pause>", "[sil]", "[silence]", "(...)")
"""Labels of what is not speech, in any case: of MFA, Praat users, Kaldi, BAS (MAUS) and Buckeye.

`spn` (spoken noise: a word outside the dictionary) and `<usb>` have no known phone: they join what
is not a phone.
"""
KNOWN = 0.9
"""Share of the intervals that are speech which a table has to know before it is taken."""
COLUMNS = ("label", "phone", "manner")
_ORDER = tuple(dict.fromkeys(MANNER.values()))


class Phone(NamedTuple):
    """What a label stands for: the phone's name and its manner, empty where it is not known.

    An empty name deletes the label: its time goes to its neighbours.
    """

    name: str
    manner: str


_SIL = Phone(SILENCE, MANNER[SILENCE])


def find_phone(label: str, corpus: Corpus) -> Phone | None:
    """The phone of a label under `corpus.phone_map` (resolved), `.phone_set` and `.silence`.

    None where the map does not know it; with the phone set as-is every label is a phone.
    """
    bare = label.strip()
    if bare in corpus.silence:
        return _SIL
    if corpus.phone_map not in TABLES:
        mine = read_phone_map(Path(corpus.phone_map))
        return mine.get(bare) or (_SIL if bare.lower() in SILENCES else None)
    if bare.lower() in SILENCES:
        return _SIL
    found = TABLES[corpus.phone_map](bare)
    if corpus.phone_set == "timit39":
        return None if found.name is None else Phone(found.name, MANNER.get(found.name, ""))
    return _SIL if found.manner == _SIL.manner else Phone(bare, found.manner)


def manners_of(names: Iterable[str]) -> tuple[str, ...]:
    """Manner of each phone name, by the table that knows most of them, and half at least.

    Empty where it is not known.
    """
    names = tuple(names)
    best, share = _best(Counter(names), "as-is")
    table = TABLES[best if share >= 0.5 else "none"]
    return tuple(_SIL.manner if name.lower() in SILENCES else table(name).manner for name in names)


def map_segments(segments: list[Segment], corpus: Corpus) -> list[Segment]:
    """Segments with phones for labels; deleted ones are shared out and silences joined.

    Segments must tile their span. Where a label is deleted (Lee & Hon's glottal stop), its time has
    to go somewhere: each neighbour takes half, the only neighbour takes all. Silences that touch (a
    closure and a pause) have no boundary between them. Raises `InputError` for an unknown label.
    """
    kept: list[list] = []
    hole = None
    for start, end, label in segments:
        phone = find_phone(label, corpus)
        if phone is None:
            raise InputError(f"{_no_phone(repr(label), corpus)}; {cure(corpus)}")
        if phone.name == DELETED:
            hole = start if hole is None else hole
            continue
        if hole is not None:
            middle = (hole + start) // 2 if kept else hole
            if kept:
                kept[-1][1] = middle
            start, hole = middle, None
        kept.append([start, end, phone.name])
    if hole is not None:
        if kept:
            kept[-1][1] = segments[-1].end
        else:
            kept.append([hole, segments[-1].end, SILENCE])
    return join_silences([Segment(*entry) for entry in kept])


def ordered(names: Iterable[str], corpus: Corpus) -> list[Phone]:
    """The phones of these names (of `map_segments`) in the order of axes: silence, then by manner.

    Manners stand as in `PHONES`, those of the user's own after them, the unknown last; phones as in
    the user's file, or by name.
    """
    names = set(names)
    if corpus.phone_map in TABLES:
        phones = {find_phone(name, corpus) for name in names - {SILENCE}} | {_SIL}
        phones = sorted(phone for phone in phones if phone and phone.name in names)
    else:
        mine = dict.fromkeys([_SIL, *read_phone_map(Path(corpus.phone_map)).values()])
        phones = [phone for phone in mine if phone.name in names]
    manners = dict.fromkeys((*_ORDER, *(phone.manner for phone in phones if phone.manner), ""))
    rank = {manner: i for i, manner in enumerate(manners)}
    return sorted(phones, key=lambda phone: rank[phone.manner])


def resolve(corpus: Corpus, labels: Mapping[str, int]) -> Corpus:
    """The corpus with the map that knows its labels (label to number of intervals, of a sample).

    Raises `InputError` that names and counts the labels that no map knows, unless such utterances
    are left out (`corpus.skip_bad`), for a name that is neither a map's nor a file's, and for a
    file that is no phone map.
    """
    if corpus.phone_map == "auto":
        name, share = _best(Counter(labels), corpus.phone_set)
        corpus = replace(corpus, phone_map=name)
        if share < KNOWN and corpus.phone_set == "as-is":
            corpus = replace(corpus, phone_map="none")
    elif corpus.phone_map not in TABLES:
        read_phone_map(Path(corpus.phone_map))
    unknown = {label: n for label, n in labels.items() if find_phone(label, corpus) is None}
    if unknown and not corpus.skip_bad:
        most = sorted(unknown, key=lambda label: (-unknown[label], label))
        named = ", ".join(f"{label!r} ({unknown[label]})" for label in most[:12])
        more = f" and {len(most) - 12} more labels" if len(most) > 12 else ""
        count = f"{sum(unknown.values())} of {sum(labels.values())} intervals"
        raise InputError(
            f"{_no_phone(f'{named}{more}: {count}', corpus)}; {cure(corpus)}, or leave such "
            "utterances out: --corpus.skip-bad"
        )
    return corpus


def cure(corpus: Corpus) -> str:
    """What a user does about a label that the map does not know."""
    if corpus.phone_map not in TABLES:
        return "add a line for it, or list it under --corpus.silence"
    return (
        "keep labels as they are with --corpus.phone-set as-is, or give a CSV file with the "
        f"columns {','.join(COLUMNS)}: --corpus.phone-map FILE.csv"
    )


@cache
def read_phone_map(path: Path) -> dict[str, Phone]:
    """Label to phone, in the order of a CSV file with the columns label, phone and manner.

    An empty phone deletes the label; the manner silence makes it silence. Raises `InputError` that
    names the line.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"corpus.phone-map {path} cannot be read ({error}): give one of auto, "
            f"{', '.join(TABLES)}, or a CSV file with the columns {','.join(COLUMNS)}"
        ) from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise InputError(
            f"{path}, line 1: no column {missing[0]!r} (columns: "
            f"{', '.join(columns) or 'none'}); its first line has to be "
            f"{','.join(COLUMNS)}"
        )
    phones: dict[str, Phone] = {}
    manners: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        label, name, manner = ((row[column] or "").strip() for column in COLUMNS)
        phone = _SIL if manner == _SIL.manner or name == SILENCE else Phone(name, manner)
        if phones.setdefault(label, phone) != phone:
            raise InputError(f"{path}, line {number}: {label!r} has two phones; delete one line")
        if manners.setdefault(name, phone.manner) != phone.manner and name:
            raise InputError(
                f"{path}, line {number}: phone {name!r} is {phone.manner!r} here and "
                f"{manners[name]!r} above; a phone has one manner"
            )
    return phones


class _Entry(NamedTuple):
    name: str | None  # one of the 39 classes, DELETED, or None
    manner: str


def _timit(label: str) -> _Entry:
    name = fold(label)
    if name == DELETED or label.lower() in ("pcl", "tcl", "kcl", "bcl", "dcl", "gcl"):
        return _Entry(name, "stop")
    return _Entry(name, MANNER.get(name or "", ""))


def _ipa(label: str) -> _Entry:
    if is_glottal_stop(label):
        return _Entry(DELETED, "stop")
    return _Entry(ipa_class(label), ipa_manner(label))


def _sampa(label: str) -> _Entry:
    return _ipa(ipa_of_sampa(label))


TABLES = {
    "timit": _timit,
    "arpabet": _timit,
    "ipa": _ipa,
    "sampa": _sampa,
    "none": lambda label: _Entry(None, ""),
}
"""Maps by name. TIMIT's labels and ARPAbet's do not collide, so one table knows both."""


def _best(labels: Counter, phone_set: str) -> tuple[str, float]:
    """The table that knows most intervals of speech, the first of several; and their share."""
    spoken = {label.strip(): n for label, n in labels.items() if label.lower() not in SILENCES}

    def is_known(entry: _Entry) -> bool:
        return entry.name is not None if phone_set == "timit39" else bool(entry.manner)

    shares = {
        name: sum(n for label, n in spoken.items() if is_known(TABLES[name](label)))
        / max(sum(spoken.values()), 1)
        for name in ("timit", "ipa", "sampa")
    }
    best = max(shares, key=shares.get)
    return best, shares[best] if spoken else 1.0


def _no_phone(what: str, corpus: Corpus) -> str:
    if corpus.phone_map not in TABLES:
        return f"labels without a line in {corpus.phone_map}: {what}"
    return f"labels without a class among the 39 by the map {corpus.phone_map}: {what}"
