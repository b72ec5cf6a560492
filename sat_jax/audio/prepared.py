"""A prepared corpus in, its utterances out, by split: audio, labels and texts by number."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax import stalls
from sat_jax.audio.splits import SPLITS
from sat_jax.audio.utterance import Utterance
from sat_jax.errors import InputError


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
        try:
            with stalls.reading(f"{self.directory}: utterance {self.ids[i]}"):
                source, decode = self._reader
                return decode(source[int(self.rows[i])])
        except (RuntimeError, OSError) as error:
            first = str(error).strip().splitlines()[0]
            raise InputError(
                f"{self.directory}: utterance {self.ids[i]} cannot be read ({first}): put the file "
                "back, or delete this directory and the same command prepares it anew"
            ) from error

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
    content = json.loads((directory / "corpus.json").read_text(encoding="utf-8"))
    index = np.load(directory / "index.npz")
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
    return (directory / "corpus.json").is_file()
