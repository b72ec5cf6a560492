"""A run at an address in, its local copy brought up to date out; no step is ever lost by it.

The side whose newest whole checkpoint is later goes first. Where that is the cloud, its config,
logs and steps replace those here; where it is the copy (a crash before an upload), everything here
stays. Other files, such as an analysis's results, are replaced only where they did not change here.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from sat_jax.cloud import Purpose, ledger, steps
from sat_jax.cloud.ledger import APART, Agreed, Ledger
from sat_jax.cloud.store import Entry, Store, get, listing, open_store, patiently
from sat_jax.errors import InputError, writing
from sat_jax.run_directory import is_taken

CONFIG = "config.json"
RUN_FILES = (CONFIG, "manifest.json", "metrics.jsonl")
RUN_FOLDERS = ("tensorboard", "units", "profile")


def is_of_training(name: str) -> bool:
    """Whether train.py writes this file of a run, beside checkpoints."""
    return name in RUN_FILES or name.partition("/")[0] in RUN_FOLDERS


def fetch_run(
    address: str, place: Path, purpose: Purpose, say: Callable[[str], None], step: int | None
) -> Path:
    """Bring `place` up to date with `address`; see `sat_jax.cloud.fetched`."""
    store = open_store(address)
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
    with ledger.alone(
        place / ledger.LOCK, lambda: say(f"another process is fetching {address}: waiting for it")
    ):
        if is_taken(place):
            say(f"{place}: a process of this machine trains in it, so it is taken as it is")
            return place
        patiently(store, lambda: _bring(store, place, purpose, say, step))
    return place


def _bring(
    store: Store, place: Path, purpose: Purpose, say: Callable[[str], None], step: int | None
) -> None:
    # Listed anew by every trial: a run that trains elsewhere deletes steps meanwhile.
    there = listing(store)
    if purpose == "results":
        _fetch_files(store, place, there, (), say)
        return
    if purpose != "train" and not (CONFIG in there or (place / CONFIG).exists()):
        raise InputError(f"{store.address}: no run is there; give a run that train.py made")
    steps.require_one_run(store, place, there)
    here, whole = steps.newest_here(place), steps.whole_there(there)
    goes_first = _is_first(store, place, here, whole)
    if here is not None and not goes_first and here not in whole:
        known = f"step {whole[0]}" if whole else "no whole step"
        say(f"{place} is at step {here}, ahead of {store.address} ({known}): what is here is kept")
    files = {
        name: entry
        for name, entry in there.items()
        if purpose == "analyse" or (name == CONFIG if purpose == "plan" else is_of_training(name))
    }
    # Before the steps: a copy with a step and without its records would count as up to date.
    _fetch_files(store, place, files, RUN_FILES if goes_first else (), say)
    for number in _wanted(whole, purpose, goes_first, step):
        is_here = steps.fetch_step(store, place, number, there, say)
        if purpose == "analyse" and is_here and number:
            break
    if purpose == "analyse" and 0 in whole:
        steps.fetch_step(store, place, 0, there, say)


def _is_first(store: Store, place: Path, here: int | None, whole: list[int]) -> bool:
    """Whether the cloud's newest step goes before the one here; equal steps are no matter."""
    if not whole:
        return False
    if here is None or whole[0] > here:
        return True
    return whole[0] == here and not steps.same(store, place, here)


def _wanted(whole: list[int], purpose: Purpose, goes_first: bool, step: int | None) -> list[int]:
    """The steps to bring, in this order; to analyse, up to the first that is whole."""
    if purpose == "plan":
        return []
    if purpose == "analyse":
        return [number for number in whole if step in (None, number) and (goes_first or step)]
    # The newest comes last: with it, the copy is as far as the cloud.
    return whole[::-1] if goes_first else [number for number in whole if number == 0]


def _fetch_files(
    store: Store,
    place: Path,
    there: Mapping[str, Entry],
    always: tuple[str, ...],
    say: Callable[[str], None],
) -> None:
    """Download files that changed there and not here; those of `always` also if they changed."""
    known = ledger.read_ledger(place)
    coming, kept = {}, 0
    for name, entry in there.items():
        if name.partition("/")[0] in APART or any(part[0] == "." for part in name.split("/")):
            continue
        here = ledger.state_of(place / name)
        as_here, as_there = ledger.agree(here, entry, known.get(name))
        if here is None or (not (as_here and as_there) and (as_here or name in always)):
            coming[name] = entry
        else:
            kept += not (as_here or as_there or is_of_training(name))
    if kept:
        say(f"{place}: {kept} files differ from {store.address} and changed here: these are kept")
    _replace(store, place, coming)


def _replace(store: Store, place: Path, coming: Mapping[str, Entry]) -> None:
    folder = place / steps.FETCHING
    shutil.rmtree(folder, ignore_errors=True)
    get(store, coming, folder)
    agreed: Ledger = {}
    for name, entry in coming.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).replace(place / name)
        state = ledger.state_of(place / name)
        if state:
            agreed[name] = Agreed(state, entry.key)
    shutil.rmtree(folder, ignore_errors=True)
    ledger.record(place, agreed)
