"""What is left under every setting in, values with their intervals and curves of them out."""

from typing import NamedTuple

import jax
import numpy as np

from sat_jax.analysis.bootstrap import INTERVAL, bootstrap_weights
from sat_jax.model.attention.edit import NO_SPAN
from sat_jax.records.ablation import (
    MOST_SHOWN,
    REVERSED,
    Curve,
    Grid,
    Ranking,
    Single,
    Spans,
    Task,
)
from sat_jax.records.heads import HeadTable
from sat_jax.study.ablate.tasks import RECONSTRUCTION, ProbeTask
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.phones import kept_phones
from sat_jax.sweep.orderings import (
    area,
    disagreeing,
    rank_correlations,
    ranks_of,
    removable,
)
from sat_jax.sweep.plan import Orders, Row
from sat_jax.sweep.store import Arrays

NAMES = {
    RECONSTRUCTION: ("reconstruction", "L1 of the spectrogram"),
    "phone": ("phone", "phone accuracy (%)"),
    "speaker-frame": ("speaker frame", "speaker accuracy, frames (%)"),
    "speaker-utterance": ("speaker utterance", "speaker accuracy, utterances (%)"),
}
"""Tasks to their names in figures and the labels of their axes."""
PROBES = ("anew", "frozen")


class TaskScores(NamedTuple):
    """One task under all G settings, with one kind of probes."""

    task: str
    probes: str
    """anew or frozen; empty for reconstruction, which has none."""
    chance: float
    """Of guessing the commonest class; of reconstruction, the error of predicting the mean."""
    value: np.ndarray
    """(G,) L1, or accuracy in percent, the mean over seeds."""
    drawn: np.ndarray
    """(D, G) the same for every bootstrap draw of utterances and seeds."""
    f1: np.ndarray | None
    """(G, 3) macro-F1 in percent, and its interval."""

    @property
    def lower_is_better(self) -> bool:
        """Whether it is an error."""
        return self.task == RECONSTRUCTION

    def ends(self, index: np.ndarray) -> np.ndarray:
        """95 % intervals (2, n) of settings (n,)."""
        return np.percentile(self.drawn[:, index], INTERVAL, axis=0)


def task_scores(
    arrays: Arrays,
    tasks: tuple[ProbeTask, ...],
    draws: int,
    seed: int,
    kinds: tuple[str, ...] = PROBES,
    mean_error: float = np.nan,
) -> list[TaskScores]:
    """All tasks in the order of the figures, intervals from `draws` draws.

    `mean_error` is the reconstruction error of predicting the mean.
    """
    scores = []
    if RECONSTRUCTION in arrays:
        errors = arrays[RECONSTRUCTION].astype(np.float64)
        weights = drawn_utterances(errors.shape[1], draws, seed)
        scores.append(
            TaskScores(RECONSTRUCTION, "", mean_error, errors.mean(1), weights @ errors.T, None)
        )
    for task in tasks:
        frames = task.frames()
        for probes in kinds:
            hits = arrays[f"{task.name}/{probes}/hits"].astype(np.float64)
            weights = drawn_utterances(len(frames), draws, seed)
            seeds = drawn_seeds(hits.shape[1], draws, seed)
            found = sum(
                (weights * seeds[:, s : s + 1]) @ hits[:, s].T for s in range(hits.shape[1])
            )
            scores.append(
                TaskScores(
                    task.name,
                    probes,
                    100 * task.chance(),
                    100 * hits.mean(1).sum(-1) / frames.sum(),
                    100 * found / (weights @ frames)[:, None],
                    100 * arrays[f"{task.name}/{probes}/f1"],
                )
            )
    return scores


def drawn_utterances(utterances: int, draws: int, seed: int) -> np.ndarray:
    """Bootstrap weights (D, U), the same for all tasks with as many utterances."""
    return np.asarray(bootstrap_weights(jax.random.key(seed), utterances, draws), np.float64)


def drawn_seeds(seeds: int, draws: int, seed: int) -> np.ndarray:
    """Shares (D, S) of probe seeds that are drawn with replacement beside the utterances."""
    picks = np.random.default_rng(seed).integers(0, seeds, (draws, seeds))
    return (picks[:, :, None] == np.arange(seeds)).mean(1)


