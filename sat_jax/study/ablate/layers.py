"""What the input and every layer hold: probes with a budget at which they have converged.

Log-mel frames, and all layers of the trained and of the untrained model, are probed at the same
positions, linearly and with a hidden layer. The same probes with half and a quarter of the
utterances, or of the steps, show what more of either would bring. Processes take the
representations in turns.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sat_jax import exchange, mesh
from sat_jax.analysis.linear_map import explained_variance
from sat_jax.analysis.probe import Examples
from sat_jax.mesh import by_device
from sat_jax.records.probes import BudgetPoint, ProbedLayer
from sat_jax.study.ablate.corpus import TEST, TRAIN, Speech
from sat_jax.study.ablate.scores import NAMES, task_scores
from sat_jax.study.ablate.tasks import (
    ProbeRun,
    ProbeTask,
    evaluated_every,
    probe_tasks,
    train_and_score,
)
from sat_jax.study.loaded_model import Checkpoint
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.sweep.store import Arrays
from sat_jax.trace.capture import capture

LOG_MEL, PRUNED = "log-mel", "all heads pruned"
LINEAR = " linear"
"""What the names of tasks with linear probes end with."""
PARTS = (4, 2)
"""Parts of the utterances and of the steps that the budget is compared with."""


class Probed(NamedTuple):
    """Probes of all layers, and of smaller budgets."""

    layers: list[ProbedLayer]
    budgets: list[BudgetPoint]


class Source(NamedTuple):
    """Representations of all positions."""

    model: str
    """A checkpoint's name, or `LOG_MEL`."""
    layer: int | None
    """0 is the first layer's input; None has no layer."""
    features: np.ndarray
    """(N, D)."""


class Wanted(NamedTuple):
    """Representations that a model makes."""

    name: str
    """The checkpoint's, or `PRUNED`."""
    layer: int
    checkpoint: Checkpoint
    pruned: bool


def probe_layers(loaded: LoadedRun, speech: Speech) -> Probed:
    """Probe log-mel and every layer, and compare budgets on log-mel and the trained last layer.

    The coarse preset asks for the first task only, mostly phones, of every second layer and the
    last, and compares no budgets.
    """
    analysis, last = loaded.analysis, loaded.model.spec.layers
    tasks = [
        task
        for task in probe_tasks(analysis.ablate, speech, lambda _: None, analysis.ablate.hidden)
        if not task.pooled
    ]
    coarse = analysis.ablate.preset == "coarse"
    tasks = tasks[:1] if coarse else tasks
    if not tasks:
        return Probed([], [])
    both = tuple(each for task in tasks for each in (as_linear(task), task))
    spectrum = rows_of(speech, [encoded.log_mel for encoded in speech.encoded])
    trained = loaded.model.checkpoints[0].name
    score = scorer(loaded, speech, both)
    depths = sorted({*range(0, last + 1, 2 if coarse else 1), last})
    wanted = [Wanted(checkpoint.name, layer, checkpoint, False)
              for checkpoint in loaded.model.checkpoints for layer in depths]  # fmt: skip
    wanted.append(Wanted(PRUNED, last, loaded.model.checkpoints[0], True))
    compared = () if coarse else ((LOG_MEL, None), (trained, last))
    # Log-mel goes last, to one of those that have fewer layers.
    mine = exchange.in_turns(len(wanted) + 1)
    groups = layer_sources(loaded, speech, [wanted[i] for i in mine if i < len(wanted)])
    if len(wanted) in mine:
        groups = itertools.chain(groups, [[Source(LOG_MEL, None, spectrum)]])
    own = []
    for sources in groups:
        r2 = [linear_share(speech, source.features, spectrum) for source in sources]
        rows = probed(loaded, speech, both, score, sources, r2)
        for source in sources:
            name = source.model, source.layer
            points = budget_points(loaded, speech, tasks[0], source) if name in compared else []
            own.append(Probed([row for row in rows if (row.model, row.layer) == name], points))
    found = exchange.joined(len(wanted) + 1, own)
    found = [found[-1], *found[:-1]]
    layers = [row for each in found for row in each.layers]
    budgets = [point for each in found for point in each.budgets]
    whole = [full_budget(layers, tasks[0], *name) for name in compared]
    return Probed(layers, [*budgets, *(point for point in whole if point)])


