"""The root of a tree of recordings in, one item per utterance out; and an item in, its audio out.

Listing reads names and transcripts only. A tree has phones if any of its recordings has an
alignment; then one that lacks it is a bad item.
"""

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sat_jax.audio.alignments import check_phones, noise_notes, read_phn, read_textgrid
from sat_jax.audio.faults import BadItem
from sat_jax.audio.phone_maps import map_segments
from sat_jax.audio.phones import Segment
from sat_jax.audio.utterance import Decoded
from sat_jax.audio.wav import SUFFIXES, read_audio
from sat_jax.config import Corpus
from sat_jax.errors import InputError
from sat_jax.shapes import SAMPLE_RATE

_LIBRISPEECH_SUBSET = re.compile(r"(train|dev|test)(-.+)?")
_TEXTGRID = (".textgrid",)


class Item(NamedTuple):
    """One recording of a tree: its names, and the files that belong to it.

    `subset` is train, valid, test or empty. A transcript is `text`, or the content of `text_file`.
    """

    id: str
    speaker: str
    subset: str
    audio: Path
    alignment: Path | None
    text: str
    text_file: Path | None


def read_item(item: Item, corpus: Corpus) -> Decoded:
    """Decode an item: audio as 16 kHz mono, phones by the corpus's resolved map, tiling the audio.

    Raises `BadItem` for every fault of its files.
    """
    recording = read_audio(item.audio)
    notes, segments = recording.notes, None
    if item.alignment is not None:
        stated = read_segments(item, corpus, recording.rate)
        tiled = check_phones(stated, len(recording.audio), item.alignment)
        notes += noise_notes(stated)
        try:
            segments = map_segments(tiled, corpus)
        except InputError as error:
            raise BadItem(
                item.alignment, "unknown phone", str(error), "or correct the label"
            ) from error
    text = item.text if item.text_file is None else _read_text(item.text_file)
    if corpus.kind == "timit":
        text = re.sub(r"^\d+\s+\d+\s+", "", text)  # first and last sample
    if corpus.kind != "folder" and not text:
        notes += ("without a transcript",)
    return Decoded(item.id, item.speaker, text, item.subset, recording.audio, segments, notes)


def read_segments(item: Item, corpus: Corpus, rate: int = SAMPLE_RATE) -> list[Segment]:
    """Segments of an item's alignment as its file states them; `rate` (Hz) is the recording's."""
    if item.alignment.suffix.lower() in _TEXTGRID:
        return read_textgrid(item.alignment, corpus.tier)
    return read_phn(item.alignment, rate)


def list_librispeech(corpus: Corpus) -> list[Item]:
    """Items of `[SUBSET/]SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac` with `.trans.txt` files.

    MFA TextGrids are looked for beside the audio, or under `corpus.alignments` with or without the
    folder of the subset. dev folders are valid.
    """
    root = _root(corpus)
    audio = [f for f in _walk(root, (".flac",)) if re.fullmatch(r"[^-]+-[^-]+-[^-]+", f.stem)]
    if not audio:
        raise _empty(root, "*/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac")
    texts: dict[str, str] = {}
    for file in _walk(root, (".trans.txt",)):
        for line in _read_text(file).splitlines():
            name, _, text = line.partition(" ")
            texts[name] = text.strip()
    grids = _find_alignments(corpus, root, audio)
    items = []
    for file in audio:
        # The root itself may be a subset.
        parents = (root.name, *file.relative_to(root).parts[:-1])
        match = next(filter(None, map(_LIBRISPEECH_SUBSET.fullmatch, parents)), None)
        subset = {"train": "train", "dev": "valid", "test": "test"}[match[1]] if match else ""
        speaker, text = file.stem.split("-")[0], texts.get(file.stem, "")
        items.append(Item(file.stem, speaker, subset, file, grids.get(file), text, None))
    return _unique(items)


def list_timit(corpus: Corpus) -> list[Item]:
    """Items of `TRAIN|TEST/DR?/SPEAKER/SENTENCE.WAV` in any case, with .PHN and .TXT beside them.

    Sentences are spoken by many, so an id is `SPEAKER_SENTENCE`.
    """
    root = _root(corpus)
    found = []
    for file in _walk(root, (".wav",)):
        parents = [part.upper() for part in (root.name, *file.relative_to(root).parts[:-1])]
        subset = next((part for part in parents if part in ("TRAIN", "TEST")), None)
        if subset is not None and len(parents) >= 3:
            found.append((file, subset.lower(), parents[-1]))
    if not found:
        raise _empty(root, "TRAIN|TEST/DR?/SPEAKER/SENTENCE.WAV")
    beside = _by_name(_walk(root, (".phn", ".txt")))
    stems = {file: file.parent / file.name.split(".")[0] for file, _, _ in found}
    phones = {file: beside.get(f"{stem}.phn") for file, stem in stems.items()}
    aligned = any(phones.values())
    return _unique(
        Item(
            id=f"{speaker}_{stems[file].name.upper()}",
            speaker=speaker,
            subset=subset,
            audio=file,
            alignment=(phones[file] or Path(f"{stems[file]}.PHN")) if aligned else None,
            text="",
            text_file=beside.get(f"{stems[file]}.txt"),
        )
        for file, subset, speaker in found
    )