def curve_of(scores: TaskScores, rows: list[Row], name: str, kind: str) -> Curve | None:
    """One ordering's curve; None where it was not measured. Random ones as mean and range."""
    wanted = [
        i
        for i, row in enumerate(rows)
        if (row.study, row.ordering, row.kind) == ("order", name, kind)
    ]
    if not wanted:
        return None
    draws = sorted({rows[i].draw for i in wanted})
    by_draw = [
        np.array(sorted((i for i in wanted if rows[i].draw == d), key=lambda i: rows[i].pruned))
        for d in draws
    ]
    pruned = np.array([rows[i].pruned for i in by_draw[0]])
    values = scores.value[np.stack(by_draw)]
    if name == "random":
        areas = area(pruned, values)
        ends, bounds = (values.min(0), values.max(0)), (areas.min(), areas.max())
    else:
        ends = tuple(scores.ends(by_draw[0]))
        bounds = tuple(np.percentile(area(pruned, scores.drawn[:, by_draw[0]]), INTERVAL))
    mean = values.mean(0)
    return Curve(
        name,
        pruned,
        mean,
        *ends,
        float(area(pruned, mean)),
        *(float(bound) for bound in bounds),
        removable(pruned, mean, scores.lower_is_better),
    )


def task_of(scores: TaskScores, rows: list[Row], orderings: list[str], kind: str) -> Task:
    """All curves of a task."""
    curves = [curve_of(scores, rows, name, kind) for name in orderings]
    name, label = NAMES[scores.task]
    found = tuple(curve for curve in curves if curve is not None)
    return Task(name, label, scores.lower_is_better, scores.chance, found)


def spans_of(scores: TaskScores, rows: list[Row]) -> Spans | None:
    """A task over spans of all heads; None where none was measured."""
    index = np.array([i for i, row in enumerate(rows) if row.study == "span"], int)
    if not len(index):
        return None
    name, label = NAMES[scores.task]
    return Spans(
        *(name, label, scores.lower_is_better, scores.chance),
        tuple(span_name(rows[i].span) for i in index),
        scores.value[index],
        *scores.ends(index),
    )


def grid_of(scores: TaskScores, rows: list[Row]) -> Grid | None:
    """A task over heads pruned and spans; None where they were not measured."""
    index = [i for i, row in enumerate(rows) if row.study == "grid"]
    if not index:
        return None
    pruned = sorted({rows[i].pruned for i in index})
    spans = sorted({rows[i].span for i in index}, reverse=True)
    place = {(rows[i].pruned, rows[i].span): i for i in index}
    value = np.array([[scores.value[place[p, s]] for s in spans] for p in pruned])
    name, label = NAMES[scores.task]
    names = tuple(span_name(span) for span in spans)
    known = name, label, scores.lower_is_better
    return Grid(rows[index[0]].ordering, *known, tuple(pruned), names, value)


def single_of(scores: TaskScores, rows: list[Row], shape: tuple[int, int]) -> Single | None:
    """A task without each head in turn, against the intact model; None if not measured."""
    index = [i for i, row in enumerate(rows) if row.study == "single"]
    if not index:
        return None
    intact, without = index[0], index[1:]
    change = scores.value[without] - scores.value[intact]
    drawn = scores.drawn[:, without] - scores.drawn[:, [intact]]
    ends = np.percentile(drawn, INTERVAL, axis=0)
    name, label = NAMES[scores.task]
    return Single(
        *(name, label, scores.lower_is_better, float(scores.value[intact])),
        *(each.reshape(shape) for each in (change, *ends)),
    )


def ranking_of(loaded: LoadedRun, orders: Orders, kept: HeadTable) -> Ranking:
    """The orders of all heads side by side; relation maps where the phones study left them."""
    shape, heads = kept.category.shape, kept.category.size
    names = [
        name
        for name, order in orders.items()
        if name != "random" and not name.endswith(REVERSED) and len(order) == heads
    ]
    first, second = (ranks_of(orders[name], shape) for name in ("globalness", "weight"))
    shown = disagreeing(first, second, MOST_SHOWN)
    maps, phones, texts = kept_phones(loaded)
    split = loaded.corpus.split
    manner = dict(zip(split.phone_names, split.phone_manners, strict=True))
    return Ranking(
        name=loaded.model.checkpoints[0].name,
        orderings=tuple(names),
        correlation=rank_correlations(np.stack([orders[name] for name in names])),
        globalness=first,
        weight=second,
        category=kept.category,
        disagreeing=tuple(shown),
        maps=None if maps is None or not shown else maps[tuple(zip(*shown, strict=True))],
        manners=tuple(manner.get(phone, "") for phone in phones),
        phones=phones,
        operations=tuple("" if texts is None else str(texts[head]) for head in shown),
    )


def span_name(span: int) -> int | None:
    """A span as figures want it."""
    return None if span >= NO_SPAN else span
