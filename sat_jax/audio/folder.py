"""The root of any tree of recordings in, one item per file out."""

import csv
from pathlib import Path

from sat_jax.audio.aligned import align
from sat_jax.audio.item import Item
from sat_jax.audio.tree import (
    by_name,
    companion,
    empty_tree,
    find_root,
    unique,
    walk,
)
from sat_jax.audio.wav import SUFFIXES
from sat_jax.config import Corpus
from sat_jax.errors import InputError


def list_folder(corpus: Corpus) -> list[Item]:
    """Items of any tree of audio files; an id is the path without its suffix.

    The speaker is the parent folder, or stands in the CSV `corpus.speakers`. A `.txt` and a
    `.TextGrid` of the same stem belong to the recording.
    """
    root = find_root(corpus)
    audio = walk(root, SUFFIXES)
    if not audio:
        raise empty_tree(root, "*.wav, *.flac, *.mp3, *.ogg or *.opus")
    beside = by_name(walk(root, (".txt",)))
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
    items = [
        Item(
            id=ids[file],
            speaker=speakers[file],
            subset="",
            audio=file,
            alignment=None,
            text="",
            text_file=beside.get(companion(file, ".txt")),
        )
        for file in audio
    ]
    return unique(align(corpus, root, items))


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
