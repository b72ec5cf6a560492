"""A corpus's settings in, its items out: cheap, sorted and picklable; and how each one is read.

`items(corpus)` lists without decoding anything; `read(item, corpus)` decodes one item, in whatever
process. A new kind of corpus is one line in `CORPORA`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from sat_jax.audio import talker
from sat_jax.audio.aligned import find_ctm
from sat_jax.audio.common_voice import list_common_voice
from sat_jax.audio.folder import list_folder
from sat_jax.audio.item import read_item
from sat_jax.audio.librispeech import list_librispeech
from sat_jax.audio.timit import list_timit
from sat_jax.audio.utterance import Decoded
from sat_jax.audio.vctk import list_vctk
from sat_jax.config import Corpus
from sat_jax.errors import InputError


class Reader(NamedTuple):
    """How a kind of corpus is listed and read, where its phones come from, and its own fields."""

    items: Callable[[Corpus], list[Any]]
    read: Callable[[Any, Corpus], Decoded]
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


def phone_source(corpus: Corpus) -> str:
    """Where the phones of a corpus come from, for a report."""
    return "CTM" if find_ctm(corpus) else CORPORA[corpus.kind].phone_source


def _check_fields(corpus: Corpus) -> None:
    """A field that the kind does not read is a mistake about the kind."""
    reads = CORPORA[corpus.kind].fields
    for name in ("path", "alignments", "speakers"):
        if getattr(corpus, name) is not None and name not in reads:
            raise InputError(
                f"corpus.{name} is {getattr(corpus, name)}, which corpus.kind {corpus.kind} does "
                "not read: leave it out, or give another --corpus.kind"
            )
    if "path" in reads and corpus.path is None:
        raise InputError(f"corpus.kind {corpus.kind} needs the root of a tree: give --corpus.path")


def _list_talker(corpus: Corpus) -> list[talker.Line]:
    return talker.script(corpus.talker.speakers, corpus.talker.utterances, corpus.seed)


def _read_talker(line: talker.Line, corpus: Corpus) -> Decoded:
    del corpus  # the talker's labels are the 39 classes in either phone set
    take = talker.perform(line)
    return Decoded(line.id, line.speaker, line.text, line.subset, take.audio, take.segments, ())


_TEXTGRIDS = "TextGrid tier phones"

CORPORA: dict[str, Reader] = {
    "talker": Reader(_list_talker, _read_talker, "eSpeak NG phoneme events", ()),
    "librispeech": Reader(list_librispeech, read_item, _TEXTGRIDS, ("path", "alignments")),
    "timit": Reader(list_timit, read_item, "TIMIT .PHN", ("path",)),
    "common_voice": Reader(list_common_voice, read_item, _TEXTGRIDS, ("path", "alignments")),
    "vctk": Reader(list_vctk, read_item, _TEXTGRIDS, ("path", "alignments")),
    "folder": Reader(list_folder, read_item, _TEXTGRIDS, ("path", "alignments", "speakers")),
}
