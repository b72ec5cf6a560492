"""Speech in, the tasks that probes learn out; representations in, probes and their scores out."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sat_jax.analysis.bootstrap import bootstrap_weights, interval
from sat_jax.analysis.probe import Budget, Examples, Probe, predict, train_probes
from sat_jax.analysis.probe_score import confusion, drawn, macro_f1, seed_means
from sat_jax.config import Ablation
from sat_jax.study.ablate.corpus import TEST, TRAIN, VALID, Speech

RECONSTRUCTION = "reconstruction"
"""The one task that has no probes, as `Ablation.tasks` names it."""
EVERY = 25
"""Steps between evaluations of a probe, at most."""
PATIENCE = 8
"""Evaluations without improvement after which a probe stops: patient, as the best one is kept."""
CHECKED = 2048
"""Most rows that tell a probe when to stop."""
RIDGE = 1e-3
"""Shrinkage of correlations between dimensions, for probes that read positions."""
POOLED_RIDGE = 0.3
"""The same for means of utterances, of which there are fewer to tell correlations by."""


class ProbeTask(NamedTuple):
    """A classification task, the same for all settings."""

    name: str
    classes: int
    budget: Budget
    train: Examples
    valid: Examples
    test: Examples
    owner: np.ndarray
    """(n,) whose test row this is, among the tested utterances."""
    tested: np.ndarray
    """Numbers of the tested utterances."""
    pooled: bool
    """Whether a row is an utterance, not a position."""

    def frames(self) -> np.ndarray:
        """Labelled test frames of every tested utterance."""
        labelled = (np.asarray(self.test.labels) >= 0).sum(1)
        return np.bincount(self.owner, labelled, len(self.tested)).astype(np.int64)

    def chance(self) -> float:
        """Accuracy of always naming the class that is commonest in training."""
        train, test = (np.asarray(e.labels).ravel() for e in (self.train, self.test))
        common = np.bincount(train[train >= 0], minlength=self.classes).argmax()
        return float((test[test >= 0] == common).mean())


def probe_tasks(
    ablate: Ablation, speech: Speech, say: Callable[[str], None], hidden: int = 0
) -> tuple[ProbeTask, ...]:
    """The classification tasks that were asked for and that the speech has labels for.

    Probes are linear and have the budget that every setting can afford; with `hidden` units, which
    probes on means of utterances never have, the budget of `mlp_steps`.
    """
    tasks = []
    for name in ablate.tasks:
        if name == "phone":
            if speech.phone_names:
                labels = speech.phone
                rows = _position_rows(speech, speech.part)
                tasks.append(
                    _probe_task(ablate, name, labels, len(speech.phone_names), rows, speech, hidden)
                )
            else:
                say("ablate: phone is left out, as the corpus has no phone labels")
        elif name != RECONSTRUCTION:
            if speech.speaker_part is None:
                say(f"ablate: {name} is left out: no two speakers are in training and test")
                continue
            classes = len(speech.speaker_names)
            if name == "speaker-frame":
                labels = speech.speaker[speech.utterance][:, None]
                rows = _position_rows(speech, speech.speaker_part)
            else:
                labels = speech.speaker[:, None]
                rows = tuple(np.flatnonzero(speech.speaker_part == part) for part in range(3))
            tasks.append(_probe_task(ablate, name, labels, classes, rows, speech, hidden))
    return tuple(tasks)


def _position_rows(speech: Speech, part: np.ndarray) -> tuple[np.ndarray, ...]:
    of_position = part[speech.utterance]
    return tuple(np.flatnonzero(of_position == which) for which in (TRAIN, VALID, TEST))


def _probe_task(
    ablate: Ablation,
    name: str,
    labels: np.ndarray,
    classes: int,
    rows: tuple[np.ndarray, ...],
    speech: Speech,
    hidden: int,
) -> ProbeTask:
    pooled = name == "speaker-utterance"
    examples = [Examples(r.astype(np.int32), labels[r].astype(np.int32)) for r in rows]
    owners = rows[TEST] if pooled else speech.utterance[rows[TEST]]
    tested, owner = np.unique(owners, return_inverse=True)
    steps = ablate.mlp_steps if hidden else ablate.probe_steps
    budget = Budget(
        hidden=0 if pooled else hidden,
        steps=steps,
        batch=min(ablate.probe_batch, len(rows[TRAIN])),
        rate=ablate.mlp_rate if hidden else ablate.probe_rate,
        every=evaluated_every(steps),
        patience=PATIENCE,
        checked=CHECKED,
        ridge=POOLED_RIDGE if pooled else RIDGE,
    )
    return ProbeTask(name, classes, budget, *examples, owner, tested, pooled)


def evaluated_every(steps: int) -> int:
    """Steps between evaluations, at most `EVERY`: the most that divide all of them."""
    return max(d for d in range(1, EVERY + 1) if steps % d == 0)


class ProbeRun(NamedTuple):
    """How probes are trained and scored; the same for all settings."""

    tasks: tuple[ProbeTask, ...]
    utterance: np.ndarray
    """(N,) whose position a row of the representations is."""
    keys: jax.Array
    """(S,) starts of the probes."""
    batched: bool
    """Whether all probes train in step, see `train_probes`."""
    draws: int
    """Bootstrap draws behind an interval of macro-F1."""
    seed: int


def drawn_weights(probe_run: ProbeRun, task: ProbeTask) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap weights (G, U) of the tested utterances and (G, S) of the probe seeds."""
    key = jax.random.key(probe_run.seed)
    utterances = bootstrap_weights(key, len(task.tested), probe_run.draws)
    seeds = bootstrap_weights(jax.random.fold_in(key, 1), len(probe_run.keys), probe_run.draws)
    return np.asarray(utterances), np.asarray(seeds)


