"""Checkpoints on both sides: which steps are whole, fetched and uploaded one by one.

A step counts in the cloud when its checksums are there. They are uploaded last, and deleted first.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from sat_jax.checkpoint_files import CHECKSUMS, COMMITTED, fault, is_sealed, saved_steps, survey
from sat_jax.cloud import store as cloud
from sat_jax.cloud.store import Entry, Store
from sat_jax.errors import InputError

CKPT = "ckpt"
FETCHING, UPLOADING = ".fetching", ".uploading"

Listing = Mapping[str, Entry]


def steps_there(there: Listing) -> dict[int, dict[str, Entry]]:
    """The files of every step in the cloud, whole or not."""
    steps: dict[int, dict[str, Entry]] = {}
    for name, entry in there.items():
        top, _, rest = name.partition("/")
        number = rest.partition("/")[0]
        if top == CKPT and number.isascii() and number.isdigit() and str(int(number)) == number:
            steps.setdefault(int(number), {})[name] = entry
    return steps


def whole_there(there: Listing) -> list[int]:
    """The steps that are whole in the cloud, the newest first."""
    return sorted(
        (step for step, files in steps_there(there).items() if _seal(step) in files), reverse=True
    )


def newest_here(place: Path) -> int | None:
    """The newest step that is whole here."""
    directory = place / CKPT
    return survey(directory, lambda step: fault(directory / str(step))).whole


def whole_here(place: Path) -> list[int]:
    """The steps here that are finished and have their checksums, the newest first."""
    directories = {step: _directory(place, step) for step in saved_steps(place / CKPT)}
    return [s for s, d in directories.items() if is_sealed(d) and (d / COMMITTED).exists()]


def same(store: Store, place: Path, step: int) -> bool:
    """Whether a step has the same checksums on both sides, where it is whole on both."""
    here = _directory(place, step) / CHECKSUMS
    return here.exists() and here.read_text(errors="replace") == cloud.read(store, _seal(step))


def require_one_run(store: Store, place: Path, there: Listing) -> None:
    """Raise `InputError` where both sides have an untrained model, and not the same one."""
    if 0 in whole_there(there) and 0 in whole_here(place) and not same(store, place, 0):
        raise InputError(
            f"{store.address} and {place}, its copy on this machine, are two different runs (their "
            "checkpoints of step 0 differ): move one of them away, or give another --run-dir"
        )


def fetch_step(
    store: Store, place: Path, step: int, there: Listing, say: Callable[[str], None]
) -> bool:
    """Bring a step here, unless it is; whether it is whole. A broken one is said and left there."""
    target = _directory(place, step)
    if same(store, place, step) and not fault(target):
        return True
    coming, files = place / FETCHING, steps_there(there)[step]
    shutil.rmtree(coming, ignore_errors=True)
    size = sum(entry.size for entry in files.values())
    say(f"fetching {store.address}/{CKPT}/{step}: {len(files)} files, {size / 1e6:,.1f} MB")
    cloud.get(store, files, coming)
    came = coming / CKPT / str(step)
    wrong = fault(came)
    if wrong:
        say(f"{store.address}/{CKPT}/{step} is broken: {wrong}; passed over, delete it there")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(coming / "old")
        came.rename(target)
    shutil.rmtree(coming, ignore_errors=True)
    return not wrong


def send_step(
    store: Store, place: Path, step: int, there: Listing, before_seal: Callable[[], None]
) -> str:
    """Upload a step, its checksums last and after `before_seal`; what is wrong with it, if it is.

    Its files are linked aside first, so that it may be deleted here meanwhile.
    """
    stage = place / UPLOADING / str(step)
    shutil.rmtree(stage, ignore_errors=True)
    try:
        shutil.copytree(_directory(place, step), stage, copy_function=_link)
    except (FileNotFoundError, shutil.Error):
        if not _directory(place, step).exists():
            return "it was deleted before it was uploaded"
        raise
    try:
        wrong = fault(stage)
        if not wrong:
            _remove_step(store, step, there)
            files = {
                f"{CKPT}/{step}/{file.relative_to(stage).as_posix()}": file
                for file in sorted(stage.rglob("*"))
                if file.is_file()
            }
            seal = {_seal(step): files.pop(_seal(step))}
            cloud.put(store, files)
            before_seal()
            arrived = cloud.listing(store)
            for name, file in files.items():
                if name not in arrived or arrived[name].size != file.stat().st_size:
                    raise OSError(f"{name} did not arrive whole")
            cloud.put(store, seal)
        return wrong
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def prune_there(store: Store, place: Path, there: Listing) -> None:
    """Delete steps that were deleted here, once a newer one is whole there; step 0 stays."""
    whole = whole_there(there)
    here = saved_steps(place / CKPT)
    gone = [step for step in steps_there(there) if 0 < step < max(whole, default=0)]
    for step in gone:
        if step not in here:
            _remove_step(store, step, there)


def _remove_step(store: Store, step: int, there: Listing) -> None:
    """Its checksums first, so that a step whose deletion is interrupted no longer counts."""
    names = steps_there(there).get(step, {})
    cloud.remove(store, [name for name in names if name == _seal(step)])
    cloud.remove(store, [name for name in names if name != _seal(step)])


def _seal(step: int) -> str:
    return f"{CKPT}/{step}/{CHECKSUMS}"


def _directory(place: Path, step: int) -> Path:
    return place / CKPT / str(step)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        shutil.copy2(source, target)
    return target
