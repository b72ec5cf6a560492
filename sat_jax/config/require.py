"""A value and its name in, nothing out: one line of error for a value that cannot work."""

from pathlib import Path

from sat_jax.address import address_of, place_of
from sat_jax.errors import InputError


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def require_share(value: float, name: str) -> None:
    """A proportion that has to lie strictly between 0 and 1."""
    require(0.0 < value < 1.0, f"{name} is {value}: give a proportion strictly between 0 and 1")


def require_at_least(value: float, minimum: float, name: str) -> None:
    """A number with a smallest sensible value."""
    require(value >= minimum, f"{name} is {value}: give at least {minimum}")


def require_positive(value: float, name: str) -> None:
    """A number over 0."""
    require(value > 0, f"{name} is {value}: give a positive number")


def require_std(value: float | None, name: str) -> None:
    """A standard deviation, or none."""
    require(value is None or value > 0, f"{name} is {value}: give a positive number")


def require_local(path: Path | None, name: str, cure: str = "give a path") -> None:
    """A path of a file system, not an address in the cloud."""
    address = address_of(path)
    require(not address, f"{name} is {address}: only paths are read and written here; {cure}")


def require_place(path: Path | None, name: str) -> None:
    """A path, or an address that a local copy can be kept of."""
    try:
        place_of(path or "")
    except InputError as error:
        raise InputError(f"{name} is {error}") from None


def require_probability(value: float, name: str) -> None:
    """A number from 0 to 1."""
    require(0 <= value <= 1, f"{name} is {value}: give a probability from 0 to 1")
