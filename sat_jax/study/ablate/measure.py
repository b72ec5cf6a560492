"""Settings in, what is left of every task under each of them out: chunk by chunk, resumable.

Processes share the settings out and compute their shares each by itself. A chunk is a run of
settings in the order of the trie whose representations fit the memory that was given. They are
computed in one sweep per batch and read by the probes of every task; scores are kept on disk.
"""

import jax
import numpy as np
from rich.console import Console
from rich.progress import track

from sat_jax import mesh
from sat_jax.analysis.probe import Probe
from sat_jax.study.ablate.context import SweepContext, group_size
from sat_jax.study.ablate.corpus import TEST, EncodedBatch, Speech
from sat_jax.study.ablate.tasks import RECONSTRUCTION
from sat_jax.sweep import trie
from sat_jax.sweep.batch_ops import batch_ops
from sat_jax.sweep.shares import shares
from sat_jax.sweep.store import Arrays, Store, keys_of
from sat_jax.sweep.trie import Settings, distinct, make_settings, node_counts


def measure(context: SweepContext, settings: Settings, store: Store, title: str) -> Arrays:
    """Arrays (G, ...) of every setting, from the store where they are there; see `leaf_arrays`.

    Every process gets all of them, whichever measured them.
    """
    unique, _ = distinct(settings)
    names = keys_of(unique)
    missing = np.flatnonzero(~store.held(names).any(0))
    say = context.loaded.say
    if len(missing) < len(names):
        done = len(names) - len(missing)
        say(f"{title}: {done} of {len(names)} settings were measured before")
    mine = missing[share_of(context, trie.take(unique, missing), title)]
    todo = list(trie.parts(mine, context.chunk))
    if todo:
        intact = None
        if context.tasks:
            shape = settings.gate.shape[1:]
            whole = make_settings(np.ones((1, *shape), np.float32))
            intact = train_intact_probes(context, whole)
        console = Console(stderr=True)
        for index in track(
            todo,
            description=title,
            console=console,
            disable=not console.is_terminal,
            transient=True,
        ):
            found = leaf_arrays(context, trie.take(unique, index), intact)
            store.add([names[i] for i in index], found)
    store.exchange(names)
    return store.take(keys_of(settings))


def share_of(context: SweepContext, settings: Settings, title: str) -> slice:
    """The settings that this process measures; says what sharing them out costs."""
    processes = jax.process_count()
    found = shares(settings, processes, probe_cost(context))
    if processes > 1 and len(settings.gate):
        nodes = [int(node_counts(trie.take(settings, share)).sum()) for share in found]
        alone = int(node_counts(settings).sum())
        context.loaded.say(
            f"{title}: layers computed per batch: {sum(nodes)} in {processes} processes "
            f"({' '.join(map(str, nodes))}), {alone} in one"
        )
    return found[jax.process_index()]


def probe_cost(context: SweepContext) -> float:
    """Products that the probes of one setting take, as a part of those of one layer of the model on
    all utterances."""
    loaded, width = context.loaded, context.loaded.model.spec.width
    layer = len(context.speech.utterance) * width * (4 * width + 2 * loaded.config.model.ffn)
    probes = 0
    for task in context.tasks:
        hidden, budget = task.budget.hidden, task.budget
        inner = width * hidden + (budget.depth - 1) * hidden**2
        one = inner + hidden * task.classes if hidden else width * task.classes
        # Forwards, and backwards to parameters and to hidden units.
        probes += 3 * budget.steps * budget.batch * one
    return probes * loaded.analysis.ablate.probe_seeds / layer


def leaf_arrays(
    context: SweepContext, settings: Settings, intact: tuple[Probe, ...] | None
) -> Arrays:
    """What is left under each of G settings.

    `reconstruction` (G, U) is the error of every test utterance; the others are those of
    `ablate_tasks.score`, by TASK/PROBES/name.
    """
    features, errors = run(context, settings)
    arrays: Arrays = {}
    if errors is not None:
        arrays[RECONSTRUCTION] = errors
    if features is not None:
        arrays |= probe_scores(context, features, intact)
    return arrays