def list_folder(corpus: Corpus) -> list[Item]:
    """Items of any tree of wav, flac and ogg files; an id is the path without its suffix.

    The speaker is the parent folder, or stands in the CSV `corpus.speakers`. A `.txt` and a
    `.TextGrid` of the same stem belong to the recording.
    """
    root = _root(corpus)
    audio = _walk(root, SUFFIXES)
    if not audio:
        raise _empty(root, "*.wav, *.flac or *.ogg")
    beside = _by_name(_walk(root, (".txt",)))
    grids = _find_alignments(corpus, root, audio)
    ids = {file: file.relative_to(root).with_suffix("").as_posix() for file in audio}
    speakers = {file: file.parent.name or root.resolve().name for file in audio}
    if corpus.speakers is not None:
        known = _read_speakers(corpus.speakers)
        unknown = [name for name in ids.values() if name not in known]
        if unknown:
            raise InputError(
                f"{corpus.speakers}: no line for the recording {unknown[0]!r} (and "
                f"{len(unknown) - 1} others); add one, ids are paths without suffix"
            )
        speakers = {file: known[name] for file, name in ids.items()}
    return _unique(
        Item(
            id=ids[file],
            speaker=speakers[file],
            subset="",
            audio=file,
            alignment=grids.get(file),
            text="",
            text_file=beside.get(_key(file, ".txt")),
        )
        for file in audio
    )


def _root(corpus: Corpus) -> Path:
    root = corpus.path
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise InputError(f"corpus.path {root} {state}: give the root of a {corpus.kind} tree")
    # `.` and `..` have no name; the names of folders carry meaning here.
    return root.resolve()


def _empty(root: Path, pattern: str) -> InputError:
    return InputError(f"corpus.path {root} holds no {pattern}: check --corpus.path and .kind")


def _walk(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files with one of the suffixes (any case) at any depth, sorted; hidden ones are left out.

    Links to folders are followed, each folder once.
    """

    def fail(error: OSError) -> None:
        raise InputError(
            f"{error.filename} cannot be listed ({error.strerror}): make it readable"
        ) from error

    files, seen = [], set()
    for folder, folders, names in os.walk(root, onerror=fail, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [
            Path(folder, name)
            for name in names
            if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return sorted(files)


def _key(file: Path, suffix: str) -> str:
    """Path of a companion file whose suffix may be written in any case."""
    return f"{file.parent / file.stem}{suffix}"


def _by_name(files: Iterable[Path]) -> dict[str, Path]:
    return {_key(file, file.suffix.lower()): file for file in files}


def _find_alignments(corpus: Corpus, root: Path, audio: list[Path]) -> dict[Path, Path]:
    """TextGrid of each recording (where it would be, if it is missing); empty if none has one."""
    if corpus.alignments is None:
        mirror, grids = root, _by_name(_walk(root, _TEXTGRID))
    else:
        if not corpus.alignments.is_dir():
            raise InputError(
                f"corpus.alignments {corpus.alignments} is not a folder: give a tree of TextGrids"
            )
        mirror = corpus.alignments.resolve()
        grids = _by_name(_walk(mirror, _TEXTGRID))
    found: dict[Path, Path | None] = {}
    for file in audio:
        relative = file.relative_to(root)
        places = [mirror / relative, mirror / root.name / relative]
        if corpus.kind == "librispeech" and len(relative.parts) > 1:
            places.append(mirror.joinpath(*relative.parts[1:]))
        keys = (_key(place, _TEXTGRID[0]) for place in places)
        found[file] = next((grids[key] for key in keys if key in grids), None)
    if not any(found.values()):
        if corpus.alignments is not None:
            expected = audio[0].relative_to(root).with_suffix(".TextGrid")
            raise InputError(
                f"corpus.alignments {mirror} has no TextGrid of this corpus: "
                f"expected for example {expected}"
            )
        return {}
    return {
        file: grid or (mirror / file.relative_to(root)).with_suffix(".TextGrid")
        for file, grid in found.items()
    }


def _unique(items: Iterable[Item]) -> list[Item]:
    by_id: dict[str, Item] = {}
    for item in items:
        try:
            item.id.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{item.audio!r}: its name is not UTF-8; rename it") from error
        other = by_id.setdefault(item.id, item)
        if other is not item:
            raise InputError(
                f"{other.audio} and {item.audio} have the same id {item.id!r}: "
                "rename or delete one of them"
            )
    return list(by_id.values())


def _read_speakers(path: Path) -> dict[str, str]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"corpus.speakers {path} cannot be read ({error}): give a CSV with columns id,speaker"
        ) from error
    known: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name, speaker = row.get("id"), row.get("speaker")
        if not name or not speaker:
            raise InputError(
                f"{path}, line {number}: expected a value in both columns, id and speaker"
            )
        if known.setdefault(name, speaker) != speaker:
            raise InputError(f"{path}, line {number}: {name!r} has two speakers; delete one line")
    return known


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadItem(
            path, "unreadable transcript", f"cannot be read ({error})", "save it as UTF-8 text"
        ) from error
