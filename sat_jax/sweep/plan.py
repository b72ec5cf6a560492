"""What was asked for in, the settings of the study and what each of them is for out."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sat_jax.errors import InputError
from sat_jax.model.attention.edit import NO_SPAN
from sat_jax.records.ablation import REVERSED
from sat_jax.sweep import trie
from sat_jax.sweep.orderings import (
    gates_of,
    order_by,
    points_of,
    random_orders,
    single_gates,
)
from sat_jax.sweep.trie import Settings, make_settings

METRICS = {"globalness": True, "verticality": True, "diagonality": True, "weight": False}
"""Metric orderings (Yang et al. 2020, section 7), and whether the largest value goes first."""
SPANS = (NO_SPAN, 50, 25, 15, 5, 3, 2, 1, 0)
"""Positions that all heads may look away."""


class Row(NamedTuple):
    """What one setting is for."""

    study: str
    """order, span, grid or single."""
    ordering: str
    kind: str
    """What a pruned head's attention becomes: zero, or its mean."""
    draw: int = 0
    pruned: int = 0
    span: int = NO_SPAN
    layer: int = -1
    """Of the single head that is pruned, from 0."""
    head: int = -1


class Plan(NamedTuple):
    """G settings."""

    rows: list[Row]
    settings: Settings


Orders = dict[str, np.ndarray]
"""Names of orderings to heads (N,) in the order in which they go; random ones (draws, N)."""


def make_plan(preset: str, orders: Orders, shape: tuple[int, int], kind: str) -> Plan:
    """All settings of a preset for a model of `shape` layers and heads."""
    heads = shape[0] * shape[1]
    points = points_of(heads, preset == "coarse")
    ops = [
        order_plan(name, draw, order, points, shape, kind)
        for name, orders_of in orders.items()
        for draw, order in enumerate(np.atleast_2d(orders_of))
    ]
    if preset == "full":
        seven = points_of(heads, True)
        other = "mean" if kind == "zero" else "zero"
        ops += [order_plan(name, 0, orders[name], seven, shape, other) for name in METRICS]
        ops += [single_plan(shape, kind), span_plan(shape, kind)]
        ops.append(grid_plan("globalness", orders["globalness"], seven, shape, kind))
    return joined(ops)


def joined(ops: list[Plan]) -> Plan:
    """Plans one after the other."""
    rows = [row for piece in ops for row in piece.rows]
    return Plan(rows, trie.join([piece.settings for piece in ops]))


def cut(gates: np.ndarray, kind: str, spans: np.ndarray | int | None = None) -> Settings:
    """Settings that take away the heads whose gate is 0, in one way or the other."""
    if kind == "zero":
        return make_settings(gates, spans)
    return make_settings(np.ones_like(gates), spans, gates == 0)


def order_plan(
    name: str, draw: int, order: np.ndarray, points: np.ndarray, shape: tuple[int, int], kind: str
) -> Plan:
    """One ordering, cumulatively, at `points` numbers of pruned heads, as far as it goes."""
    points = np.union1d(points[points <= len(order)], len(order))
    rows = [Row("order", name, kind, draw, int(point)) for point in points]
    return Plan(rows, cut(gates_of(order, points, shape), kind))


def single_plan(shape: tuple[int, int], kind: str) -> Plan:
    """Leave one out, and the intact model."""
    gates = np.concatenate([np.ones((1, *shape), np.float32), single_gates(shape)])
    rows = [Row("single", "", kind)] + [
        Row("single", "", kind, pruned=1, layer=layer, head=head)
        for layer in range(shape[0])
        for head in range(shape[1])
    ]
    return Plan(rows, cut(gates, kind))


def span_plan(shape: tuple[int, int], kind: str) -> Plan:
    """All heads limited to each span."""
    rows = [Row("span", "", kind, span=span) for span in SPANS]
    gates = np.ones((len(SPANS), *shape), np.float32)
    return Plan(rows, make_settings(gates, np.array(SPANS)[:, None, None]))


def grid_plan(
    name: str, order: np.ndarray, points: np.ndarray, shape: tuple[int, int], kind: str
) -> Plan:
    """Heads pruned in one order, times spans of those that are left."""
    gates = gates_of(order, points, shape)
    ops = [
        Plan(
            [Row("grid", name, kind, pruned=int(point), span=span) for point in points],
            cut(gates, kind, span),
        )
        for span in SPANS
    ]
    return joined(ops)


def metric_orders(values: Mapping[str, np.ndarray]) -> Orders:
    """The four metric orderings from values (L, H) each."""
    return {name: order_by(values[name], first) for name, first in METRICS.items()}


def reversed_orders(orders: Orders) -> Orders:
    """Every ordering from its other end."""
    return {name + REVERSED: order[::-1] for name, order in orders.items()}


def preset_orders(
    preset: str,
    metrics: Orders,
    gradient: np.ndarray | None,
    user: np.ndarray | None,
    draws: int,
    seed: int,
    shape: tuple[int, int],
) -> Orders:
    """The orderings of a preset; `gradient` is the importance (L, H), None where the
    model predicts nothing that it could follow from."""
    heads = shape[0] * shape[1]
    orders = dict(metrics)
    if preset != "coarse":
        orders |= reversed_orders(metrics)
    if preset == "full":
        more = {"layer": np.arange(heads)}
        if gradient is not None:
            more["gradient"] = order_by(gradient, False)
        orders |= more | reversed_orders(more)
    if user is not None:
        orders["user"] = user
    if draws:
        orders["random"] = random_orders(seed, heads, draws)
    return orders


def read_order(path: Path, shape: tuple[int, int], field: str = "ablate.order") -> np.ndarray:
    """Heads in the order of a CSV with the columns layer,head, both from 1.

    Raises `InputError` for a missing file or column, and for a head that the model does not have or
    that comes twice; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{field} {path}: cannot be read ({error}); give a CSV") from error
    if not {"layer", "head"} <= set(names):
        raise InputError(f"{field} {path}: has no columns layer,head; give both, from 1")
    if not rows:
        raise InputError(f"{field} {path}: names no head; give one line per head")
    order: list[int] = []
    for line, row in rows:
        try:
            layer, head = int(row["layer"]), int(row["head"])
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{field} {path}, line {line}: {row['layer']!r}, {row['head']!r} are no whole "
                "numbers; give layer and head, from 1"
            ) from error
        if not (1 <= layer <= shape[0] and 1 <= head <= shape[1]):
            raise InputError(
                f"{field} {path}, line {line}: there is no layer {layer}, head {head}; the "
                f"model has {shape[0]} layers of {shape[1]} heads"
            )
        place = (layer - 1) * shape[1] + head - 1
        if place in order:
            raise InputError(
                f"{field} {path}, line {line}: layer {layer}, head {head} came before; name "
                "every head at most once"
            )
        order.append(place)
    return np.array(order)
