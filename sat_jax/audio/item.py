"""One recording and the files that belong to it in, its audio, phones and text out."""

import re
from pathlib import Path
from typing import NamedTuple

from sat_jax.audio.alignments import check_phones, noise_notes, read_phn, read_textgrid
from sat_jax.audio.ctm import Lines, read_ctm
from sat_jax.audio.faults import BadItem
from sat_jax.audio.phones import fold_segments, keep_labels
from sat_jax.audio.utterance import Decoded
from sat_jax.audio.wav import read_audio
from sat_jax.config import Corpus
from sat_jax.errors import InputError

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
    """Decode an item: audio as 16 kHz mono, phones in `corpus.phone_set`, tiling the audio.

    Raises `BadItem` for every fault of its files.
    """
    recording = read_audio(item.audio)
    notes, segments = recording.notes, None
    if item.alignment is not None:
        where: object = item.alignment
        if item.lines is not None:
            where = f"{item.alignment}, from line {item.lines.number} ({item.lines.utterance})"
            stated = read_ctm(item.alignment, item.lines)
        elif item.alignment.suffix.lower() in _TEXTGRID:
            stated = read_textgrid(item.alignment)
        else:
            stated = read_phn(item.alignment, recording.rate)
        tiled = check_phones(stated, len(recording.audio), where)
        if corpus.phone_set == "as-is":
            segments = keep_labels(tiled)
        else:
            notes += noise_notes(stated)
            try:
                segments = fold_segments(tiled)
            except InputError as error:
                raise BadItem(where, "unknown phone", str(error), "or correct the label") from error
    text = item.text if item.text_file is None else read_text(item.text_file)
    if corpus.kind == "timit":
        text = re.sub(r"^\d+\s+\d+\s+", "", text)  # first and last sample
    if corpus.kind != "folder" and not text:
        notes += ("without a transcript",)
    return Decoded(item.id, item.speaker, text, item.subset, recording.audio, segments, notes)


def read_text(path: Path) -> str:
    """A transcript, or a table of them, without white space around it; `BadItem` if not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadItem(
            path, "unreadable transcript", f"cannot be read ({error})", "save it as UTF-8 text"
        ) from error
