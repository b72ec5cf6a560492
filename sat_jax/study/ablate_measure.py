"""Settings in, what is left of every task under each of them out: chunk by chunk, resumable.

A chunk is a run of settings in the order of the trie whose representations fit the memory that was
given. They are computed in one sweep per batch, asked every question, kept on disk and forgotten.
"""

import jax
import numpy as np
from rich.console import Console
from rich.progress import track

from sat_jax import mesh
from sat_jax.analysis import ablate as engine
from sat_jax.analysis.ablate import Settings, distinct, make_settings
from sat_jax.analysis.probe import Probe
from sat_jax.study.ablate_bench import Bench, group_size
from sat_jax.study.ablate_speech import TEST, Heard
from sat_jax.study.ablate_store import Arrays, Store, keys_of
from sat_jax.study.evaluation import evaluation

RECONSTRUCTION = "reconstruction"


def measure(bench: Bench, settings: Settings, store: Store, title: str) -> Arrays:
    """Arrays (G, ...) of every setting, from the store where they are there; see `leaf_arrays`."""
    keys = keys_of(settings)
    unique, _ = distinct(settings)
    names = keys_of(unique)
    chunks = [
        [i for i in range(first, min(first + bench.chunk, len(names))) if names[i] not in store]
        for first in range(0, len(names), bench.chunk)
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


def in_group(bench: Bench, features: np.ndarray) -> jax.Array:
    """Representations (M, N, D) on the devices, the last one repeated up to a whole group."""
    room = group_size(bench.subject.devices)
    if len(features) < room:
        features = features[np.minimum(np.arange(room), len(features) - 1)]
    return mesh.place_batch(features, bench.subject.devices)


def answers(bench: Bench, features: np.ndarray, intact: tuple[Probe, ...]) -> Arrays:
    """The answers of all questions under G settings with representations (G, N, D)."""
    group = group_size(bench.subject.devices)
    found: list[Arrays] = []
    for first in range(0, len(features), group):
        rows = features[first : first + group]
        placed = in_group(bench, rows)
        answered = bench.ask(placed)[1] | bench.ask_frozen(intact, placed)
        found.append({name: np.asarray(each)[: len(rows)] for name, each in answered.items()})
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
