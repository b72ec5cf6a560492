"""A local copy in, its address brought up to date out: steps, files, then what was deleted here."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from sat_jax.cloud import ledger, steps
from sat_jax.cloud.fetch import is_of_training
from sat_jax.cloud.ledger import Agreed, Ledger, State
from sat_jax.cloud.store import Store, Unreachable, listing, open_store, patiently, put, reason

GROWING = ("metrics.jsonl", "tensorboard")
"""What training appends to: uploaded from a copy, as stores want a length beforehand."""


def send_all(
    store: Store, place: Path, wanted: Callable[[str], bool], dealt_with: set[int]
) -> dict[int, str]:
    """Upload steps and `wanted` files that are newer here; broken steps, which are not, are given.

    Steps that need no more work are added to `dealt_with` one by one.
    """
    there = listing(store)
    broken = {}

    def send_files() -> None:
        send_changed(store, place, wanted)

    dealt_with.update(steps.whole_there(there))
    for step in _unsent(place, steps.whole_there(there)):
        wrong = steps.send_step(store, place, step, there, send_files)
        if wrong:
            broken[step] = wrong
        dealt_with.add(step)
    send_files()
    steps.prune_there(store, place, listing(store))
    return broken


def _unsent(place: Path, there: list[int]) -> list[int]:
    """Steps that are not in the cloud: the untrained model, then the newest, then older ones."""
    missing = [step for step in steps.whole_here(place) if step not in there]
    return sorted(missing, key=lambda step: step != 0)


def send_changed(store: Store, place: Path, wanted: Callable[[str], bool]) -> None:
    """Upload the files that changed here since both sides were the same, or that are not there."""
    there, known = listing(store), ledger.read_ledger(place)
    changed = {
        name: state
        for name, state in ledger.files_here(place).items()
        if wanted(name) and (name not in there or _changed(name, state, known))
    }
    if not changed:
        return
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: _steady(place, name, Path(folder)) for name in changed}
        put(store, sources)
        sizes = {name: source.stat().st_size for name, source in sources.items()}
    arrived = listing(store)
    whole = {name for name in changed if name in arrived and arrived[name].size == sizes[name]}
    agreed = {name: Agreed(changed[name], arrived[name].key) for name in whole}
    ledger.record(place, agreed)
    if len(whole) < len(changed):
        raise OSError(f"{min(changed.keys() - whole)} did not arrive whole")


def changed_here(place: Path) -> dict[str, State]:
    """The files that changed here since both sides were the same."""
    known = ledger.read_ledger(place)
    return {
        name: state
        for name, state in ledger.files_here(place).items()
        if _changed(name, state, known)
    }


def _changed(name: str, state: State, known: Ledger) -> bool:
    return name not in known or known[name].here != state


def _steady(place: Path, name: str, folder: Path) -> Path:
    if name.partition("/")[0] not in GROWING:
        return place / name
    copy = folder / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(place / name, copy))


def send_results(address: str, place: Path, say: Callable[[str], None]) -> None:
    """Upload what an analysis wrote; raises `InputError` where that fails, with where it is."""
    store = open_store(address)
    try:
        patiently(store, lambda: send_changed(store, place, _is_result))
    except Unreachable as error:
        raise Unreachable(f"{error}; what was to be uploaded is in {place}") from error
    say(f"uploaded: {address}")


def send_run(address: str, place: Path, say: Callable[[str], None]) -> None:
    """Upload a whole run; raises `InputError` where that fails, with where it is."""
    store = open_store(address)
    try:
        patiently(store, lambda: send_all(store, place, lambda _: True, set()))
    except Unreachable as error:
        why = reason(error.__cause__ or error)
        raise Unreachable(
            f"{address}: {why}: the run is whole in {place}: copy it there with the store's own "
            "tool, or remove it and give the same command again"
        ) from error
    say(f"uploaded: {address}")


def _is_result(name: str) -> bool:
    return not is_of_training(name)
