"""What trees of recordings share: finding files, their companions and their alignments.

Listing reads names and transcripts only. A tree has phones if any of its recordings has an
alignment; then one that lacks it is a bad item.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from sat_jax.audio.item import Item
from sat_jax.config import Corpus
from sat_jax.errors import InputError

_TEXTGRID = (".textgrid",)


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
    return InputError(f"corpus.path {root} holds no {pattern}: check --corpus.path and .kind")


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


def find_alignments(corpus: Corpus, root: Path, audio: list[Path]) -> dict[Path, Path]:
    """TextGrid of each recording (where it would be, if it is missing); empty if none has one."""
    if corpus.alignments is None:
        mirror, grids = root, by_name(walk(root, _TEXTGRID))
    else:
        if not corpus.alignments.is_dir():
            raise InputError(
                f"corpus.alignments {corpus.alignments} is not a folder: give a tree of TextGrids"
            )
        mirror = corpus.alignments.resolve()
        grids = by_name(walk(mirror, _TEXTGRID))
    found: dict[Path, Path | None] = {}
    for file in audio:
        relative = file.relative_to(root)
        places = [mirror / relative, mirror / root.name / relative]
        if corpus.kind == "librispeech" and len(relative.parts) > 1:
            places.append(mirror.joinpath(*relative.parts[1:]))
        keys = (companion(place, _TEXTGRID[0]) for place in places)
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
