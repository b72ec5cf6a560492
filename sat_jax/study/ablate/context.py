"""A checkpoint and speech in, all that measuring its settings needs out: compiled and in memory."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding

from sat_jax import mesh
from sat_jax.mesh import by_device
from sat_jax.model.packing import Packing, unpack
from sat_jax.study.ablate.corpus import TRAIN, EncodedBatch, Speech
from sat_jax.study.ablate.tasks import ProbeRun, ProbeTask, score_frozen, train_and_score
from sat_jax.study.loaded_model import Checkpoint
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.sweep.batch_ops import Counts
from sat_jax.sweep.ops import EncoderOps, encoder_ops
from sat_jax.trace.importance import (
    gate_gradients,
    layer_normalised,
    reconstruction_error,
    summed_maps,
)

SETTINGS = 2
"""Settings per device that are measured at a time."""
PROGRAMS = 96 * 2**20
"""Bytes that are left for the ops of the model, which are compiled as they are needed."""
NODES = 64
"""Most nodes that are computed at once on an accelerator."""
UNASKED = 64
"""Settings at a time where no probe asks for their representations."""


class SweepContext(NamedTuple):
    """Everything that measuring settings of one checkpoint needs."""

    loaded: LoadedRun
    checkpoint: Checkpoint
    speech: Speech
    tasks: tuple[ProbeTask, ...]
    ops: EncoderOps
    maps: jax.Array
    """(L, H, T, S) mean maps over the training utterances."""
    errors: Callable[..., jax.Array]
    """Jitted: params, encoder outputs (P, C, D), targets, valid, packing to L1 errors (B, C)."""
    train_and_score: Callable[..., Any] | None
    """Compiled: representations (M, N, D) to probes and scores, see `train_and_score`."""
    score_frozen: Callable[..., Any] | None
    """Compiled: probes of the intact model and representations to scores, see `score_frozen`."""
    counts: Counts
    width: int
    """Nodes of the trie that are computed at once."""
    chunk: int
    """Settings that are measured before their representations are forgotten."""
    buffer: np.ndarray
    """(C, N, D) float32 for the representations under a chunk of settings: one for all chunks, as
    memory that is given back and asked for again ends up scattered."""


def open_context(
    loaded: LoadedRun, checkpoint: Checkpoint, speech: Speech, tasks: tuple[ProbeTask, ...]
) -> SweepContext:
    """Compile what can be compiled before, and average the maps of the training utterances."""
    devices = loaded.passes.devices
    ops = encoder_ops(loaded.model.module, devices)
    maps = mean_maps(loaded, checkpoint, speech)
    # One node is enough for a CPU.
    width = 1 if jax.default_backend() == "cpu" else nodes_within(*node_memory(loaded, speech))
    counts = Counts(set(), {})
    errors = jax.jit(by_device(functools.partial(errors_of, loaded.model.module), devices, 1))
    analysis = loaded.analysis
    keys = jax.random.split(jax.random.key(analysis.seed), analysis.ablate.probe_seeds)
    batched = jax.default_backend() != "cpu"
    how = ProbeRun(tasks, speech.utterance, keys, batched, analysis.draws, analysis.seed)
    probe_run, chunk, shape = (None, None), UNASKED, (0,)
    if tasks:
        probe_run = compile_probes(how, loaded)
        given = analysis.ablate.memory_mib * 2**20 - PROGRAMS
        one = 4 * len(speech.utterance) * loaded.model.spec.width
        chunk = chunk_within(given, one, len(speech.encoded), working_memory(probe_run, devices))
        shape = chunk, len(speech.utterance), loaded.model.spec.width
    fixed = loaded, checkpoint, speech, tasks, ops, maps
    return SweepContext(
        *fixed, errors, *probe_run, counts, width, chunk, np.empty(shape, np.float32)
    )


def compile_probes(how: ProbeRun, loaded: LoadedRun) -> tuple[Any, Any]:
    """`train_and_score` and `score_frozen`, compiled for a group of settings."""
    devices = loaded.passes.devices
    shape = group_size(devices), len(how.utterance), loaded.model.spec.width
    rows = jax.ShapeDtypeStruct(shape, np.float32, sharding=NamedSharding(devices, mesh.BATCH))
    anew = jax.jit(by_device(functools.partial(train_and_score, how), devices))
    probes, _ = jax.eval_shape(anew, rows)
    intact = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), probes)
    frozen = jax.jit(by_device(functools.partial(score_frozen, how), devices, 1))
    return anew.lower(rows).compile(), frozen.lower(intact, rows).compile()


def working_memory(compiled: tuple[Any, Any], devices: DeviceMesh) -> int:
    """Bytes that probes of a group take: its representations on both sides, and what is between."""
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


def of_checkpoint(context: SweepContext, checkpoint: Checkpoint) -> SweepContext:
    """The same context for other parameters of the same model; nothing is compiled anew."""
    maps = mean_maps(context.loaded, checkpoint, context.speech)
    return context._replace(checkpoint=checkpoint, maps=maps)


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


def node_memory(loaded: LoadedRun, speech: Speech) -> tuple[int, int]:
    """Bytes that are free on every device, and bytes that one node takes of them.

    The walk holds states and contexts of every layer, and maps, logits and hidden units of one.
    """
    model, devices = loaded.model.spec, loaded.passes.devices
    rows, positions = speech.encoded[0].valid.shape
    one = 2 * (model.layers + 1) * model.width
    one += 2 * model.heads * positions + 2 * loaded.config.model.ffn
    known = free_memory(devices.local_devices)
    free = loaded.analysis.ablate.memory_mib * 2**20 if known is None else known
    return free, 4 * (rows // devices.size) * positions * one


def free_memory(devices: Sequence[Any]) -> int | None:
    """Bytes that are free on the fullest of some devices; None where one of them does not say."""
    stats = [device.memory_stats() for device in devices]
    if not all(each and {"bytes_limit", "bytes_in_use"} <= set(each) for each in stats):
        return None
    return min(each["bytes_limit"] - each["bytes_in_use"] for each in stats)


def nodes_within(free: int, node: int) -> int:
    """Nodes of `node` bytes that are computed at once, in half of what is free: a power of two.

    The other half is left to what the compiler holds between, and to probes.
    """
    fit = min(max(free // 2 // node, 1), NODES)
    return 1 << int(fit).bit_length() - 1


def mean_maps(loaded: LoadedRun, checkpoint: Checkpoint, speech: Speech) -> jax.Array:
    """Mean maps (L, H, T, S) over the training utterances, where both positions are valid."""
    add = jax.jit(functools.partial(summed_maps, loaded.model.module))
    total: Any = None
    for encoded in speech.encoded:
        learning = learns(speech, encoded)
        if learning.any():
            valid = encoded.valid & jnp.asarray(learning)[:, None]
            sums = add(checkpoint.params, encoded.inputs, valid)
            total = mesh.paced(sums if total is None else jax.tree.map(jnp.add, total, sums))
    maps, pairs = total
    return jax.device_put(maps / jnp.maximum(pairs, 1), mesh.replicated(loaded.passes.devices))


def gradient_importance(loaded: LoadedRun, checkpoint: Checkpoint, speech: Speech) -> np.ndarray:
    """Importance (L, H) of heads by gradient on the training utterances, normalised by layer."""
    step = jax.jit(
        by_device(functools.partial(gate_gradients, loaded.model.module), loaded.passes.devices, 1)
    )
    total = 0.0
    for encoded in speech.encoded:
        learning = learns(speech, encoded)
        if learning.any():
            found = step(checkpoint.params, encoded.inputs, encoded.targets, encoded.valid)
            total = total + np.asarray(found, np.float64)[learning].sum(0)
    return np.asarray(layer_normalised(jnp.asarray(total)))


def learns(speech: Speech, encoded: EncodedBatch) -> np.ndarray:
    """(B,) bool: rows of a batch that probes learn from."""
    return (encoded.utterance >= 0) & (speech.part[encoded.utterance] == TRAIN)


def identity_of(context: SweepContext) -> str:
    """A name for everything that results depend on beside the setting."""
    loaded, speech = context.loaded, context.speech
    ablation = loaded.analysis.ablate
    unlike = ("preset", "order", "kind", "draws", "memory_mib", "engine")
    settings = {k: v for k, v in dataclasses.asdict(ablation).items() if k not in unlike}
    more = [
        loaded.analysis.draws,
        loaded.analysis.seed,
        loaded.corpus.split.fingerprint,
        speech.ids,
    ]
    tasks = [(task.name, *task.budget) for task in context.tasks]
    text = json.dumps([settings, tasks, more])
    digest = hashlib.sha256(text.encode())
    for leaf in jax.tree.leaves(context.checkpoint.params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def group_size(devices: DeviceMesh) -> int:
    """Settings that are measured at a time, on all devices."""
    return SETTINGS * devices.size
