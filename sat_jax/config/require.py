"""A value and its name in, nothing out: one line of error for a value that cannot work."""

from pathlib import Path

from sat_jax.errors import InputError

CLOUD = ("gs", "s3", "az", "hdfs", "http", "https")
"""Beginnings of addresses that are no paths."""


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


def require_local(path: Path | None, name: str) -> None:
    """A path of a file system, not of a store in the cloud."""
    text = str(path or "")
    scheme = text.split(":")[0]
    require(
        scheme not in CLOUD or not text.startswith(f"{scheme}:/"),
        f"{name} is {text}: only paths of a file system are read and written; mount it (gcsfuse, "
        "mountpoint-s3) and give the path of the mount",
    )


def require_probability(value: float, name: str) -> None:
    """A number from 0 to 1."""
    require(0 <= value <= 1, f"{name} is {value}: give a probability from 0 to 1")
