"""What trees of recordings share: finding files and their companions, saying what is not found.

Listing reads names and transcripts only.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from sat_jax.audio.item import Item
from sat_jax.audio.wav import SUFFIXES, UNREAD
from sat_jax.config import Corpus
from sat_jax.errors import InputError


def find_root(corpus: Corpus) -> Path:
    """`corpus.path` with its links resolved; raises `InputError` if it is not a folder."""
    root = corpus.path
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise InputError(f"corpus.path {root} {state}: give the root of a {corpus.kind} tree")
    # `.` and `..` have no name; the names of folders carry meaning here.
    return root.resolve()


def empty_tree(root: Path, pattern: str) -> InputError:
    """What to raise where a tree holds none of the files that `pattern` describes."""
    if unread := unread_audio(root):
        return InputError(f"corpus.path {root} holds no {pattern}, and {unread}")
    return InputError(f"corpus.path {root} holds no {pattern}: check --corpus.path and .kind")


def unread_audio(root: Path) -> str:
    """One line about the audio files of a tree that no reader reads; empty if there is none.

    Files beside a converted one of the same name are not meant.
    """
    files = walk(root, (*SUFFIXES, *UNREAD))
    converted = {companion(file, "") for file in files if file.suffix.lower() in SUFFIXES}
    unread = [
        file
        for file in files
        if file.suffix.lower() in UNREAD and companion(file, "") not in converted
    ]
    if not unread:
        return ""
    endings = ", ".join(sorted({file.suffix.lower() for file in unread}))
    count = f"{len(unread)} audio files are" if len(unread) > 1 else "1 audio file is"
    return (
        f"{count} in a format that is not read ({endings}; first: {unread[0]}): convert to wav or "
        f"flac, for each file: ffmpeg -i NAME{unread[0].suffix} NAME.flac"
    )


def walk(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
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


def companion(file: Path, suffix: str) -> str:
    """Path of a companion file whose suffix may be written in any case."""
    return f"{file.parent / file.stem}{suffix}"


def by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Files by their `companion` names."""
    return {companion(file, file.suffix.lower()): file for file in files}


def unique(items: Iterable[Item]) -> list[Item]:
    """Items as a list; raises `InputError` for an id that two share or that is not UTF-8."""
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
