"""Addresses of stores in the cloud (gs://bucket/runs/x) in, the local copies to work on out.

Options are paths, and pathlib makes `gs:/bucket` of `gs://bucket`: here is where that is known.
Imports no cloud code.
"""

import os
import re
from pathlib import Path

from sat_jax.errors import InputError

CACHE = "SAT_JAX_CLOUD_CACHE"
"""Variable of the environment: where local copies lie, instead of the user's cache directory."""

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):(?:/+(.*))?")


def address_of(path: Path | str | None) -> str:
    """The address that `path` is, written as usual; empty for a path of a file system."""
    found = _ADDRESS.fullmatch(str(path or ""))
    return f"{found[1]}://{(found[2] or '').rstrip('/')}" if found else ""


def shown(path: Path | str) -> str:
    """`path` as the user wrote it."""
    return address_of(path) or str(path)


def cache() -> Path:
    """The directory of all local copies."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE) or Path(home) / "sat_jax" / "cloud").resolve()


def place_of(path: Path | str) -> Path:
    """Where `path` is read and written: itself, or the local copy of what is at that address.

    Raises `InputError` for an address that names no bucket, or that climbs out of one.
    """
    address = address_of(path)
    if not address:
        return Path(path)
    scheme, _, rest = address.partition("://")
    parts = [part for part in rest.split("/") if part]
    if not parts or {".", ".."} & set(parts):
        raise InputError(f"{address}: give a bucket and a path in it, {scheme}://BUCKET/PATH")
    return cache().joinpath(scheme, *parts)


def origin_of(place: Path) -> str:
    """The address whose local copy `place` is; empty for every other place."""
    root = cache()
    place = Path(place).absolute()
    place = place if place.is_relative_to(root) else place.resolve()
    parts = place.relative_to(root).parts if place.is_relative_to(root) else ()
    return f"{parts[0]}://{'/'.join(parts[1:])}" if len(parts) > 1 else ""


def in_one_store(one: Path | str, other: Path | str) -> bool:
    """Whether both are addresses in the same bucket."""
    first, second = (address_of(each).split("/")[:3] for each in (one, other))
    return len(first) == 3 and first == second
