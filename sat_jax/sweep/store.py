"""Finished settings in, on disk at once; after any interruption, what is finished out.

What is left under a setting is a leaf: named arrays, the same names and shapes for all leaves of
one `identity` (model, speech, probes). Leaves are appended in files that appear whole or not at
all; when a study is done, they are joined into one.
"""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sat_jax.files import write_arrays
from sat_jax.sweep.trie import Settings, as_rows

Arrays = dict[str, np.ndarray]
"""Names to arrays (G, ...)."""

KEY = "key"


def keys_of(settings: Settings) -> list[str]:
    """A name for every setting, the same for settings that do the same."""
    return [hashlib.sha256(row.tobytes()).hexdigest()[:32] for row in as_rows(settings)]


class Store:
    """Leaves of one identity, in memory and under `directory`."""

    def __init__(self, directory: Path, identity: str, say: Callable[[str], None]) -> None:
        """Open what is there; a file that cannot be read is told, and its leaves are made anew."""
        self.directory = directory / identity
        self.place: dict[str, tuple[int, int]] = {}
        self.parts: list[Arrays] = []
        for path in sorted(self.directory.glob("*.npz")):
            try:
                with np.load(path) as file:
                    self._remember({name: file[name] for name in file.files})
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                say(f"{path}: cannot be read ({error}); what it held is made anew")

    def __contains__(self, key: str) -> bool:
        return key in self.place

    def __len__(self) -> int:
        return len(self.place)

    def _remember(self, arrays: Arrays) -> None:
        for row, key in enumerate(arrays[KEY].tolist()):
            self.place[key] = len(self.parts), row
        self.parts.append(arrays)

    def add(self, keys: list[str], arrays: Arrays) -> None:
        """Keep finished leaves; they are on disk when this returns."""
        whole = {KEY: np.array(keys), **arrays}
        numbers = [int(p.stem) for p in self.directory.glob("*.npz") if p.stem.isdigit()]
        write_arrays(self.directory / f"{max(numbers, default=-1) + 1:05d}.npz", **whole)
        self._remember(whole)

    def take(self, keys: list[str]) -> Arrays:
        """The arrays of these leaves, in this order; raises `KeyError` for one that is missing."""
        places = [self.place[key] for key in keys]
        names = [name for name in self.parts[0] if name != KEY]
        return {name: np.stack([self.parts[p][name][row] for p, row in places]) for name in names}

    def join(self) -> None:
        """One file instead of many."""
        paths = sorted(self.directory.glob("*.npz"))
        if len(paths) < 2:
            return
        keys = list(self.place)
        write_arrays(self.directory / "leaves.npz", **{KEY: np.array(keys), **self.take(keys)})
        for path in paths:
            if path.name != "leaves.npz":
                path.unlink()
