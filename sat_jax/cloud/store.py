"""An address in, listings and files out, through fsspec; whatever goes wrong ends in one line."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sat_jax.errors import FULL, InputError

T = TypeVar("T")

PAUSES = (1.0, 4.0)
"""Seconds before a transfer is tried again; one more failure ends it."""
OURS = ("gs", "gcs", "s3", "s3a")
"""Schemes whose packages requirements-cloud.txt lists."""
PACKAGES = ("fsspec", "gcsfs", "s3fs")
NO_STORES = {
    **dict.fromkeys(("file", "local"), "give the path itself"),
    **dict.fromkeys(("http", "https"), "it takes no files: give gs://, s3:// or a path"),
}


class Unreachable(InputError):
    """A store that does not answer, or not as it should."""


class Entry(NamedTuple):
    """A file in a store."""

    size: int
    key: str
    """Changes with its content."""


class Store(NamedTuple):
    """A directory in the cloud."""

    files: Any
    """The file system of fsspec."""
    root: str
    """Where the directory is in it."""
    address: str

    def path(self, name: str) -> str:
        """The file `name` below the directory, as the file system names it."""
        return f"{self.root.rstrip('/')}/{name}"


def open_store(address: str) -> Store:
    """Connect to a store; raises `InputError` where it is of no kind, or its package is missing."""
    scheme = address.partition("://")[0]
    if scheme in NO_STORES:
        raise InputError(f"{address}: {NO_STORES[scheme]}")
    for name in PACKAGES:
        # What they print by themselves, with tracebacks, is also raised, and said here in one line.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import get_filesystem_class

        get_filesystem_class(scheme)
    except ImportError as error:
        needed = "its package is missing: pip install -r requirements-cloud.txt"
        raise InputError(f"{address}: {needed if scheme in OURS else reason(error)}") from None
    except ValueError:
        raise InputError(
            f"{address}: no kind of store is called {scheme}: give gs://BUCKET/PATH, "
            "s3://BUCKET/PATH, or a path"
        ) from None
    try:
        files, root = url_to_fs(address)
    except Exception as error:
        # Stores raise errors of their own packages, of no common kind.
        raise unreachable(address, error) from error
    return Store(files, root, address)


def listing(store: Store) -> dict[str, Entry]:
    """Every file below the store's directory by its relative name; empty where there is none."""
    store.files.invalidate_cache()
    try:
        found = store.files.find(store.root, detail=True)
    except FileNotFoundError:
        return {}
    prefix = store.path("")
    return {
        path.removeprefix(prefix): Entry(int(info["size"] or 0), _key(info))
        for path, info in found.items()
        if path.startswith(prefix) and _is_name(path.removeprefix(prefix))
    }


def _is_name(name: str) -> bool:
    """Whether an object's name is that of a file which lies below the directory, on any disk."""
    parts = name.split("/")
    return not {"", ".", ".."} & set(parts) and "\\" not in name


def _key(info: Mapping[str, Any]) -> str:
    text = repr(sorted((str(name), str(value)) for name, value in info.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(store: Store, name: str) -> str:
    """The text of a small file."""
    return store.files.cat_file(store.path(name)).decode("utf-8", "replace")


def get(store: Store, there: Mapping[str, Entry], place: Path) -> None:
    """Download files into `place`, which nobody else reads yet; raises `OSError` for short ones."""
    if not there:
        return
    targets = [place / name for name in there]
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    store.files.get([store.path(name) for name in there], [str(target) for target in targets])
    for target, (name, entry) in zip(targets, there.items(), strict=True):
        if target.stat().st_size != entry.size:
            raise OSError(f"{name} came with {target.stat().st_size} of {entry.size} bytes")


def put(store: Store, sources: Mapping[str, Path]) -> None:
    """Upload files to the names that they get."""
    if sources:
        names = [store.path(name) for name in sources]
        store.files.put([str(source) for source in sources.values()], names)


def remove(store: Store, names: list[str]) -> None:
    """Delete files."""
    if names:
        store.files.rm([store.path(name) for name in names])


def patiently(store: Store, action: Callable[[], T]) -> T:
    """What `action` gives, after a few trials where it fails.

    Raises `InputError` where it goes on failing; a full disk here is no matter of patience.
    """
    for pause in (*PAUSES, None):
        try:
            return action()
        except InputError:
            raise
        except Exception as error:
            # Stores raise errors of their own packages, of no common kind.
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            if pause is None:
                raise unreachable(store.address, error) from error
            time.sleep(pause)
    raise AssertionError("the last trial returns or raises")


def unreachable(address: str, error: Exception) -> Unreachable:
    """One line about a store that failed."""
    return Unreachable(
        f"{address}: {reason(error)}: look after the network, the address and your rights there; "
        "the same command tries again"
    )


def reason(error: Exception) -> str:
    """What went wrong, in one line of bearable length."""
    lines = str(error).strip().splitlines() or [""]
    found = lines[0].rstrip(".: ") or type(error).__name__
    kinds = {FileNotFoundError: "not found", PermissionError: "permission denied"}
    kind = kinds.get(type(error), "")
    return (f"{kind} ({found})" if kind else found)[:200]