def probe_name(task: ProbeTask) -> str:
    """What kind of probe a task has, in words."""
    if not task.budget.hidden:
        return "linear"
    return "hidden layer" if task.budget.depth == 1 else f"{task.budget.depth} hidden layers"


def as_linear(task: ProbeTask) -> ProbeTask:
    """The same task with a linear probe and half the steps, which are more than enough for it."""
    linear = fewer_steps(task, 2)
    return linear._replace(name=task.name + LINEAR, budget=linear.budget._replace(hidden=0))


def layer_sources(
    loaded: LoadedRun, speech: Speech, wanted: Sequence[Wanted]
) -> Iterator[list[Source]]:
    """States of some layers, a few at a time so that they fit the memory."""
    size = 4 * len(speech.utterance) * loaded.model.spec.width
    most = max(int(loaded.analysis.ablate.memory_mib * 2**20 // size), 1)
    group = max(most // loaded.passes.devices.size, 1) * loaded.passes.devices.size
    for first in range(0, len(wanted), group):
        some = wanted[first : first + group]
        found: dict[str, list[np.ndarray]] = {}
        for name in dict.fromkeys(each.name for each in some):
            same = [each for each in some if each.name == name]
            params, layers = same[0].checkpoint.params, [each.layer for each in same]
            found[name] = hidden_states(loaded, speech, params, layers, same[0].pruned)
        yield [Source(each.name, each.layer, found[each.name].pop(0)) for each in some]


def hidden_states(
    loaded: LoadedRun, speech: Speech, params: Any, layers: Sequence[int], pruned: bool
) -> list[np.ndarray]:
    """States (N, D) of some layers, intact or with all heads pruned."""
    spec = loaded.model.spec
    gate = np.zeros((spec.layers, spec.heads), np.float32) if pruned else None

    def states(params: Any, inputs: jax.Array, valid: jax.Array) -> tuple[jax.Array, ...]:
        trace = capture(loaded.model.module, params, inputs, valid, gate)
        return tuple(trace.hidden[layer] for layer in layers)

    step = jax.jit(by_device(states, loaded.passes.devices, 1))
    shape = len(speech.utterance), spec.width
    found = [np.empty(shape, np.float32) for _ in layers]
    for encoded in speech.encoded:
        valid = np.asarray(encoded.valid)
        states_of = step(params, encoded.inputs, encoded.valid)
        for rows, each in zip(found, states_of, strict=True):
            rows[encoded.place] = np.asarray(each)[valid]
    return found


def rows_of(speech: Speech, batches: Sequence[jax.Array]) -> np.ndarray:
    """Batches (B, T, D) as rows (N, D) of the valid positions."""
    rows = np.empty((len(speech.utterance), batches[0].shape[-1]), np.float32)
    for encoded, batch in zip(speech.encoded, batches, strict=True):
        rows[encoded.place] = np.asarray(batch)[np.asarray(encoded.valid)]
    return rows


def linear_share(speech: Speech, features: np.ndarray, spectrum: np.ndarray) -> float:
    """R2 of the log-mel frames from a representation, linearly."""
    part = speech.part[speech.utterance]
    train, test = np.flatnonzero(part == TRAIN), np.flatnonzero(part == TEST)
    return float(jax.jit(explained_variance)(features, spectrum, train, test))


def probed(
    loaded: LoadedRun,
    speech: Speech,
    tasks: tuple[ProbeTask, ...],
    score: Callable[[jax.Array], Any],
    sources: list[Source],
    r2: list[float],
) -> list[ProbedLayer]:
    """Accuracies of all tasks on representations of one width."""
    analysis, arrays = loaded.analysis, scores_of(loaded, score, sources)
    found = []
    for scores in task_scores(arrays, tasks, analysis.draws, analysis.seed, ("anew",)):
        task = next(each for each in tasks if each.name == scores.task)
        low, high = scores.ends(np.arange(len(sources)))
        found += [
            ProbedLayer(
                model=source.model,
                layer=source.layer,
                task=NAMES[task.name.partition(" ")[0]][0],
                probe=probe_name(task),
                accuracy=float(scores.value[i]),
                low=float(low[i]),
                high=float(high[i]),
                chance=scores.chance,
                log_mel_r2=r2[i],
                utterances=learned_from(speech, task),
                steps=task.budget.steps,
            )
            for i, source in enumerate(sources)
        ]
    return found


def scorer(
    loaded: LoadedRun, speech: Speech, tasks: tuple[ProbeTask, ...]
) -> Callable[[jax.Array], Any]:
    """`train_and_score` of these tasks, one representation (N, D) per device; jitted."""
    analysis, devices = loaded.analysis, loaded.passes.devices
    seeds = 1 if analysis.ablate.preset == "coarse" else analysis.ablate.probe_seeds
    keys = jax.random.split(jax.random.key(analysis.seed), seeds)
    batched = jax.default_backend() != "cpu"
    probe_run = ProbeRun(tasks, speech.utterance, keys, batched, analysis.draws, analysis.seed)
    return jax.jit(by_device(functools.partial(train_and_score, probe_run), devices))


def scores_of(
    loaded: LoadedRun, score: Callable[[jax.Array], Any], sources: list[Source]
) -> Arrays:
    """What probes that are trained on each of G representations get right; arrays (G, ...)."""
    devices, found = loaded.passes.devices, []
    for first in range(0, len(sources), devices.size):
        some = [source.features for source in sources[first : first + devices.size]]
        filled = np.stack([some[min(i, len(some) - 1)] for i in range(devices.size)])
        _, scores = score(mesh.place_batch(filled, devices))
        found.append({name: np.asarray(each)[: len(some)] for name, each in scores.items()})
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def learned_from(speech: Speech, task: ProbeTask) -> int:
    """Utterances that a probe on positions learns from."""
    return len(np.unique(speech.utterance[np.asarray(task.train.rows)]))


def budget_points(
    loaded: LoadedRun, speech: Speech, task: ProbeTask, source: Source
) -> list[BudgetPoint]:
    """A task with a part of the utterances and all steps, and all utterances and a part of them."""
    fewer = [(fewer_utterances(speech, task, part), 0) for part in PARTS]
    fewer += [(fewer_steps(task, part), 1) for part in PARTS]
    tasks = tuple(
        each._replace(name=f"{each.name}/{number}") for number, (each, _) in enumerate(fewer)
    )
    arrays = scores_of(loaded, scorer(loaded, speech, tasks), [source])
    scores = task_scores(arrays, tasks, 1, loaded.analysis.seed, ("anew",))
    return [
        BudgetPoint(
            source.model,
            source.layer,
            NAMES[task.name][0],
            learned_from(speech, each),
            each.budget.steps,
            float(found.value[0]),
        )
        for each, found in zip(tasks, scores, strict=True)
    ]


def fewer_utterances(speech: Speech, task: ProbeTask, part: int) -> ProbeTask:
    """The same task with every `part`-th utterance to learn from."""
    rows, labels = (np.asarray(each) for each in task.train)
    owner = speech.utterance[rows]
    chosen = np.isin(owner, np.unique(owner)[::part])
    return task._replace(train=Examples(rows[chosen], labels[chosen]))


def fewer_steps(task: ProbeTask, part: int) -> ProbeTask:
    """The same task with a part of the steps, over which the rate rises and falls."""
    steps = max(task.budget.steps // part, 1)
    return task._replace(budget=task.budget._replace(steps=steps, every=evaluated_every(steps)))


def full_budget(
    layers: list[ProbedLayer], task: ProbeTask, model: str, layer: int | None
) -> BudgetPoint | None:
    """The point of the whole budget, as the probes of layers have it."""
    for each in layers:
        same = each.model, each.layer, each.task, each.probe
        if same == (model, layer, NAMES[task.name][0], "hidden layer"):
            return BudgetPoint(*same[:3], each.utterances, each.steps, each.accuracy)
    return None