def train_and_score(
    probe_run: ProbeRun, features: jax.Array
) -> tuple[tuple[Probe, ...], dict[str, jax.Array]]:
    """Train and test probes for every setting of features (M, N, D).

    Gives the probes of every task, leaves (M, S, ...), and TASK/anew/name: what `score` makes
    of them.
    """
    trained, scores = [], {}
    for task in probe_run.tasks:
        rows = rows_of(probe_run, task, features)
        probes = train_probes(
            *(rows, task.train, task.valid, task.classes, task.budget),
            *(probe_run.keys, probe_run.batched),
        )
        trained.append(probes)
        pairs = probes, rows[:, task.test.rows]
        found = lax.map(lambda pair, q=task: score(probe_run, q, *pair), pairs)
        scores |= {f"{task.name}/anew/{name}": value for name, value in found.items()}
    return tuple(trained), scores


def score_frozen(
    probe_run: ProbeRun, intact: tuple[Probe, ...], features: jax.Array
) -> dict[str, jax.Array]:
    """Test probes of the intact model, leaves (S, ...), under every setting: TASK/frozen/name."""
    scores = {}
    for task, probes in zip(probe_run.tasks, intact, strict=True):
        tested = rows_of(probe_run, task, features)[:, task.test.rows]
        found = lax.map(lambda rows, q=task, p=probes: score(probe_run, q, p, rows), tested)
        scores |= {f"{task.name}/frozen/{name}": value for name, value in found.items()}
    return scores


def rows_of(probe_run: ProbeRun, task: ProbeTask, features: jax.Array) -> jax.Array:
    """What a task's probes read: features (M, N, D) of positions, or their means (M, U, D)."""
    return pooled_means(features, probe_run.utterance) if task.pooled else features


def score(
    probe_run: ProbeRun, task: ProbeTask, probes: Probe, tested: jax.Array
) -> dict[str, jax.Array]:
    """One setting's probes, leaves (S, ...), on its test rows (n, D).

    `hits` (S, U) right frames of every tested utterance; `f1` (3,) macro-F1, the mean over seeds,
    and its 95 % interval over resampled utterances and seeds.
    """
    utterances = len(task.tested)

    def of_seed(probe: Probe) -> jax.Array:
        predicted = predict(probe, tested)
        test = task.test
        return confusion(predicted, test.labels, task.owner, utterances, task.classes)

    counts = jax.vmap(of_seed)(probes)
    # Drawn before, as XLA would spend seconds on folding the draws into constants.
    with jax.ensure_compile_time_eval():
        weights, picks = drawn_weights(probe_run, task)
    _, found = drawn(weights, counts)
    low, high = interval(seed_means(picks, found))
    value = macro_f1(counts.sum(1)).mean()
    return {"hits": counts[..., 0].sum(-1), "f1": jnp.stack([value, low, high])}


def pooled_means(features: jax.Array, utterance: np.ndarray) -> jax.Array:
    """Means (M, U, D) of features (M, N, D) over the positions of each utterance (N,)."""
    count = int(utterance.max()) + 1
    sums = jax.vmap(lambda rows: jax.ops.segment_sum(rows, utterance, count))(features)
    return sums / jnp.asarray(np.maximum(np.bincount(utterance, minlength=count), 1))[:, None]
