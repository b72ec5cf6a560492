"""A corpus's settings in, its items out: cheap, sorted and picklable; and how each one is read.

`items(corpus)` lists without decoding anything; `read(item, corpus)` decodes one item, in whatever
process. A new kind of corpus is one line in `CORPORA`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

from sat_jax.audio import talker
from sat_jax.audio.common_voice import list_common_voice
from sat_jax.audio.faults import BadItem
from sat_jax.audio.folder import list_folder
from sat_jax.audio.item import read_item, read_segments
from sat_jax.audio.librispeech import list_librispeech
from sat_jax.audio.phone_labels import resolve
from sat_jax.audio.phones import Segment
from sat_jax.audio.timit import list_timit
from sat_jax.audio.utterance import Decoded
from sat_jax.audio.vctk import list_vctk
from sat_jax.config import Corpus
from sat_jax.errors import InputError

SAMPLED = 256
"""Alignments that are read to find out how a corpus writes its labels."""
_OWN = ("path", "alignments", "speakers", "phone_set", "phone_map", "silence", "tier")


class Reader(NamedTuple):
    """How a kind of corpus is listed and read, where its phones come from, and its own fields.

    `segments` reads an item's alignment alone; None where labels are made with the speech.
    """

    items: Callable[[Corpus], list[Any]]
    read: Callable[[Any, Corpus], Decoded]
    segments: Callable[[Any, Corpus], list[Segment]] | None
    phone_source: str
    fields: tuple[str, ...]


def list_items(corpus: Corpus) -> list[Any]:
    """Items of a corpus, sorted by id, none of them decoded.

    Raises `InputError` for an unknown kind, settings of another kind, an empty tree, or an id that
    two files share.
    """
    if corpus.kind not in CORPORA:
        raise InputError(
            f"corpus.kind {corpus.kind!r} is unknown: give one of {', '.join(CORPORA)}"
        )
    if corpus.seed < 0:
        raise InputError(f"corpus.seed is {corpus.seed}: give 0 or more")
    _check_fields(corpus)
    return sorted(CORPORA[corpus.kind].items(corpus), key=lambda item: item.id)


def with_phone_map(items: list[Any], corpus: Corpus) -> Corpus:
    """The corpus with the phone map that knows its labels, by a sample of its alignments.

    Raises `InputError` that names and counts labels which the map does not know. Alignments that
    cannot be read are left to whoever reads them all.
    """
    segments = CORPORA[corpus.kind].segments
    if segments is None:
        return corpus
    aligned = [item for item in items if item.alignment is not None]
    labels: Counter = Counter()
    for item in aligned[:: max(1, len(aligned) // SAMPLED)]:
        try:
            labels.update(segment.label for segment in segments(item, corpus))
        except BadItem:
            continue
    return resolve(corpus, labels)


def _check_fields(corpus: Corpus) -> None:
    """A field that the kind does not read is a mistake about the kind."""
    reads = CORPORA[corpus.kind].fields
    default = {field.name: field.default for field in fields(Corpus)}
    for name in _OWN:
        if (value := getattr(corpus, name)) != default[name] and name not in reads:
            raise InputError(
                f"corpus.{name.replace('_', '-')} is {value}, which corpus.kind {corpus.kind} does "
                "not read: leave it out, or give another --corpus.kind"
            )
    if "path" in reads and corpus.path is None:
        raise InputError(f"corpus.kind {corpus.kind} needs the root of a tree: give --corpus.path")


def _list_talker(corpus: Corpus) -> list[talker.Line]:
    return talker.script(corpus.talker.speakers, corpus.talker.utterances, corpus.seed)


def _read_talker(line: talker.Line, corpus: Corpus) -> Decoded:
    del corpus
    take = talker.perform(line)
    return Decoded(line.id, line.speaker, line.text, line.subset, take.audio, take.segments, ())


_TEXTGRIDS = "TextGrid"
_LABELS = ("phone_set", "phone_map", "silence")
_GRIDS = ("alignments", "tier", *_LABELS)

CORPORA: dict[str, Reader] = {
    "talker": Reader(_list_talker, _read_talker, None, "eSpeak NG phoneme events", ()),
    "librispeech": Reader(
        list_librispeech, read_item, read_segments, _TEXTGRIDS, ("path", *_GRIDS)
    ),
    "timit": Reader(list_timit, read_item, read_segments, "TIMIT .PHN", ("path", *_LABELS)),
    "common_voice": Reader(
        list_common_voice, read_item, read_segments, _TEXTGRIDS, ("path", *_GRIDS)
    ),
    "vctk": Reader(list_vctk, read_item, read_segments, _TEXTGRIDS, ("path", *_GRIDS)),
    "folder": Reader(
        list_folder, read_item, read_segments, _TEXTGRIDS, ("path", "speakers", *_GRIDS)
    ),
}
