"""A config in, its training step compiled for every length out, with what it takes."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import optax
from jax.sharding import Mesh as DeviceMesh

from sat_jax import mesh
from sat_jax.config import Config
from sat_jax.features.buckets import batch_size
from sat_jax.model.cost import forward_flops
from sat_jax.pretrain import step
from sat_jax.pretrain.labels import Labels


def compile_steps(
    config: Config,
    model: nn.Module,
    tx: optax.GradientTransformation,
    devices: DeviceMesh,
    abstract: step.TrainState,
    edges: Sequence[int],
    beside: Labels,
    say: Callable[[str], None],
) -> dict[int, Any]:
    """The compiled step for each static length in frames, by the samples of its audio."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    train_step = step.train_step(config, model, tx, devices, shardings)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(abstract.params))
    held = mesh.bytes_per_device(abstract, shardings) / 2**20
    say(f"model: {parameters:,} parameters; {held:,.0f} MiB of state per device")
    compiled = {}
    for frames in edges:
        began = time.perf_counter()
        samples = model.grid.frame_samples(frames)
        size = batch_size(frames, config.batches)
        shapes = mesh.batch_shapes(size, samples, devices, beside.width(frames))
        compiled[samples] = train_step.lower(abstract, *shapes).compile()
        needed = held + compiled[samples].memory_analysis().temp_size_in_bytes / 2**20
        say(
            f"bucket {len(compiled)} of {len(edges)}: {size} x {frames} frames, compiled in "
            f"{time.perf_counter() - began:.1f} s, a step needs {needed:,.0f} MiB per device"
        )
    return compiled


def step_flops(config: Config, model: nn.Module, edges: Sequence[int]) -> dict[int, float]:
    """Operations of the matrix products of one step, forward and backward, by samples of audio."""
    return {
        model.grid.frame_samples(frames): 3.0
        * batch_size(frames, config.batches)
        * forward_flops(model, frames // model.grid.frames)
        for frames in edges
    }
