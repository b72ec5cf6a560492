"""The folder of one language of Common Voice in, one item per clip that its tables name out."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sat_jax.audio.aligned import align
from sat_jax.audio.item import Item
from sat_jax.audio.tree import empty_tree, find_root, unique, walk
from sat_jax.audio.wav import SUFFIXES
from sat_jax.config import Corpus
from sat_jax.errors import InputError

_SUBSETS = {"train": "train", "dev": "valid", "test": "test"}
_COLUMNS = ("client_id", "path", "sentence")


class _Clip(NamedTuple):
    """What one row of a table says, and the number of its line."""

    name: str
    speaker: str
    text: str
    number: int


def list_common_voice(corpus: Corpus) -> list[Item]:
    """Items of `clips/*` that train, dev, test and validated.tsv name; dev is valid.

    Most clips of validated.tsv are in no subset, and may be of speakers of the test: they are left
    out where `corpus.split` is official. The speaker is the client_id. A clip that was converted
    may have another suffix than its table says.
    """
    root = find_root(corpus)
    tables = list(_SUBSETS) + ["validated"] * (corpus.split != "official")
    found = [name for name in tables if (root / f"{name}.tsv").is_file()]
    if not found:
        raise empty_tree(root, " or ".join(f"{name}.tsv" for name in tables))
    clips = root / "clips"
    audio = {file.stem: file for file in walk(clips, SUFFIXES)} if clips.is_dir() else {}
    if not audio:
        raise empty_tree(root, "clips/*.mp3")
    items: dict[str, Item] = {}
    for table in found:
        path, subset = root / f"{table}.tsv", _SUBSETS.get(table, "")
        for clip in _read_table(path):
            file = audio.get(Path(clip.name).stem, clips / Path(clip.name).name)
            item = Item(file.stem, clip.speaker, subset, file, None, clip.text, None)
            first = items.setdefault(file.stem, item)
            if subset and first.subset != subset:
                raise InputError(
                    f"{path}, line {clip.number}: {clip.name!r} is in the {first.subset} subset "
                    "too; delete one of the lines"
                )
    return unique(align(corpus, root, list(items.values()), lambda p: [Path(*p.parts[1:])]))


def _read_table(path: Path) -> Iterator[_Clip]:
    """Rows of a TSV file without quoting, one at a time."""
    number = 0
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            header = file.readline().rstrip("\r\n").split("\t")
            if not set(_COLUMNS) <= set(header):
                raise InputError(
                    f"{path}: its first line names the columns {', '.join(header)}, expected "
                    f"{', '.join(_COLUMNS)}; give an unchanged table of Common Voice"
                )
            columns = [header.index(name) for name in _COLUMNS]
            for number, line in enumerate(file, start=2):
                cells = line.rstrip("\r\n").split("\t")
                if len(cells) <= max(columns) or not (cells[columns[0]] and cells[columns[1]]):
                    raise InputError(
                        f"{path}, line {number}: expected {len(header)} columns with a client_id "
                        "and a path; copy the table again"
                    )
                speaker, name, text = (cells[column] for column in columns)
                yield _Clip(name, speaker, text.strip(), number)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}, after line {number}: cannot be read ({error}); copy the table again"
        ) from error
