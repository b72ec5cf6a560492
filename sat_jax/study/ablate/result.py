"""What was measured of one checkpoint, and as the records that figures draw."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sat_jax.records.ablation import Ablation
from sat_jax.records.heads import HeadTable
from sat_jax.study.ablate.context import SweepContext
from sat_jax.study.ablate.scores import TaskScores, task_of
from sat_jax.sweep.plan import Orders, Plan
from sat_jax.sweep.store import Arrays

KINDS = {"zero": "attention set to 0", "mean": "attention replaced by its mean"}
PROBE_NAMES = {"anew": "probes trained anew", "frozen": "frozen probes"}
SHAPES = {False: "linear", True: "hidden layer"}


class AblationResult(NamedTuple):
    """Everything that was measured."""

    context: SweepContext
    plan: Plan
    arrays: Arrays
    orders: Orders
    scores: list[TaskScores]
    kept: HeadTable


def as_condition(control: AblationResult, beside: Ablation) -> Ablation:
    """The curves of the untrained model as one more condition of a table of the trained one."""
    kind = control.context.loaded.analysis.ablate.kind
    table = table_of(control, "anew", kind)
    return table._replace(name=beside.name, kind=f"untrained, {table.kind}", draws=beside.draws)


def table_of(result: AblationResult, probes: str, kind: str) -> Ablation:
    """All curves with one kind of probes and of ablation; reconstruction has no probes."""
    context, names = result.context, list(result.orders)
    seven = [task_of(a, result.plan.rows, names, kind) for a in wanted(result.scores, probes)]
    model = context.loaded.model.spec
    return Ablation(
        name=context.checkpoint.name,
        probes=named_probes(result, probes),
        kind=KINDS[kind],
        heads=model.layers * model.heads,
        utterances=int((context.speech.part == 2).sum()),
        seeds=context.loaded.analysis.ablate.probe_seeds,
        draws=len(np.atleast_2d(result.orders.get("random", np.empty((0, 1))))),
        tasks=tuple(task for task in seven if task.curves),
    )


def named_probes(result: AblationResult, probes: str) -> str:
    """A kind of probes as figures name it."""
    if not result.context.tasks:
        return PROBE_NAMES[probes]
    shape = SHAPES[any(task.budget.hidden for task in result.context.tasks)]
    return f"{PROBE_NAMES[probes]} ({shape})"


def wanted(scores: Sequence[TaskScores], probes: str) -> list[TaskScores]:
    """Answers with one kind of probes, and with `anew` those that need none."""
    return [a for a in scores if a.probes == probes or (probes == "anew" and not a.probes)]


def conditions_of(result: AblationResult) -> list[Ablation]:
    """The study's own kind of ablation with both kinds of probes, then the other kind."""
    kind = result.context.loaded.analysis.ablate.kind
    other = "mean" if kind == "zero" else "zero"
    pairs = [("anew", kind), ("frozen", kind), ("anew", other)]
    return [table_of(result, *pair) for pair in pairs]
