"""Settings in, what is left of every task under each of them out: chunk by chunk, resumable.

A chunk is a run of settings in the order of the trie whose representations fit the memory that was
given. They are computed in one sweep per batch, asked every question, kept on disk and forgotten.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track

from sat_jax import mesh
from sat_jax.analysis import ablate as engine
from sat_jax.analysis.ablate import Settings, distinct, make_settings
from sat_jax.analysis.probe import Probe
from sat_jax.mesh import by_device
from sat_jax.model.packing import Packing, unpack
from sat_jax.study.ablate_speech import TEST, Heard, Speech
from sat_jax.study.ablate_store import Arrays, Store, keys_of
from sat_jax.study.ablate_tasks import Asking, Question, ask, ask_frozen
from sat_jax.study.evaluation import Counts, evaluation
from sat_jax.study.subject import Checkpoint, Subject
from sat_jax.trace.importance import (
    gate_gradients,
    layer_normalised,
    reconstruction_error,
    summed_maps,
)
from sat_jax.trace.pieces import Pieces, cut_pieces

RECONSTRUCTION = "reconstruction"
SETTINGS = 2
"""Settings per device that are asked at a time."""


class Bench(NamedTuple):
    """Everything that measuring settings of one checkpoint needs."""

    subject: Subject
    checkpoint: Checkpoint
    speech: Speech
    questions: tuple[Question, ...]
    pieces: Pieces
    maps: jax.Array
    """(L, H, T, S) mean maps over the training utterances."""
    errors: Callable[..., jax.Array]
    """Jitted: params, encoder outputs (P, C, D), targets, valid, packing to L1 errors (B, C)."""
    ask: Callable[..., Any]
    """Jitted: representations (M, N, D) to probes and answers, see `ask`."""
    ask_frozen: Callable[..., Any]
    """Jitted: probes of the intact model and representations to answers, see `ask_frozen`."""
    counts: Counts
    width: int
    """Nodes of the trie that are computed at once."""
    room: np.ndarray
    """(C, N, D) float32 for the representations under a chunk of settings: one for all chunks, as
    memory that is given back and asked for again ends up scattered."""


def open_bench(
    subject: Subject, checkpoint: Checkpoint, speech: Speech, questions: tuple[Question, ...]
) -> Bench:
    """Compile what can be compiled before, and average the maps of the training utterances."""
    pieces = cut_pieces(subject.module, subject.devices)
    maps = mean_maps(subject, checkpoint, speech)
    width = 1 if jax.default_backend() == "cpu" else nodes_within(subject, speech)
    counts = Counts(set(), {})
    errors = jax.jit(by_device(functools.partial(errors_of, subject.module), subject.devices, 1))
    asked = subject.analysis
    keys = jax.random.split(jax.random.key(asked.seed), asked.ablate.probe_seeds)
    batched = jax.default_backend() != "cpu"
    how = Asking(questions, speech.utterance, keys, batched, asked.draws, asked.seed)
    anew = jax.jit(by_device(functools.partial(ask, how), subject.devices))
    frozen = jax.jit(by_device(functools.partial(ask_frozen, how), subject.devices, 1))
    size = chunk_size(subject, speech, questions)
    shape = size if questions else 0, len(speech.utterance), subject.config.model.width
    fixed = subject, checkpoint, speech, questions, pieces, maps
    return Bench(*fixed, errors, anew, frozen, counts, width, np.empty(shape, np.float32))


def of_checkpoint(bench: Bench, checkpoint: Checkpoint) -> Bench:
    """The same bench for other parameters of the same model; nothing is compiled anew."""
    maps = mean_maps(bench.subject, checkpoint, bench.speech)
    return bench._replace(checkpoint=checkpoint, maps=maps)


def errors_of(
    module: Any,
    params: Any,
    states: jax.Array,
    targets: jax.Array,
    valid: jax.Array,
    packing: Packing,
) -> jax.Array:
    """Reconstruction errors (B, C) of encoder outputs (P, C, D)."""

    def of_node(states: jax.Array) -> jax.Array:
        predicted = module.apply({"params": params}, unpack(states, packing), method="predict")
        return reconstruction_error(predicted, targets, valid)

    return jax.vmap(of_node, 1, 1)(states)


def nodes_within(subject: Subject, speech: Speech) -> int:
    """Nodes at once so that their states and one layer's maps fit the memory: a power of two."""
    model = subject.config.model
    rows, positions = speech.heard[0].valid.shape
    state = 4 * rows * positions * model.width
    node = 2 * (model.layers + 1) * state + 4 * rows * positions * (
        2 * model.heads * positions + 2 * model.ffn
    )
    fit = max(subject.analysis.ablate.memory_mib * 2**20 // 2 // node, 1)
    return min(1 << int(fit).bit_length() - 1, 64)


def mean_maps(subject: Subject, checkpoint: Checkpoint, speech: Speech) -> jax.Array:
    """Mean maps (L, H, T, S) over the training utterances, where both positions are valid."""
    add = jax.jit(functools.partial(summed_maps, subject.module))
    total: Any = None
    for heard in speech.heard:
        learning = (heard.utterance >= 0) & (speech.part[heard.utterance] == 0)
        if learning.any():
            valid = heard.valid & jnp.asarray(learning)[:, None]
            sums = add(checkpoint.params, heard.inputs, valid)
            total = sums if total is None else jax.tree.map(jnp.add, total, sums)
    maps, pairs = total
    return jax.device_put(maps / jnp.maximum(pairs, 1), mesh.replicated(subject.devices))


def gradient_importance(subject: Subject, checkpoint: Checkpoint, speech: Speech) -> np.ndarray:
    """Importance (L, H) of heads by gradient on the training utterances, normalised by layer."""
    step = jax.jit(by_device(functools.partial(gate_gradients, subject.module), subject.devices, 1))
    total = 0.0
    for heard in speech.heard:
        learning = (heard.utterance >= 0) & (speech.part[heard.utterance] == 0)
        if learning.any():
            found = step(checkpoint.params, heard.inputs, heard.targets, heard.valid)
            total = total + np.asarray(found, np.float64)[learning].sum(0)
    return np.asarray(layer_normalised(jnp.asarray(total)))


def identity_of(bench: Bench) -> str:
    """A name for everything that results depend on beside the setting."""
    subject, speech = bench.subject, bench.speech
    asked = subject.analysis.ablate
    unlike = ("preset", "order", "kind", "draws", "memory_mib", "engine")
    settings = {k: v for k, v in dataclasses.asdict(asked).items() if k not in unlike}
    more = [subject.analysis.draws, subject.analysis.seed, subject.split.fingerprint, speech.ids]
    questions = [(question.name, *question.budget) for question in bench.questions]
    text = json.dumps([settings, questions, more])
    digest = hashlib.sha256(text.encode())
    for leaf in jax.tree.leaves(bench.checkpoint.params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def measure(bench: Bench, settings: Settings, store: Store, title: str) -> Arrays:
    """Arrays (G, ...) of every setting, from the store where they are there; see `leaf_arrays`."""
    keys = keys_of(settings)
    unique, _ = distinct(settings)
    names = keys_of(unique)
    chunk = chunk_size(bench.subject, bench.speech, bench.questions)
    chunks = [
        [i for i in range(first, min(first + chunk, len(names))) if names[i] not in store]
        for first in range(0, len(names), chunk)
    ]
    todo = [each for each in chunks if each]
    done = sum(name in store for name in names)
    say = bench.subject.say
    if done:
        say(f"{title}: {done} of {len(names)} settings were measured before")
    if todo:
        intact = None
        if bench.questions:
            shape = settings.gate.shape[1:]
            whole = make_settings(np.ones((1, *shape), np.float32))
            intact = train_intact(bench, whole)
        console = Console(stderr=True)
        for index in track(
            todo,
            description=title,
            console=console,
            disable=not console.is_terminal,
            transient=True,
        ):
            found = leaf_arrays(bench, engine.take(unique, index), intact)
            store.add([names[i] for i in index], found)
    return store.take(keys)


def chunk_size(subject: Subject, speech: Speech, questions: tuple[Question, ...]) -> int:
    """Settings whose representations of all positions take half of the memory that was given.

    The other half is for what is on its way to the probes and back.
    """
    if not questions:
        return 64
    one = 4 * len(speech.utterance) * subject.config.model.width
    return max(subject.analysis.ablate.memory_mib * 2**20 // 2 // one, 1)


def leaf_arrays(bench: Bench, settings: Settings, intact: tuple[Probe, ...] | None) -> Arrays:
    """What is left under each of G settings.

    `reconstruction` (G, U) is the error of every test utterance; the others are those of
    `ablate_tasks.score`, by TASK/PROBES/name.
    """
    features, errors = run(bench, settings)
    arrays: Arrays = {}
    if errors is not None:
        arrays[RECONSTRUCTION] = errors
    if features is not None:
        arrays |= answers(bench, features, intact)
    return arrays


def run(bench: Bench, settings: Settings) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Representations (G, N, D) of all positions, and errors (G, U) of the test utterances.

    The representations lie in the room of the bench, until the next settings are run.
    """
    subject, speech = bench.subject, bench.speech
    asked, model = subject.analysis.ablate, subject.config.model
    depth = model.layers if asked.layer is None else asked.layer
    tested = np.flatnonzero(speech.part == TEST)
    errors = np.zeros((len(settings.gate), len(speech.part)), np.float32)
    features = bench.room[: len(settings.gate)] if bench.questions else None
    for heard in speech.heard:
        rows = heard.utterance >= 0
        predicted = bool((speech.part[heard.utterance[rows]] == TEST).any())
        predicted &= RECONSTRUCTION in asked.tasks
        whole = bool(bench.questions) and depth == model.layers
        if whole or predicted:
            tree = swept(bench, heard, settings, whole, predicted)
            if predicted:
                errors[:, heard.utterance[rows]] = tree["errors"][:, rows]
        if features is not None:
            if not whole:
                shallow = Settings(*(field[:, :depth] for field in settings))
                tree = swept(bench, heard, shallow, True, False)
            features[:, heard.place] = tree["features"][:, heard.real]
    return features, errors[:, tested] if RECONSTRUCTION in asked.tasks else None


def swept(
    bench: Bench, heard: Heard, settings: Settings, features: bool, errors: bool
) -> dict[str, np.ndarray]:
    """One batch under all settings."""
    subject, params = bench.subject, bench.checkpoint.params

    def finish(states: jax.Array) -> dict[str, jax.Array]:
        tree = {"features": states} if features else {}
        if errors:
            known = heard.targets, heard.valid, heard.packing
            tree["errors"] = bench.errors(params, states, *known)
        return tree

    piece = evaluation(
        bench.pieces,
        params,
        subject.config.model.heads,
        heard.inputs,
        heard.valid,
        heard.packing,
        finish,
        bench.counts,
        bench.maps,
    )
    return engine.sweep(piece, settings, engine=subject.analysis.ablate.engine, width=bench.width)


def train_intact(bench: Bench, whole: Settings) -> tuple[Probe, ...]:
    """Probes, leaves (S, ...), of the intact model: trained once, and frozen for all settings."""
    features, _ = run(bench, whole)
    probes, _ = bench.ask(in_group(bench, features))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], probes)


def group_size(bench: Bench) -> int:
    """Settings that are asked at a time, on all devices."""
    return SETTINGS * bench.subject.devices.size


def in_group(bench: Bench, features: np.ndarray) -> jax.Array:
    """Representations (M, N, D) on the devices, the last one repeated up to a whole group."""
    index = np.minimum(np.arange(group_size(bench)), len(features) - 1)
    return mesh.place_batch(features[index], bench.subject.devices)


def answers(bench: Bench, features: np.ndarray, intact: tuple[Probe, ...]) -> Arrays:
    """The answers of all questions under G settings with representations (G, N, D)."""
    group = group_size(bench)
    found: list[Arrays] = []
    for first in range(0, len(features), group):
        rows = features[first : first + group]
        placed = in_group(bench, rows)
        answered = bench.ask(placed)[1] | bench.ask_frozen(intact, placed)
        found.append({name: np.asarray(each)[: len(rows)] for name, each in answered.items()})
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
