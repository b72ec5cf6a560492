"""Fields of one of several kinds: which there are, and how one is chosen by its name.

The command line says `--model.attention qk` or `--model.attention.kind qk`; `config.json` holds the
kind beside its fields.
"""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

from sat_jax.config.attention import ATTENTIONS, Attention
from sat_jax.config.model import FRONTENDS, Frontend
from sat_jax.config.objective import OBJECTIVES, Objective
from sat_jax.config.train import OPTIMIZERS, Optim
from sat_jax.errors import InputError

KINDS: dict[type, dict[str, type]] = {
    Frontend: FRONTENDS,
    Attention: ATTENTIONS,
    Objective: OBJECTIVES,
    Optim: OPTIMIZERS,
}


def kind_named(base: type, name: Any, where: str) -> type:
    """The kind of `base` with this name; raises `InputError` that lists the names."""
    kinds = KINDS[base]
    if name not in kinds:
        near = difflib.get_close_matches(str(name), kinds, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"{where} is {name!r}: {hint}give one of {', '.join(kinds)}")
    return kinds[name]


def changed_kind(value: Any, kind: type) -> Any:
    """`value` itself if it is of that kind, else a new one with the fields that both have."""
    if type(value) is kind:
        return value
    names = {field.name for field in dataclasses.fields(value)} - {"kind"}
    shared = {f.name: getattr(value, f.name) for f in dataclasses.fields(kind) if f.name in names}
    return kind(**shared)


def choose_kinds(config: Any, arguments: Sequence[str]) -> tuple[Any, list[str]]:
    """The config with the kinds that command-line arguments choose, and the other arguments.

    Raises `InputError` for a kind that there is not.
    """
    fields = kind_fields(config)
    rest: list[str] = []
    at = 0
    while at < len(arguments):
        flag, equals, value = arguments[at].partition("=")
        where = flag.removeprefix("--").replace("_", "-").removesuffix(".kind")
        if not flag.startswith("--") or where not in fields:
            rest.append(arguments[at])
            at += 1
            continue
        if not equals:
            at += 1
            if at == len(arguments):
                raise InputError(f"{flag}: give one of {', '.join(KINDS[fields[where]])}")
            value = arguments[at]
        at += 1
        config = _with_kind(config, where.split("."), kind_named(fields[where], value, where))
    return config, rest


def kind_fields(config: Any, where: str = "") -> dict[str, type]:
    """Dotted names of all fields that are of one of several kinds, and what they are kinds of."""
    found: dict[str, type] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        name = f"{where}.{field.name}" if where else field.name
        for base in KINDS:
            if isinstance(value, base):
                found[name.replace("_", "-")] = base
        if dataclasses.is_dataclass(value):
            found |= kind_fields(value, name)
    return found


def _with_kind(config: Any, path: Sequence[str], kind: type) -> Any:
    name = path[0].replace("-", "_")
    value = getattr(config, name)
    new = _with_kind(value, path[1:], kind) if path[1:] else changed_kind(value, kind)
    return dataclasses.replace(config, **{name: new})
