"""What was found of phones in, rows of CSV files out."""

from typing import Any

import numpy as np

from sat_jax import files
from sat_jax.analysis.operations import Operation
from sat_jax.figures import style
from sat_jax.records.check import PRUNED
from sat_jax.records.phones import ENDS, PhoneTable
from sat_jax.study.loaded_run import LoadedRun


def write_tables(
    loaded: LoadedRun, end: str, table: PhoneTable, operations: list[Operation]
) -> None:
    """analysis/: one file of relation maps for machines, one row per head and phone, per head."""
    analysis = loaded.out / "analysis"
    files.write_table(analysis / f"phone_concentration{end}.csv", concentration_rows(table))
    files.write_table(analysis / f"phone_shares{end}.csv", share_rows(table))
    files.write_table(analysis / f"operations{end}.csv", operation_rows(operations))
    files.write_arrays(
        analysis / f"phone_maps{end}.npz",
        relation=table.summary.relation,
        elsewhere=table.summary.elsewhere,
        phones=np.array(table.phones),
        operations=np.array(table.operations),
    )


def concentration_rows(table: PhoneTable) -> list[dict[str, Any]]:
    """One row per head and phone."""
    rows = []
    for layer, head, phone in np.ndindex(table.summary.concentration.value.shape):
        row = {"layer": layer + 1, "head": head + 1, "phone": table.phones[phone]}
        for end, values in zip(ENDS, table.summary.concentration, strict=True):
            row[f"concentration{end}"] = values[layer, head, phone]
        rows.append(of_head(table, (layer, head), row))
    return rows


def of_head(table: PhoneTable, at: tuple[int, int], row: dict[str, Any]) -> dict[str, Any]:
    """The row of a head; its numbers blank where the head is pruned."""
    return style.blank(row) if table.category[at] == PRUNED else row


def share_rows(table: PhoneTable) -> list[dict[str, Any]]:
    """One row per head: shares on silence and in the own segment, same phone, what it does."""
    rows = []
    for at in np.ndindex(table.category.shape):
        row: dict[str, Any] = {"layer": at[0] + 1, "head": at[1] + 1}
        row["category"] = str(table.category[at])
        for name in ("silence", "own", "same"):
            for end, values in zip(ENDS, getattr(table.summary, name), strict=True):
                row[f"{name}{end}"] = values[at]
        row["operations"] = table.operations[at[0]][at[1]]
        rows.append(of_head(table, at, row))
    return rows


def operation_rows(operations: list[Operation]) -> list[dict[str, Any]]:
    """One row per operation; one empty row where no head does anything."""
    empty = {"layer": "", "head": "", "operation": "", "phone": ""}
    empty |= {"effect": "", "effect_low": "", "effect_high": ""}
    return [
        {
            "layer": op.layer + 1,
            "head": op.head + 1,
            "operation": op.name,
            "phone": op.phone,
            "effect": op.effect,
            "effect_low": op.low,
            "effect_high": op.high,
        }
        for op in operations
    ] or [empty]


def map_rows(table: PhoneTable, shown: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """One row per head that is shown and pair of phones."""
    return [
        of_head(
            table,
            (layer, head),
            {
                "layer": layer + 1,
                "head": head + 1,
                "query": table.phones[m],
                "key": table.phones[n],
                "relation": table.summary.relation[layer, head, m, n],
                "elsewhere": table.summary.elsewhere[layer, head, m, n],
            },
        )
        for layer, head in shown
        for m in range(len(table.phones))
        for n in range(len(table.phones))
    ]


def extreme_rows(table: PhoneTable) -> list[dict[str, Any]]:
    """One row per head: verticality, strongest focus and strongest neglect."""
    rows = []
    concentration = table.summary.concentration
    for at in np.ndindex(table.category.shape):
        row: dict[str, Any] = {"layer": at[0] + 1, "head": at[1] + 1}
        row |= {"category": str(table.category[at]), "verticality": table.verticality[at]}
        for name, find in (("focus", np.nanargmax), ("neglect", np.nanargmin)):
            if table.category[at] == PRUNED:
                row |= dict.fromkeys((f"{name}_phone", name, f"{name}_low", f"{name}_high"), "")
                continue
            phone = find(concentration.value[at])
            row[f"{name}_phone"] = table.phones[phone]
            for end, values in zip(ENDS, concentration, strict=True):
                row[f"{name}{end}"] = values[at][phone]
        rows.append(of_head(table, at, row))
    return rows
