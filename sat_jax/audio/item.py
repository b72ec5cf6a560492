"""One recording and the files that belong to it in, its audio, phones and text out."""

import re
from pathlib import Path
from typing import NamedTuple

from sat_jax import stalls
from sat_jax.audio.alignments import check_phones, noise_notes, read_phn, read_textgrid
from sat_jax.audio.ctm import Lines, read_ctm
from sat_jax.audio.faults import BadItem
from sat_jax.audio.phone_labels import map_segments
from sat_jax.audio.phones import Segment
from sat_jax.audio.utterance import Decoded
from sat_jax.audio.wav import read_audio
from sat_jax.config import Corpus
from sat_jax.errors import InputError
from sat_jax.grid import SAMPLE_RATE

_TEXTGRID = (".textgrid",)


class Item(NamedTuple):
    """One recording of a tree: its names, and the files that belong to it.

    `subset` is train, valid, test or empty. A transcript is `text`, or the content of `text_file`.
    `lines` say where the utterance stands if the alignment is a CTM file.
    """

    id: str
    speaker: str
    subset: str
    audio: Path
    alignment: Path | None
    text: str
    text_file: Path | None
    lines: Lines | None = None


def read_item(item: Item, corpus: Corpus) -> Decoded:
    """Decode an item: audio as 16 kHz mono, phones by the corpus's resolved map, tiling the audio.

    Raises `BadItem` for every fault of its files.
    """
    with stalls.waiting_for(f"recording {item.audio}"):
        recording = read_audio(item.audio)
    notes, segments = recording.notes, None
    if item.alignment is not None:
        stated = read_segments(item, corpus, recording.rate)
        where = item.alignment if item.lines is None else item.lines.place(item.alignment)
        tiled = check_phones(stated, len(recording.audio), where)
        notes += noise_notes(stated)
        try:
            segments = map_segments(tiled, corpus)
        except InputError as error:
            raise BadItem(where, "unknown phone", str(error), "or correct the label") from error
    text = item.text if item.text_file is None else read_text(item.text_file)
    if corpus.kind == "timit":
        text = re.sub(r"^\d+\s+\d+\s+", "", text)  # first and last sample
    if corpus.kind != "folder" and not text:
        notes += ("without a transcript",)
    return Decoded(item.id, item.speaker, text, item.subset, recording.audio, segments, notes)


def read_segments(item: Item, corpus: Corpus, rate: int = SAMPLE_RATE) -> list[Segment]:
    """Segments of an item's alignment as its file states them; `rate` (Hz) is the recording's."""
    if item.lines is not None:
        return read_ctm(item.alignment, item.lines)
    if item.alignment.suffix.lower() in _TEXTGRID:
        return read_textgrid(item.alignment, corpus.tier)
    return read_phn(item.alignment, rate)


def read_text(path: Path) -> str:
    """A transcript, or a table of them, without white space around it; `BadItem` if not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadItem(
            path, "unreadable transcript", f"cannot be read ({error})", "save it as UTF-8 text"
        ) from error
