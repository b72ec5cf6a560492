"""Padded positions in, the valid ones in rows one after another out, and back.

What a transformer does to every position by itself need not be done to padding. Only attention
has to know which positions belong to one utterance.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Packing(NamedTuple):
    """Which of P rows holds which of B x T positions. Arrays of numpy, or on the devices."""

    row: jax.Array
    """(B, T) int32: the row of every position; any row for a padded one."""
    position: jax.Array
    """(P,) int32: b T + t of every row; a row that is left over repeats a position."""


def packing_of(valid: np.ndarray, rows: int | None = None, devices: int = 1) -> Packing:
    """The packing of positions that are valid (B, T), into `rows` rows of each device.

    Every device holds B / `devices` utterances, and counts their positions and its rows from 0.
    `rows` are as many as needed, at least 1, if not given. Raises `ValueError` if they are too few.
    """
    batch, length = valid.shape
    held = valid.reshape(devices, -1)
    needed = rows_needed(valid, devices)
    rows = needed if rows is None else rows
    if rows < needed:
        raise ValueError(f"{needed} valid positions do not fit {rows} rows")
    row = np.where(held, np.cumsum(held, axis=1) - 1, 0)
    position = np.zeros((devices, rows), np.int32)
    for device, each in enumerate(held):
        found = np.flatnonzero(each)
        position[device, : len(found)] = found
    return Packing(row.reshape(batch, length).astype(np.int32), position.reshape(-1))


def rows_needed(valid: np.ndarray, devices: int = 1) -> int:
    """Rows that every device needs for its share of positions that are valid (B, T)."""
    return max(int(valid.reshape(devices, -1).sum(1).max()), 1)


def real_rows(valid: np.ndarray, rows: int, devices: int = 1) -> np.ndarray:
    """(devices * rows,) bool: rows that hold a position of their own, not one that is repeated."""
    counts = valid.reshape(devices, -1).sum(1)
    return (np.arange(rows) < counts[:, None]).reshape(-1)


def pack(padded: jax.Array, packing: Packing) -> jax.Array:
    """Arrays (B, T, ...) of positions as rows (P, ...)."""
    flat = jnp.asarray(padded).reshape(-1, *padded.shape[2:])
    return flat.at[packing.position].get(mode="promise_in_bounds")


def unpack(rows: jax.Array, packing: Packing) -> jax.Array:
    """Rows (P, ...) as arrays (B, T, ...); padded positions get what some other one has."""
    return jnp.asarray(rows).at[packing.row].get(mode="promise_in_bounds")


def of_nodes(packing: Packing, nodes: int) -> Packing:
    """The packing of rows (P * C, ...), C nodes of each, as positions of B * C utterances."""
    if nodes == 1:
        return packing
    batch, length = packing.row.shape
    node = np.arange(nodes, dtype=np.int32)
    row = packing.row[:, None] * nodes + node[:, None]
    utterance, time = packing.position // length, packing.position % length
    position = ((utterance[:, None] * nodes + node) * length) + time[:, None]
    return Packing(row.reshape(batch * nodes, length), position.reshape(-1))


def dealt(count: np.ndarray, share: int) -> np.ndarray:
    """An order (U,) of utterances in which every `share` of them have about as many positions.

    The longest first, each goes to the emptiest share that has room; the last may have less room.
    """
    shares = -(-len(count) // share)
    room = np.full(shares, share)
    room[-1] = len(count) - share * (shares - 1)
    held, owner = np.zeros(shares), np.empty(len(count), np.int64)
    for utterance in np.argsort(-count, kind="stable"):
        emptiest = np.where(room > 0, held, np.inf).argmin()
        owner[utterance] = emptiest
        held[emptiest] += count[utterance]
        room[emptiest] -= 1
    return np.argsort(owner, kind="stable")