def run(context: SweepContext, settings: Settings) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Representations (G, N, D) of all positions, and errors (G, U) of the test utterances.

    The representations lie in the buffer of the context, until the next settings are run.
    """
    loaded, speech = context.loaded, context.speech
    ablation, model = loaded.analysis.ablate, loaded.model.spec
    depth = model.layers if ablation.layer is None else ablation.layer
    tested = np.flatnonzero(speech.part == TEST)
    errors = np.zeros((len(settings.gate), len(speech.part)), np.float32)
    features = context.buffer[: len(settings.gate)] if context.tasks else None
    for encoded in speech.encoded:
        rows = encoded.utterance >= 0
        predicted = bool((speech.part[encoded.utterance[rows]] == TEST).any())
        predicted &= RECONSTRUCTION in ablation.tasks
        whole = bool(context.tasks) and depth == model.layers
        if whole or predicted:
            tree = swept(context, encoded, settings, whole, predicted)
            if predicted:
                errors[:, encoded.utterance[rows]] = tree["errors"][:, rows]
        if features is not None:
            if not whole:
                shallow = Settings(*(field[:, :depth] for field in settings))
                tree = swept(context, encoded, shallow, True, False)
            features[:, encoded.place] = tree["features"][:, encoded.real]
    return features, errors[:, tested] if RECONSTRUCTION in ablation.tasks else None


def mean_frame_error(speech: Speech) -> float:
    """Mean reconstruction error of the test utterances for predicting the mean of each over time.

    A model that does worse has lost all of the spectrogram.
    """
    errors = []
    for encoded in speech.encoded:
        target, valid = (np.asarray(each) for each in (encoded.targets, encoded.valid))
        for row, utterance in enumerate(encoded.utterance.tolist()):
            if utterance >= 0 and speech.part[utterance] == TEST:
                frames = target[row][valid[row]].astype(np.float64)
                errors.append(np.abs(frames - frames.mean(0)).mean())
    return float(np.mean(errors))


def swept(
    context: SweepContext, encoded: EncodedBatch, settings: Settings, features: bool, errors: bool
) -> dict[str, np.ndarray]:
    """One batch under all settings."""
    loaded, params = context.loaded, context.checkpoint.params

    def finish(states: jax.Array) -> dict[str, jax.Array]:
        tree = {"features": states} if features else {}
        if errors:
            known = encoded.targets, encoded.valid, encoded.packing
            tree["errors"] = context.errors(params, states, *known)
        return tree

    piece = batch_ops(
        context.ops,
        params,
        loaded.model.spec.heads,
        encoded.inputs,
        encoded.valid,
        encoded.packing,
        finish,
        context.counts,
        context.maps,
    )
    return trie.sweep(piece, settings, engine=loaded.analysis.ablate.engine, width=context.width)


def train_intact_probes(context: SweepContext, whole: Settings) -> tuple[Probe, ...]:
    """Probes, leaves (S, ...), of the intact model: trained once, and frozen for all settings."""
    features, _ = run(context, whole)
    probes, _ = context.train_and_score(placed_group(context, features))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], probes)


def placed_group(context: SweepContext, features: np.ndarray) -> jax.Array:
    """Representations (M, N, D) on the devices, the last one repeated up to a whole group."""
    buffer = group_size(context.loaded.passes.devices)
    if len(features) < buffer:
        features = features[np.minimum(np.arange(buffer), len(features) - 1)]
    return mesh.place_batch(features, context.loaded.passes.devices)


def probe_scores(context: SweepContext, features: np.ndarray, intact: tuple[Probe, ...]) -> Arrays:
    """The scores of all tasks under G settings with representations (G, N, D)."""
    group = group_size(context.loaded.passes.devices)
    found: list[Arrays] = []
    for first in range(0, len(features), group):
        rows = features[first : first + group]
        placed = placed_group(context, rows)
        answered = context.train_and_score(placed)[1] | context.score_frozen(intact, placed)
        found.append({name: np.asarray(each)[: len(rows)] for name, each in answered.items()})
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
