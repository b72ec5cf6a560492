"""Labels of frames in, files in the folder of a run out, and back to every process."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sat_jax import exchange
from sat_jax.checkpoint_files import checksums_of
from sat_jax.errors import InputError, writing
from sat_jax.files import write_arrays, write_whole

KEPT_LAST = "units.json"


def write(
    folder: Path, labels: dict[str, np.ndarray], centres: np.ndarray | None, about: dict[str, Any]
) -> None:
    """Labels, centres (of process 0) and where they come from; the last file tells that all are
    there."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, flat in labels.items():
            # Another process may have the file of that name open, on a disk that both see.
            coming = folder / f".{name}.{jax.process_index()}.npy"
            np.save(coming, flat)
            coming.replace(folder / f"{name}.npy")
        if centres is not None:
            write_arrays(folder / "centres.npz", centres=centres)
        kept = about | {"labels": _checksums(folder, list(labels))}
        write_whole(folder / KEPT_LAST, (json.dumps(kept, indent=2) + "\n").encode())


def read(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """What `write` says of the labels `names`; raises `InputError` where they are not as written.

    Labels that were written before there were checksums are taken as they are.
    """
    try:
        kept = dict(json.loads((folder / KEPT_LAST).read_text()))
        if kept.get("labels") not in (None, _checksums(folder, names)):
            raise ValueError("a checksum differs")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{folder}: these units are damaged ({error}); delete the folder and the same command "
            "makes them anew"
        ) from error
    return kept


def _checksums(folder: Path, names: Sequence[str]) -> str:
    return checksums_of(folder, [folder / f"{name}.npy" for name in names])


def copy_to_all(folder: Path, names: Sequence[str], about: dict[str, Any]) -> None:
    """The labels of process 0 into the folder of every process that has not the same."""
    if jax.process_count() == 1:
        return
    files = [folder / f"{name}.npy" for name in names]
    missing = not all(file.exists() for file in (*files, folder / KEPT_LAST))
    prints = exchange.everywhere("" if missing else checksums_of(folder, files))
    if len(set(prints)) == 1:
        return
    labels = {name: _received(file) for name, file in zip(names, files, strict=True)}
    if prints[jax.process_index()] != prints[0]:
        write(folder, labels, None, about)


def _received(file: Path) -> np.ndarray:
    """The array in a file of process 0, on every process."""
    array = np.load(file, mmap_mode="r") if jax.process_index() == 0 else None
    shape, kind = exchange.from_leader(lambda: (array.shape, array.dtype))
    return exchange.sent(array, shape, kind)
