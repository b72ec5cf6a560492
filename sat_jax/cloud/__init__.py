"""Copies of runs and prepared corpora in the cloud: fetched before work, uploaded after it.

Everything is read and written in a local directory; what is said here of an address changes nothing
for paths of a file system, and imports nothing for them.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from sat_jax.address import address_of, origin_of, place_of
from sat_jax.errors import InputError

Purpose = Literal["train", "analyse", "plan", "results"]
"""What a run is fetched for: train takes its files and all whole steps; analyse its results too,
and the steps that are read; plan its config; results what lies there, a run or not."""


def fetched(
    path: Path, purpose: Purpose, say: Callable[[str], None] = print, step: int | None = None
) -> Path:
    """Where the run at `path` can be read: itself, or its local copy, brought up to date.

    `step` is the checkpoint that is analysed, None for the newest. Raises `InputError` where there
    is no run (except to train a new one), or the store cannot be reached.
    """
    if not address_of(path):
        return path
    from sat_jax.cloud.fetch import fetch_run

    return fetch_run(address_of(path), place_of(path), purpose, say, step)


def send_results(place: Path, say: Callable[[str], None] = print) -> str:
    """Upload what changed in a local copy beside checkpoints and logs; its address, or nothing."""
    address = origin_of(place)
    if address:
        from sat_jax.cloud.upload import send_results as send

        send(address, place, say)
    return address


def send_run(place: Path, say: Callable[[str], None] = print) -> str:
    """Upload a run that was made in its local copy, all of it; its address, or nothing."""
    address = origin_of(place)
    if address:
        from sat_jax.cloud.upload import send_run as send

        send(address, place, say)
    return address


def require_new(path: Path, name: str) -> None:
    """Raise `InputError` where `path` is an address at which something lies already."""
    if address_of(path):
        from sat_jax.cloud.store import listing, open_store, patiently

        store = open_store(address_of(path))
        if patiently(store, lambda: listing(store)):
            raise InputError(f"{store.address} exists: give another --{name}, or remove it")


@contextlib.contextmanager
def mirrored(path: Path | None, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Keep a copy of the run at the address `path` while the context lasts; nothing for a path.

    Gives the function that begins with it, for when the local directory is this process's alone. At
    the end it is waited for. Raises `InputError` where something could not be uploaded.
    """
    if not address_of(path):
        yield lambda: None
        return
    from sat_jax.cloud.mirror import mirror

    with mirror(address_of(path), place_of(path), say) as begin:
        yield begin
