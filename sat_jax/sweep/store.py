"""Finished settings in, on disk at once; after any interruption, what is finished out.

What is left under a setting is a leaf: named arrays, the same names and shapes for all leaves of
one `identity` (model, speech, probes). Leaves are appended in files that appear whole or not at
all; when a study is done, they are joined into one. Of several processes each writes what it made
itself, on its own disk or on one that they share; `exchange` gives every process what it lacks.
"""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from sat_jax.exchange import everywhere
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
        self.is_whole = True
        """Whether all leaves in memory are on this disk."""
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
        known = [p.stem.partition("-")[0] for p in self.directory.glob("*.npz")]
        number = max((int(each) for each in known if each.isdigit()), default=-1) + 1
        name = f"{number:05d}-{jax.process_index()}.npz"
        write_arrays(self.directory / name, **whole)
        self._remember(whole)

    def held(self, keys: list[str]) -> np.ndarray:
        """Which process has which leaf, (processes, G) bool; every process has to ask."""
        return np.stack(everywhere(np.array([key in self for key in keys], bool)))

    def exchange(self, keys: list[str]) -> None:
        """Take from other processes what is lacking here of these leaves, and give them what they
        lack; every process has to call it."""
        held = self.held(keys)
        wanted = np.flatnonzero(held.any(0) & ~held.all(0))
        mine = [keys[i] for i in wanted if held[:, i].argmax() == jax.process_index()]
        for given in everywhere((mine, self.take(mine) if mine else {})):
            new = [row for row, key in enumerate(given[0]) if key not in self]
            if new:
                rows = {name: array[new] for name, array in given[1].items()}
                self._remember({KEY: np.array(given[0])[new], **rows})
                self.is_whole = False

    def take(self, keys: list[str]) -> Arrays:
        """The arrays of these leaves, in this order; raises `KeyError` for one that is missing."""
        places = [self.place[key] for key in keys]
        names = [name for name in self.parts[0] if name != KEY]
        return {name: np.stack([self.parts[p][name][row] for p, row in places]) for name in names}

    def join(self) -> None:
        """One file instead of many, with what came from other processes; process 0 writes it."""
        paths = sorted(self.directory.glob("*.npz"))
        if jax.process_index() != 0 or (len(paths) < 2 and self.is_whole):
            return
        keys = list(self.place)
        write_arrays(self.directory / "leaves.npz", **{KEY: np.array(keys), **self.take(keys)})
        for path in paths:
            if path.name != "leaves.npz":
                path.unlink()
