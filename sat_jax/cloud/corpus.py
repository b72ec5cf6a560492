"""A prepared corpus in the cloud, fetched whole or not at all; or uploaded, so that others can.

`corpus.json` marks it whole: it is uploaded last, after checksums of all other files.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sat_jax.checkpoint_files import CHECKSUMS, checksums_of, first_difference
from sat_jax.cloud.ledger import LOCK, alone
from sat_jax.cloud.store import (
    Store,
    Unreachable,
    get,
    listing,
    open_store,
    patiently,
    put,
    read,
    remove,
)
from sat_jax.errors import writing

MARK = "corpus.json"


Found = Literal["here", "missing", "broken"]


def fetch(address: str, directory: Path, say: Callable[[str], None]) -> Found:
    """Bring the corpus at `address` into `directory`, unless it is there.

    What is there in part is missing; what differs from its checksums is broken, and left there.
    Raises `InputError` where the store cannot be reached.
    """
    store = open_store(address)
    with writing(directory.parent):
        directory.parent.mkdir(parents=True, exist_ok=True)

    def waiting() -> None:
        say(f"another process is fetching {address}: waiting for it")

    with alone(directory.parent / f".{directory.name}{LOCK}", waiting):
        if (directory / MARK).is_file():
            return "here"
        return patiently(store, lambda: _fetch(store, directory, say))


def _fetch(store: Store, directory: Path, say: Callable[[str], None]) -> Found:
    there = listing(store)
    if not {MARK, CHECKSUMS} <= there.keys():
        return "missing"
    size = sum(entry.size for entry in there.values())
    say(f"fetching {store.address}: {len(there)} files, {size / 1e6:,.1f} MB")
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.new-", dir=directory.parent))
    try:
        get(store, there, temporary)
        wrong = first_difference(temporary)
        if wrong:
            say(f"{store.address} is not whole: {wrong}; it is prepared anew")
            return "broken"
        (temporary / CHECKSUMS).unlink()
        temporary.chmod(0o755)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return "here"


def send(address: str, directory: Path, anew: bool, say: Callable[[str], None]) -> None:
    """Upload the corpus in `directory`, unless it is whole there; `anew` even then.

    Where the store cannot be reached that is said, and training goes on with what is here.
    """
    store = open_store(address)
    try:
        patiently(store, lambda: _send(store, directory, anew, say))
    except Unreachable as error:
        say(f"not uploaded: {error}")


def _send(store: Store, directory: Path, anew: bool, say: Callable[[str], None]) -> None:
    there = listing(store)
    if not anew and MARK in there and CHECKSUMS in there and _is_complete(store, there):
        return
    files = sorted(file for file in directory.rglob("*") if file.is_file())
    size = sum(file.stat().st_size for file in files)
    say(f"uploading {store.address}: {len(files)} files, {size / 1e6:,.1f} MB")
    mark = directory / MARK
    files.remove(mark)
    remove(store, [MARK] if MARK in there else [])
    with tempfile.TemporaryDirectory() as folder:
        sums = Path(folder, CHECKSUMS)
        sums.write_text(checksums_of(directory, [*files, mark]))
        put(store, {file.relative_to(directory).as_posix(): file for file in files})
        put(store, {CHECKSUMS: sums})
        put(store, {MARK: mark})


def _is_complete(store: Store, there: dict) -> bool:
    lines = read(store, CHECKSUMS).splitlines()[1:]
    return {line.partition("  ")[2] for line in lines} <= there.keys()
