"""Rows, arrays and bytes in, files that appear whole or not at all out; arrays back from them."""

import csv
import io
import os
import secrets
import zipfile
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax.errors import InputError


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write `rows` (dicts of the same keys) as CSV, whole or not at all; floats get 7 digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.7g}" if isinstance(v, Real) else v for k, v in row.items()})
    return write_whole(path, text.getvalue().encode())


def write_arrays(path: Path, **arrays: np.ndarray) -> Path:
    """Write named arrays as a compressed npz, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return write_whole(path, content.getvalue())


def read_arrays(path: Path, cure: str) -> dict[str, np.ndarray]:
    """The named arrays of an npz; raises `InputError` with a `cure` where there are none to read.

    The file may be somebody else's: nothing in it is run, so that arrays of objects are refused.
    """
    if not Path(path).exists():
        raise InputError(f"{path}: is missing; {cure}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is not what analyze.py writes ({error}); {cure}") from error


def write_whole(path: Path, content: bytes) -> Path:
    """Write `content` under a temporary name beside `path`, then rename it; makes the directory.

    Raises InputError where the disk is full or the directory cannot be written; `path` is then as
    it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another directory"
        ) from error
    return path
