"""Checks that all records share, and the categories that a head can have."""

import numpy as np

from sat_jax.errors import InputError

CATEGORIES = ("global", "vertical", "diagonal")
PRUNED = "pruned"
"""The category of a pruned head."""


def head_mask_of(category: np.ndarray) -> np.ndarray:
    """Which heads are not pruned, bool of the shape of their categories."""
    return np.asarray(category) != PRUNED


def check_categories(where: str, category: np.ndarray) -> None:
    """Raise InputError where categories are not (L, H), one is unknown, or all heads are pruned."""
    shape = np.shape(category)
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"{where}: category of heads {shape}; expected (L, H)")
    unknown = sorted(set(np.ravel(category).tolist()) - {*CATEGORIES, PRUNED})
    if unknown:
        raise InputError(f"{where}: category {unknown[0]!r} is not one of {CATEGORIES}")
    if not head_mask_of(category).any():
        raise InputError(f"{where}: all heads are pruned; expected at least one that is not")


def check_numbers(
    where: str, fields: dict[str, tuple[np.ndarray, tuple]], head_mask: np.ndarray | None = None
) -> None:
    """Raise InputError where a field (value, shape) has another shape or is not finite.

    None in a shape stands for any length. With `head_mask` (L, H), the shape of all fields then,
    they have to be NaN for the pruned heads, where it is False.
    """
    for field, (values, shape) in fields.items():
        found = np.shape(values)
        agree = len(found) == len(shape)
        if not agree or any(s not in (None, f) for f, s in zip(found, shape, strict=True)):
            wanted = str(shape).replace("None", "any")
            raise InputError(f"{where}: {field} has shape {found}, expected {wanted}")
        measured = True if head_mask is None else head_mask
        if not np.where(measured, np.isfinite(values), np.isnan(values)).all():
            raise InputError(
                f"{where}: {field} is not finite; look for empty utterances or a checkpoint that "
                "diverged"
            )
