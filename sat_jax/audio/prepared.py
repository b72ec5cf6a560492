"""A prepared corpus in, its utterances out, by split: audio, labels and texts by number."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax import stalls
from sat_jax.address import shown
from sat_jax.audio.splits import SPLITS
from sat_jax.audio.utterance import Utterance
from sat_jax.errors import InputError

INDEX, CONTENT = "index.npz", "corpus.json"


@dataclass(frozen=True, eq=False)
class Split:
    """Random access to the utterances of one split, sorted by id; picklable, opened on first use.

    `lengths` (samples, int32) and `speakers` (int32 indices into `speaker_names`) are `(B,)` and
    known without decoding. `phone_names` and `phone_manners` (empty where unknown) go together and
    are empty where the corpus has no phones.
    """

    directory: Path
    name: str
    rows: np.ndarray
    ids: list[str]
    lengths: np.ndarray
    speakers: np.ndarray
    speaker_names: list[str]
    phone_names: list[str]
    phone_manners: list[str]
    phone_source: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Utterance:
        """Raises `InputError` where a file of the dataset has gone or is damaged."""
        name = f"utterance {self.ids[i]}"
        with stalls.reading(f"{self.directory}: {name}"), _whole(self.directory, name):
            source, decode = self._reader
            return decode(source[int(self.rows[i])])

    def __getitems__(self, keys: list[int]) -> list[Utterance]:
        """Several utterances; one by one, which takes less time than a batched read."""
        return [self[key] for key in keys]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_reader"}

    @cached_property
    def _reader(self) -> tuple[Any, Callable[[bytes], Utterance]]:
        from sat_jax.audio.container import decode_example, open_dataset

        return open_dataset(self.directory), decode_example


def open_split(directory: Path, split: str) -> Split:
    """The split `train`, `valid`, `test` or `all` of a prepared directory.

    Raises `InputError` for a directory that is not prepared, another name, or an empty split.
    """
    directory = Path(directory)
    if not is_ready(directory):
        raise InputError(f"{directory} is not a prepared corpus: prepare it with train.py")
    if split not in (*SPLITS, "all"):
        raise InputError(f"split {split!r} is unknown: give one of {', '.join(SPLITS)}, all")
    content = read_content(directory)
    with _whole(directory, INDEX), np.load(directory / INDEX) as file:
        index = {name: file[name] for name in ("lengths", "speakers", "splits")}
    rows = np.arange(len(index["lengths"]))
    if split != "all":
        rows = rows[index["splits"] == SPLITS.index(split)]
    if not len(rows):
        raise InputError(
            f"{directory}: the {split} split is empty ({len(index['lengths'])} utterances in all, "
            f"corpus.split {content['config']['split']}): take split all, more utterances, "
            "or another --corpus.split"
        )
    return Split(
        directory=directory,
        name=split,
        rows=rows,
        ids=[content["ids"][row] for row in rows],
        lengths=index["lengths"][rows],
        speakers=index["speakers"][rows],
        speaker_names=content["speakers"],
        phone_names=content["phone_names"],
        phone_manners=content["phone_manners"],
        phone_source=content["phone_source"],
        fingerprint=content["fingerprint"],
    )


def write_content(directory: Path, content: dict[str, Any]) -> None:
    """Write what is known of a corpus, with a checksum of it."""
    text = json.dumps(content, default=shown)
    whole = json.loads(text) | {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    (directory / CONTENT).write_text(json.dumps(whole), encoding="utf-8")


def read_content(directory: Path) -> dict[str, Any]:
    """What `write_content` wrote; raises `InputError` where that has gone or is damaged.

    Corpora that were prepared before there were checksums are taken as they are.
    """
    with _whole(directory, CONTENT):
        content = json.loads((directory / CONTENT).read_text(encoding="utf-8"))
        stored = content.pop("sha256", None)
        if stored not in (None, hashlib.sha256(json.dumps(content).encode()).hexdigest()):
            raise ValueError("its checksum differs")
    return content


@contextlib.contextmanager
def _whole(directory: Path, name: str) -> Iterator[None]:
    """Turn whatever a damaged file of a prepared corpus raises into an `InputError`.

    TFDS and the formats below it have no common type of error.
    """
    try:
        yield
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{directory}: {name} cannot be read ({first}): put the file back, or delete this "
            "directory and the same command prepares it anew"
        ) from error


def take(split: Split, index: np.ndarray) -> Split:
    """The utterances of a split at `index` `(n,)`, in that order."""
    return replace(
        split,
        rows=split.rows[index],
        ids=[split.ids[i] for i in index],
        lengths=split.lengths[index],
        speakers=split.speakers[index],
    )


def spread(split: Any, most: int) -> Any:
    """At most so many utterances of a split, evenly spread over it; 0 is all."""
    if not 0 < most < len(split):
        return split
    return take(split, np.linspace(0, len(split) - 1, most).round().astype(int))


def is_ready(directory: Path) -> bool:
    """Whether a corpus was prepared there to its end."""
    return (directory / CONTENT).is_file()
