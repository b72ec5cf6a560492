"""Items without alignments in, the same items with theirs out, if any of them has one.

Alignments are TextGrids in a tree like that of the recordings, or CTM files. Where some recordings
have one, a recording that lacks it is a bad item.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sat_jax.audio.ctm import Lines, index_ctm
from sat_jax.audio.item import Item
from sat_jax.audio.tree import by_name, companion, walk
from sat_jax.config import Corpus
from sat_jax.errors import InputError

_TEXTGRID = (".textgrid",)
_CTM = (".ctm",)


def align(
    corpus: Corpus,
    root: Path,
    items: list[Item],
    elsewhere: Callable[[Path], list[Path]] = lambda relative: [],
) -> list[Item]:
    """Items with the TextGrids beside them, or with what `corpus.alignments` holds for them.

    There, a TextGrid has the path that its recording has under `root`, with or without the name of
    the root, or one that `elsewhere` makes of it. A CTM file names the id of an item, or its last
    part. Raises `InputError` for alignments of another corpus.
    """
    if files := find_ctm(corpus):
        if corpus.tier:
            raise InputError(
                f"corpus.tier is {corpus.tier!r}, and CTM files have no tiers: leave it out"
            )
        return _align_by_ctm(corpus, files, items)
    mirror = corpus.alignments.resolve() if corpus.alignments else root
    grids = by_name(walk(mirror, _TEXTGRID))
    found: list[Path | None] = []
    for item in items:
        relative = item.audio.relative_to(root)
        places = [relative, root.name / relative, *elsewhere(relative)]
        names = (companion(mirror / place, _TEXTGRID[0]) for place in places)
        found.append(next((grids[name] for name in names if name in grids), None))
    expected = [item.audio.relative_to(root).with_suffix(".TextGrid") for item in items]
    if not any(found):
        if corpus.alignments is not None:
            raise InputError(
                f"corpus.alignments {mirror} has no TextGrid of this corpus: "
                f"expected for example {expected[0]}"
            )
        return items
    return [
        item._replace(alignment=grid or mirror / place)
        for item, grid, place in zip(items, found, expected, strict=True)
    ]


def find_ctm(corpus: Corpus) -> list[Path]:
    """The CTM files of `corpus.alignments`, none if it is a tree of TextGrids."""
    given = corpus.alignments
    if given is None:
        return []
    if given.is_file() and given.suffix.lower() in _CTM:
        return [given.resolve()]
    if not given.is_dir():
        state = "is another file" if given.exists() else "does not exist"
        raise InputError(
            f"corpus.alignments {given} {state}: give a tree of TextGrids, or a file NAME.ctm"
        )
    files = walk(given.resolve(), _CTM)
    if files and (grids := walk(given.resolve(), _TEXTGRID)):
        raise InputError(
            f"corpus.alignments {given} holds CTM files and TextGrids ({files[0].name} and "
            f"{grids[0].name}): give the one or the other"
        )
    return files


def _align_by_ctm(corpus: Corpus, files: list[Path], items: list[Item]) -> list[Item]:
    index: dict[str, tuple[Path, Lines]] = {}
    for file in files:
        for name, lines in index_ctm(file).items():
            other, _ = index.setdefault(name, (file, lines))
            if other != file:
                raise InputError(
                    f"{file}, line {lines.number}: utterance {name!r} is in {other} too; delete "
                    "it in one of them"
                )
    ids = {item.id for item in items}
    sharers = Counter(_last_part(item) for item in items)
    aligned, missing = [], 0
    for item in items:
        name, last = item.id, _last_part(item)
        if name not in index and last in index and last not in ids:
            if sharers[last] > 1:
                path, lines = index[last]
                raise InputError(
                    f"{path}, line {lines.number}: utterance {last!r} may be any of "
                    f"{sharers[last]} recordings, {item.id!r} among them; name it by its id"
                )
            name = last
        missing += name not in index
        nowhere = (corpus.alignments.resolve(), Lines(item.id, 0, 0, 0))
        path, lines = index.get(name, nowhere)
        aligned.append(item._replace(alignment=path, lines=lines))
    if missing == len(items):
        raise InputError(
            f"corpus.alignments {corpus.alignments} has no utterance of this corpus: expected "
            f"for example {items[0].id!r}, and it begins with {next(iter(index), '')!r}"
        )
    return aligned


def _last_part(item: Item) -> str:
    return item.id.rpartition("/")[2]
