"""The directories of a run's checkpoints in, which of them are whole out. Imports no jax.

A step is a directory with a number for a name. Beside its items lies `checksums.sha256`, written
before the directory gets that name: `sha256sum -c checksums.sha256` checks it by hand.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sat_jax.errors import InputError, writing

CHECKSUMS = "checksums.sha256"
COMMITTED = "commit_success.txt"
ITEMS = ("params", "optimizer")
ASIDE = "broken"


class Survey(NamedTuple):
    """What lies in a directory of checkpoints."""

    whole: int | None
    """The newest step that is whole."""
    broken: dict[int, str]
    """Newer steps that are not, and what is wrong with them."""


def saved_steps(directory: Path) -> list[int]:
    """The steps that are there, whole or not, the newest first."""
    if not directory.is_dir():
        return []
    named = (entry.name for entry in directory.iterdir() if entry.name.isascii())
    return sorted({int(name) for name in named if name.isdigit() and str(int(name)) == name})[::-1]


def seal(step_directory: Path) -> None:
    """Write the checksums of all files of the items; for a directory that nobody reads yet."""
    files = sorted(f for item in ITEMS for f in (step_directory / item).rglob("*") if f.is_file())
    text = checksums_of(step_directory, files)
    with writing(step_directory), open(step_directory / CHECKSUMS, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def checksums_of(directory: Path, files: Sequence[Path]) -> str:
    """What `sha256sum` would say of files below `directory`, after a line with their number."""
    lines = [f"{_digest(file)}  {file.relative_to(directory).as_posix()}" for file in files]
    return "\n".join([f"# {len(files)} files", *lines]) + "\n"


def is_sealed(step_directory: Path) -> bool:
    """Whether checksums were kept; versions of this program before they existed left none."""
    return (step_directory / CHECKSUMS).exists()


def seal_of(step_directory: Path) -> str:
    """The checksums of a step as they were written; nothing where there are none here."""
    with contextlib.suppress(OSError):
        return (step_directory / CHECKSUMS).read_text(errors="replace")
    return ""


def fault(step_directory: Path, items: Sequence[str] = ITEMS) -> str:
    """What is wrong with the files of `items`, in a few words; nothing where they are whole."""
    if not step_directory.is_dir():
        return "it is not a directory"
    missing = [name for name in (COMMITTED, *items) if not (step_directory / name).exists()]
    if missing:
        return "it is empty" if not any(step_directory.iterdir()) else f"{missing[0]} is missing"
    for item in items:
        if not any((step_directory / item).rglob("*")):
            return f"{item} is empty"
    if not is_sealed(step_directory):
        return ""
    others = tuple(f"{name}/" for name in ITEMS if name not in items)
    return first_difference(step_directory, lambda name: not name.startswith(others))


def first_difference(directory: Path, wanted: Callable[[str], bool] = lambda _: True) -> str:
    """The first file below `directory` that is not as its checksums say, and why; or nothing."""
    text = (directory / CHECKSUMS).read_text(errors="replace")
    header, *lines = text.splitlines() or [""]
    if header != f"# {len(lines)} files":
        return f"{CHECKSUMS} is damaged"
    for line in lines:
        digest, _, name = line.partition("  ")
        if not wanted(name):
            continue
        try:
            same = _digest(directory / name) == digest
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return f"{name} is missing"
        except PermissionError as error:
            raise InputError(f"{error.filename}: permission denied; make it readable") from None
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        except ValueError:
            return f"{CHECKSUMS} is damaged"
        if not same:
            return f"{name} is not what was saved (its checksum differs)"
    return ""


def survey(directory: Path, fault_of: Callable[[int], str]) -> Survey:
    """The newest step in which `fault_of` finds nothing, and what it finds in those before."""
    broken: dict[int, str] = {}
    for step in saved_steps(directory):
        broken[step] = fault_of(step)
        if not broken[step]:
            del broken[step]
            return Survey(step, broken)
    return Survey(None, broken)


def set_aside(directory: Path, broken: Mapping[int, str], say: Callable[[str], None]) -> None:
    """Move steps of `directory` into `broken` beside it, saying what is wrong with each."""
    aside = directory.parent / ASIDE
    for step, wrong in broken.items():
        with writing(aside):
            aside.mkdir(exist_ok=True)
            names = (f"{step}" if n == 0 else f"{step}-{n}" for n in range(1_000_000))
            free = next(aside / name for name in names if not (aside / name).exists())
            (directory / str(step)).rename(free)
        say(f"{directory / str(step)} is broken: {wrong}; passed over and moved to {free}")


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
