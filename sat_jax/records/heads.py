"""Head metrics, ranks and categories of one model: the record, its check, and it as arrays."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sat_jax.errors import InputError
from sat_jax.records.check import check_categories, head_mask_of

CATEGORY_OF = {"globalness": "global", "verticality": "vertical", "diagonality": "diagonal"}
"""Metrics to the categories of heads that rank highest by them."""
RANKED = (*CATEGORY_OF, "weight")


class HeadTable(NamedTuple):
    """Every head of one model on one corpus; all arrays are (L, H), NaN for pruned heads."""

    name: str
    """The model, as it stands over its figures."""
    metrics: dict[str, np.ndarray]
    """Mean over utterances of each metric."""
    low: dict[str, np.ndarray]
    """Lower end (2.5 %) of the bootstrap interval of each metric."""
    high: dict[str, np.ndarray]
    """Upper end (97.5 %)."""
    ranks: dict[str, np.ndarray]
    """Rank by globalness, verticality, diagonality and weight; 1 is the largest value."""
    rank_low: dict[str, np.ndarray]
    """Lower end of the bootstrap interval of each rank."""
    rank_high: dict[str, np.ndarray]
    """Upper end."""
    category: np.ndarray
    """"global", "vertical", "diagonal", or "pruned"."""
    category_share: np.ndarray
    """Share of bootstrap draws in which the head has this category."""
    utterances: int
    """Number of utterances behind every mean."""
    shares: dict[str, tuple[float, float, float]]
    """Share of the heads that are not pruned in each category, with its 95 % interval."""


def check_heads(table: HeadTable) -> None:
    """Raise InputError where arrays differ in shape, hold NaN, or name an unknown category.

    NaN belongs to pruned heads, and to them alone.
    """
    where = f"head table {table.name!r}"
    check_categories(where, table.category)
    shape, head_mask = np.shape(table.category), head_mask_of(table.category)
    missing = [name for name in RANKED if name not in table.metrics or name not in table.ranks]
    if missing:
        raise InputError(f"{where}: {missing[0]} is missing; measure it as well")
    groups = {
        "metrics": table.metrics,
        "low": {name: table.low.get(name, ()) for name in table.metrics},
        "high": {name: table.high.get(name, ()) for name in table.metrics},
        "ranks": table.ranks,
        "rank_low": {name: table.rank_low.get(name, ()) for name in table.ranks},
        "rank_high": {name: table.rank_high.get(name, ()) for name in table.ranks},
        "category_share": {"all": table.category_share},
    }
    for field, arrays in groups.items():
        for name, values in arrays.items():
            if np.shape(values) != shape:
                raise InputError(
                    f"{where}: {field}[{name}] has shape {np.shape(values)}, "
                    f"expected {shape} like category"
                )
            wrong = np.where(head_mask, ~np.isfinite(values), ~np.isnan(values))
            if wrong.any():
                layer, head = np.argwhere(wrong)[0] + 1
                if not head_mask[layer - 1, head - 1]:
                    raise InputError(
                        f"{where}: {field}[{name}] has a value at L{layer} H{head}, which is "
                        "pruned; expected NaN"
                    )
                raise InputError(
                    f"{where}: {field}[{name}] is not finite at L{layer} H{head}; look for empty "
                    "utterances or a checkpoint that diverged"
                )


def arrays_of(table: HeadTable) -> dict[str, np.ndarray]:
    """A table as named arrays, `table_of_arrays` makes it of them again."""
    arrays = {}
    for field, value in table._asdict().items():
        if isinstance(value, dict):
            arrays |= {f"{field}/{name}": np.asarray(each) for name, each in value.items()}
        else:
            arrays[field] = np.asarray(value)
    return arrays


def table_of_arrays(arrays: Mapping[str, np.ndarray]) -> HeadTable:
    """The table that `arrays_of` was given; raises InputError where they are not such arrays."""
    fields: dict[str, Any] = {field: {} for field in HeadTable._fields}
    for name, value in arrays.items():
        field, _, key = name.partition("/")
        if key and isinstance(fields.get(field), dict):
            fields[field][key] = value
        else:
            fields[field] = value
    try:
        fields |= {"name": str(fields["name"]), "utterances": int(fields["utterances"])}
        fields["shares"] = {
            name: tuple(map(float, each)) for name, each in fields["shares"].items()
        }
        table = HeadTable(**fields)
        check_heads(table)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"head table: is not whole ({error})") from error
    return table
