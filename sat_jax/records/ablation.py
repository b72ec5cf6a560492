"""The ablation study: what remains of tasks when heads are pruned or spans limited; checks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sat_jax.errors import InputError
from sat_jax.records.check import CATEGORIES, check_numbers

ORDERINGS = (
    "globalness",
    "verticality",
    "diagonality",
    "weight",
    "gradient",
    "leave-one-out",
    "layer",
    "user",
    "random",
)
REVERSED = " reversed"
MOST_TASKS, MOST_TABLES, MOST_SHOWN = 4, 4, 4


class Curve(NamedTuple):
    """One ordering on one task: its value after so many heads are pruned."""

    ordering: str  # one of `ORDERINGS`, or one of them + " reversed"
    pruned: np.ndarray  # (n,) heads pruned, ascending, begins at 0
    value: np.ndarray  # (n,) (random: the mean over draws)
    low: np.ndarray  # (n,) 95 % interval (random: the lowest draw)
    high: np.ndarray  # (n,)              (random: the highest draw)
    area: float  # mean of the curve over the share of pruned heads, its interval
    area_low: float
    area_high: float
    removable: int  # most heads that can be pruned at <= 1 % relative loss


class Task(NamedTuple):
    """One task after pruning, in every ordering that was tried."""

    name: str  # "reconstruction", "phone", "speaker frame", "speaker utterance"
    label: str  # axis label, e.g. "L1 of the spectrogram", "phone accuracy (%)"
    lower_is_better: bool
    chance: float  # of guessing the commonest class, or the error of the mean; NaN: unknown
    curves: tuple[Curve, ...]


class Ablation(NamedTuple):
    """One model, pruned in one way, on all tasks."""

    name: str  # the model, "toy (step 2400)"
    probes: str  # "probes trained anew" / "frozen probes" (said in the heading)
    kind: str  # "attention set to 0" / "attention replaced by its mean"
    heads: int  # L * H
    utterances: int  # tested on
    seeds: int  # probe seeds
    draws: int  # random orderings
    tasks: tuple[Task, ...]  # 1 to 4


class Spans(NamedTuple):
    """One task when every head may only look so far."""

    name: str  # as Task.name
    label: str
    lower_is_better: bool
    chance: float
    spans: tuple[int | None, ...]  # positions, None = full; in the order drawn: full, 50, ..., 0
    value: np.ndarray  # (n,)
    low: np.ndarray
    high: np.ndarray


class Grid(NamedTuple):
    """One task over heads pruned x span."""

    ordering: str  # in which heads are pruned; the same for all tasks
    name: str
    label: str
    lower_is_better: bool
    pruned: tuple[int, ...]
    spans: tuple[int | None, ...]
    value: np.ndarray  # (pruned, spans)


class Single(NamedTuple):
    """One task when one head alone is left out."""

    name: str
    label: str
    lower_is_better: bool
    intact: float
    change: np.ndarray  # (L, H) value without that head minus intact
    low: np.ndarray  # its interval
    high: np.ndarray


class Ranking(NamedTuple):
    """In which order the heads of one model are pruned, by every ordering."""

    name: str  # the model
    orderings: tuple[str, ...]  # (O,)
    correlation: np.ndarray  # (O, O) Spearman between orderings
    globalness: np.ndarray  # (L, H) rank, 1 = pruned first by globalness
    weight: np.ndarray  # (L, H) rank, 1 = pruned first by weight
    category: np.ndarray  # (L, H)
    disagreeing: tuple[tuple[int, int], ...]  # heads (layer, head) from 0 whose ranks differ most
    maps: np.ndarray | None  # (len(disagreeing), P, P) phone relation maps, None without phones
    manners: tuple[str, ...]  # (P,)
    phones: tuple[str, ...]  # (P,)
    operations: tuple[str, ...]  # per disagreeing head a short text, may be ""


def base(ordering: str) -> str:
    """The ordering that a reversed one reverses."""
    return ordering.removesuffix(REVERSED)


def check_ablation(table: Ablation) -> None:
    """Raise InputError where an ordering is unknown, shapes disagree or curves start apart."""
    where = f"ablation {table.name!r}"
    _check_count(where, "tasks", table.tasks)
    _check_unique(where, "task", [task.name for task in table.tasks])
    for task in table.tasks:
        _check_task(f"{where}, task {task.name!r}", task, table.heads)


def check_ablations(tables: Sequence[Ablation]) -> None:
    """Raise InputError as `check_ablation` does, and where tables cannot share their axes."""
    if not 0 < len(tables) <= MOST_TABLES:
        raise InputError(f"ablations side by side: {len(tables)} tables, expected 1 to 4")
    kinds: dict[str, Task] = {}
    for table in tables:
        check_ablation(table)
        if table.heads != tables[0].heads:
            raise InputError(
                f"ablation {table.name!r}: {table.heads} heads beside {tables[0].heads}; "
                "compare tables of models of one size"
            )
        for task in table.tasks:
            first = kinds.setdefault(task.name, task)
            if (task.label, task.lower_is_better) != (first.label, first.lower_is_better):
                raise InputError(
                    f"ablation {table.name!r}, task {task.name!r}: {task.label!r} and "
                    f"{first.label!r} share an axis; give them one label and one direction"
                )
    looks = [f"{table.name}, {table.kind}, {table.probes}" for table in tables]
    _check_unique("ablations side by side", "table", looks)
    _check_count("ablations side by side", "tasks", kinds)


def check_spans(spans: Sequence[Spans]) -> None:
    """Raise InputError where there are no tasks or too many, or a record disagrees in itself."""
    _check_count("span limits", "tasks", spans)
    _check_unique("span limits", "task", [each.name for each in spans])
    for each in spans:
        where, shape = f"span limits of {each.name!r}", (len(each.spans),)
        _check_span_names(where, each.spans)
        _check_interval(where, each.value, each.low, each.high, shape)
        _check_chance(where, each.chance)
        if None not in each.spans:
            raise InputError(f"{where}: no span is None; measure the full span as well")


def check_grids(grids: Sequence[Grid]) -> None:
    """Raise InputError where there are no tasks or too many, or a record disagrees in itself."""
    _check_count("heads x spans", "tasks", grids)
    _check_unique("heads x spans", "task", [each.name for each in grids])
    if len({each.ordering for each in grids}) > 1:
        raise InputError("heads x spans: tasks are pruned in several orderings; show one at a time")
    for each in grids:
        where = f"heads x spans of {each.name!r}"
        _check_span_names(where, each.spans)
        _check_unique(where, "number of heads pruned", each.pruned)
        check_numbers(where, {"value": (each.value, (len(each.pruned), len(each.spans)))})
        if not each.pruned:
            raise InputError(f"{where}: pruned is empty; expected at least one number of heads")


def check_singles(singles: Sequence[Single]) -> None:
    """Raise InputError where there are no tasks or too many, or shapes of tasks disagree."""
    _check_count("leave one out", "tasks", singles)
    _check_unique("leave one out", "task", [each.name for each in singles])
    shape = np.shape(singles[0].change)
    for each in singles:
        where = f"leave one out of {each.name!r}"
        if len(shape) != 2 or 0 in shape:
            raise InputError(f"{where}: change has shape {shape}, expected (L, H)")
        check_numbers(where, {"intact": (each.intact, ())})
        _check_interval(where, each.change, each.low, each.high, shape, "change")


def check_ranking(ranking: Ranking) -> None:
    """Raise InputError where shapes disagree, or ranks, correlations or heads are out of range."""
    where, shape = f"ranking of {ranking.name!r}", np.shape(ranking.category)
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"{where}: category has shape {shape}, expected (L, H)")
    unknown = sorted(set(np.ravel(ranking.category).tolist()) - set(CATEGORIES))
    if unknown:
        raise InputError(f"{where}: category {unknown[0]!r} is not one of {CATEGORIES}")
    count, orders = len(ranking.disagreeing), len(ranking.orderings)
    if not orders:
        raise InputError(f"{where}: orderings is empty; expected at least one")
    _check_orderings(where, ranking.orderings)
    check_numbers(
        where,
        {
            "correlation": (ranking.correlation, (orders, orders)),
            "globalness": (ranking.globalness, shape),
            "weight": (ranking.weight, shape),
        },
    )
    if np.abs(ranking.correlation).max() > 1 + 1e-6:
        raise InputError(f"{where}: correlation is beyond -1..1; expected Spearman correlations")
    for field in ("globalness", "weight"):
        ranks = np.asarray(getattr(ranking, field))
        if ranks.min() < 1 or ranks.max() > ranks.size:
            raise InputError(f"{where}: {field} holds ranks that are not in 1..{ranks.size}")
    if count > MOST_SHOWN or len(ranking.operations) != count:
        raise InputError(
            f"{where}: {count} disagreeing heads and {len(ranking.operations)} operations; "
            f"expected at most {MOST_SHOWN} heads and one text for each"
        )
    for layer, head in ranking.disagreeing:
        if not (0 <= layer < shape[0] and 0 <= head < shape[1]):
            raise InputError(f"{where}: head ({layer}, {head}) is not in {shape}, counted from 0")
    phones = len(ranking.phones)
    if ranking.maps is not None and (
        np.shape(ranking.maps) != (count, phones, phones) or len(ranking.manners) != phones
    ):
        raise InputError(
            f"{where}: maps have shape {np.shape(ranking.maps)}, expected {(count, phones, phones)}"
            f" for {phones} phones and {len(ranking.manners)} manners"
        )


def _check_task(where: str, task: Task, heads: int) -> None:
    if not task.curves:
        raise InputError(f"{where}: no curve was given; expected at least one ordering")
    _check_orderings(where, [curve.ordering for curve in task.curves])
    _check_chance(where, task.chance)
    for curve in task.curves:
        here, pruned = f"{where}, ordering {curve.ordering!r}", np.asarray(curve.pruned)
        shape = (len(pruned),) if pruned.ndim == 1 else (0,)
        check_numbers(here, {"pruned": (pruned, shape)})
        if not len(pruned) or pruned[0] != 0 or pruned[-1] > heads or (np.diff(pruned) <= 0).any():
            raise InputError(f"{here}: pruned must rise from 0 to at most {heads} heads")
        _check_interval(here, curve.value, curve.low, curve.high, shape)
        _check_interval(here, curve.area, curve.area_low, curve.area_high, (), "area")
        if not 0 <= curve.removable <= heads:
            raise InputError(f"{here}: removable is {curve.removable}, expected 0..{heads}")
        # Nothing is pruned yet: the intact model is the same whatever is pruned first.
        first = task.curves[0]
        if not np.isclose(curve.value[0], first.value[0], rtol=1e-4, atol=0):
            raise InputError(
                f"{here}: begins at {curve.value[0]:.6g}, {first.ordering!r} at "
                f"{first.value[0]:.6g}; measure the intact model once"
            )


def _check_interval(where, value, low, high, shape, name: str = "value") -> None:
    check_numbers(where, {name: (value, shape), "low": (low, shape), "high": (high, shape)})
    if (np.asarray(low) > np.asarray(high)).any():
        raise InputError(f"{where}: the interval of {name} ends below its beginning")


def _check_orderings(where: str, orderings: Sequence[str]) -> None:
    for ordering in orderings:
        if base(ordering) not in ORDERINGS:
            known = ", ".join(ORDERINGS)
            raise InputError(f"{where}: ordering {ordering!r} is unknown; expected one of {known}")
    _check_unique(where, "ordering", orderings)


def _check_span_names(where: str, spans: Sequence[int | None]) -> None:
    if not spans or any(span is not None and span < 0 for span in spans):
        raise InputError(
            f"{where}: spans are {spans}; expected None (full) or 0 and more positions"
        )
    _check_unique(where, "span", spans)


def _check_chance(where: str, chance: float) -> None:
    if np.isinf(chance):
        raise InputError(f"{where}: chance is {chance}; expected a number, or NaN for none")


def _check_count(where: str, what: str, given: Sequence) -> None:
    if not 0 < len(given) <= MOST_TASKS:
        raise InputError(f"{where}: {len(given)} {what}, expected 1 to {MOST_TASKS}")


def _check_unique(where: str, what: str, given: Sequence) -> None:
    twice = [each for each in dict.fromkeys(given) if list(given).count(each) > 1]
    if twice:
        raise InputError(f"{where}: {what} {twice[0]!r} is given twice; give each once")
