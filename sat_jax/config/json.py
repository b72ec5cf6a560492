"""Configs to JSON and back, strictly: `config.json` in, the same frozen dataclasses out."""

import dataclasses
import difflib
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from sat_jax.address import shown
from sat_jax.config import Config
from sat_jax.config.kinds import KINDS, kind_named
from sat_jax.config.older import updated
from sat_jax.errors import InputError
from sat_jax.run_directory import write_whole

C = TypeVar("C")

# Fields that may differ when a run goes on: where it runs and what it says, never what it learns.
RESUME_MAY_CHANGE = (
    "run_dir",
    "mesh",
    "distributed",
    "profile",
    "batches.threads",
    "corpus.data_dir",
    "corpus.workers",
    "loop.log_every",
    "loop.checkpoint_every",
    "loop.keep",
)
# Fields that an exported run keeps when it is trained on: what its parameters are made for.
EXPORT_FIXES = ("model", "features", "loop.first")


def encode(value: Any) -> Any:
    """A config (or a part of one) as plain JSON values; paths become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Path):
        return shown(value)
    if isinstance(value, tuple):
        return [encode(each) for each in value]
    return value


def decode(kind: type[C], values: Any, where: str = "") -> C:
    """The dataclass `kind` from JSON values; raises `InputError` for unknown keys and wrong types.

    Fields that the file lacks take their defaults, so that runs of older versions open.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where or 'config'}: expected an object, found {values!r}")
    if kind in KINDS:
        kind = _kind_of(kind, values, where)
    known = {f.name for f in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise InputError(f"{_join(where, key)}: unknown key; {hint}")
    hints = typing.get_type_hints(kind)
    return kind(**{k: _decode_field(hints[k], v, _join(where, k)) for k, v in values.items()})


def _kind_of(base: type, values: dict[str, Any], where: str) -> type:
    """The kind that values name, or the first one where they name none."""
    name = values.get("kind", next(iter(KINDS[base])))
    return kind_named(base, name, _join(where, "kind"))


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _decode_field(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, where)
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise InputError(f"{where} is {value!r}: give one of {', '.join(map(str, choices))}")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = (h for h in typing.get_args(hint) if h is not type(None))
        return _decode_field(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where} is {value!r}: give a list")
        each = typing.get_args(hint)[0]
        return tuple(_decode_field(each, item, f"{where}[{i}]") for i, item in enumerate(value))
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is not hint:
        raise InputError(f"{where} is {value!r}: give a value of type {hint.__name__}")
    return value


def write_config(path: Path, config: Config) -> None:
    """Write `config.json`, whole or not at all."""
    write_whole(path, json.dumps(encode(config), indent=2) + "\n")


def read_config(path: Path) -> Config:
    """Read a run's `config.json`; errors name the file and the key."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(
            f"{path}: not found; give a run directory that train.py made, such as runs/toy"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); restore it or start a new run") from None
    try:
        return decode(Config, updated(values))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_run(directory: Path, name: Path | None = None) -> Config:
    """The config of the run that lies in `directory`, wherever it was made.

    `name` is what the user calls the directory, such as the address that it is a copy of.
    """
    return dataclasses.replace(read_config(directory / "config.json"), run_dir=name or directory)


def require_same(stored: Path, config: Config) -> Config | None:
    """The config of the run that lies there, whose path is `stored`; None where there is no run.

    Raises `InputError` unless `config` is new, goes on with that run, or makes it longer.
    """
    first, steps = config.loop.first, config.loop.steps
    if not stored.exists():
        if first:
            raise InputError(
                f"loop.first is {first}, but {stored.parent} was not made by export.py: leave it "
                "away, or train in the directory that was"
            )
        return None
    old = read_config(stored)
    longer = dataclasses.replace(
        old, loop=dataclasses.replace(old.loop, steps=max(steps, old.loop.steps))
    )
    changed = differences(old if old.loop.first == old.loop.steps else longer, config)
    if changed:
        raise InputError(
            f"{stored.parent} holds another experiment ({'; '.join(changed[:3])}): give another "
            "--run-dir, or the same values to go on with it"
        )
    if first and first == steps:
        raise InputError(
            f"loop.steps is {steps}, the step at which {stored.parent} was exported: give a later "
            "one to train it on"
        )
    return old


def differences(old: Config, new: Config) -> list[str]:
    """Fields in which two configs would learn differently, as `field: old -> new`.

    A run that export.py made and that has learned nothing since may learn anything.
    """
    left, right = _flat(encode(old)), _flat(encode(new))
    # Fields that only one of two kinds has belong to the kind, which differs as well.
    changed = [key for key in left if key in right and left[key] != right[key]]
    if old.loop.first == old.loop.steps:
        changed = [key for key in changed if _under(key, EXPORT_FIXES)]
    return [
        f"{key}: {left[key]} -> {right[key]}"
        for key in changed
        if not _under(key, RESUME_MAY_CHANGE)
    ]


def _under(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(name + ".") for name in names)


def _flat(values: dict[str, Any], where: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, _join(where, key)))
        else:
            flat[_join(where, key)] = value
    return flat
