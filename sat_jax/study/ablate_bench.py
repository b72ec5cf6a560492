"""A checkpoint and speech in, all that measuring its settings needs out: compiled and in memory."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding

from sat_jax import mesh
from sat_jax.mesh import by_device
from sat_jax.model.packing import Packing, unpack
from sat_jax.study.ablate_speech import TRAIN, Heard, Speech
from sat_jax.study.ablate_tasks import Asking, Question, ask, ask_frozen
from sat_jax.study.evaluation import Counts
from sat_jax.study.subject import Checkpoint, Subject
from sat_jax.trace.importance import (
    gate_gradients,
    layer_normalised,
    reconstruction_error,
    summed_maps,
)
from sat_jax.trace.pieces import Pieces, cut_pieces

SETTINGS = 2
"""Settings per device that are asked at a time."""
PROGRAMS = 96 * 2**20
"""Bytes that are left for the pieces of the model, which are compiled as they are needed."""
UNASKED = 64
"""Settings at a time where no probe asks for their representations."""


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
    ask: Callable[..., Any] | None
    """Compiled: representations (M, N, D) to probes and answers, see `ask`."""
    ask_frozen: Callable[..., Any] | None
    """Compiled: probes of the intact model and representations to answers, see `ask_frozen`."""
    counts: Counts
    width: int
    """Nodes of the trie that are computed at once."""
    chunk: int
    """Settings that are measured before their representations are forgotten."""
    room: np.ndarray
    """(C, N, D) float32 for the representations under a chunk of settings: one for all chunks, as
    memory that is given back and asked for again ends up scattered."""


def open_bench(
    subject: Subject, checkpoint: Checkpoint, speech: Speech, questions: tuple[Question, ...]
) -> Bench:
    """Compile what can be compiled before, and average the maps of the training utterances."""
    devices = subject.devices
    pieces = cut_pieces(subject.module, devices)
    maps = mean_maps(subject, checkpoint, speech)
    width = 1 if jax.default_backend() == "cpu" else nodes_within(subject, speech)
    counts = Counts(set(), {})
    errors = jax.jit(by_device(functools.partial(errors_of, subject.module), devices, 1))
    asked = subject.analysis
    keys = jax.random.split(jax.random.key(asked.seed), asked.ablate.probe_seeds)
    batched = jax.default_backend() != "cpu"
    how = Asking(questions, speech.utterance, keys, batched, asked.draws, asked.seed)
    asking, chunk, shape = (None, None), UNASKED, (0,)
    if questions:
        asking = compile_asking(how, subject)
        given = asked.ablate.memory_mib * 2**20 - PROGRAMS
        one = 4 * len(speech.utterance) * subject.config.model.width
        chunk = chunk_within(given, one, len(speech.heard), working_memory(asking, devices))
        shape = chunk, len(speech.utterance), subject.config.model.width
    fixed = subject, checkpoint, speech, questions, pieces, maps
    return Bench(*fixed, errors, *asking, counts, width, chunk, np.empty(shape, np.float32))


def compile_asking(how: Asking, subject: Subject) -> tuple[Any, Any]:
    """`ask` and `ask_frozen`, compiled for a group of settings."""
    devices = subject.devices
    shape = group_size(devices), len(how.utterance), subject.config.model.width
    rows = jax.ShapeDtypeStruct(shape, np.float32, sharding=NamedSharding(devices, mesh.BATCH))
    anew = jax.jit(by_device(functools.partial(ask, how), devices))
    probes, _ = jax.eval_shape(anew, rows)
    intact = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), probes)
    frozen = jax.jit(by_device(functools.partial(ask_frozen, how), devices, 1))
    return anew.lower(rows).compile(), frozen.lower(intact, rows).compile()


def working_memory(compiled: tuple[Any, Any], devices: DeviceMesh) -> int:
    """Bytes that asking a group takes: its representations on both sides, and what is between."""
    total = 0
    for index, program in enumerate(compiled):
        stats = program.memory_analysis()
        if stats is not None:  # a backend may not say
            total += stats.temp_size_in_bytes + stats.output_size_in_bytes
            total += 2 * stats.argument_size_in_bytes * (index == 0)
    return total * devices.size


def chunk_within(given: int, one: int, batches: int, working: int) -> int:
    """Settings whose representations of `one` bytes fit `given` bytes beside the `working` ones.

    Each batch is on its way to its place three times: as it left the device, stacked, and picked.
    """
    return max(int((given - working) // (one + 3 * one / batches)), 1)


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
        learning = learns(speech, heard)
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
        learning = learns(speech, heard)
        if learning.any():
            found = step(checkpoint.params, heard.inputs, heard.targets, heard.valid)
            total = total + np.asarray(found, np.float64)[learning].sum(0)
    return np.asarray(layer_normalised(jnp.asarray(total)))


def learns(speech: Speech, heard: Heard) -> np.ndarray:
    """(B,) bool: rows of a batch that probes learn from."""
    return (heard.utterance >= 0) & (speech.part[heard.utterance] == TRAIN)


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


def group_size(devices: DeviceMesh) -> int:
    """Settings that are asked at a time, on all devices."""
    return SETTINGS * devices.size
