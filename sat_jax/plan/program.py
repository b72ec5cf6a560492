"""A config and devices in, the compiled training step of the longest bucket and its sizes out."""

import math
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sat_jax import mesh
from sat_jax.config import Config
from sat_jax.features.buckets import batch_size
from sat_jax.model.build import build_model
from sat_jax.model.cost import forward_flops, map_flops, parameter_count
from sat_jax.pretrain import optim, step
from sat_jax.pretrain.labels import label_width

GIB = 2**30


class Memory(NamedTuple):
    """Bytes on the device that holds the most."""

    state: int
    """Parameters and what the optimiser keeps, before any padding of the chip."""
    batch: int
    """Audio of one step."""
    arguments: int
    """State and batch as the chip lays them out."""
    temporary: int
    """What a step needs beside them, at the same time."""
    code: int
    """The program."""

    @property
    def total(self) -> int:
        """All that has to be there at once: the next state takes the place of the last."""
        return self.arguments + self.temporary + self.code


class Program(NamedTuple):
    """A training step that was compiled and never run."""

    mesh: Any
    parameters: int
    size: int
    """Utterances of a step, over all devices."""
    positions: int
    """Of an utterance of the longest bucket."""
    frames: int
    """Of the same."""
    samples: int
    """Of the same."""
    flops: int
    """Operations of the matrix products of a step, over all devices; without those that
    `model.remat` computes a second time."""
    map_flops: int
    """The part of them that makes and uses attention maps."""
    again: int
    """Operations that `model.remat` computes a second time; `again_maps` of them for maps."""
    again_maps: int
    memory: Memory
    text: str
    """The compiled program; empty where it did not fit."""
    seconds: float
    """How long it took to compile."""


def compile_step(config: Config, devices: Sequence[Any], say: Callable[[str], None]) -> Program:
    """Compile the step that `train.py` runs on utterances of the longest bucket.

    A program that does not fit into the chip's memory has no text, and its temporaries are what
    the compiler says they would be. Raises `InputError` for devices that the mesh does not fit.
    """
    grid = mesh.build_mesh(config.mesh, config.batches.size, config.batches.parts, devices)
    model = build_model(config)
    tx = optim.optimizer(config.optim, config.loop.steps - config.loop.first, grid)
    abstract, _ = step.sharded_state(step.init_state(config, model, tx), grid)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    jitted = step.train_step(config, model, tx, grid, shardings)
    frames = config.batches.max_frames // model.grid.frames * model.grid.frames
    samples = model.grid.frame_samples(frames)
    size = batch_size(frames, config.batches)
    batch = mesh.batch_shapes(size, samples, grid, label_width(config, model.grid)(frames))
    began = time.perf_counter()
    lowered = jitted.lower(abstract, *batch)
    say(f"compiling for {grid.size} devices")
    state, taken = mesh.bytes_per_device(abstract, shardings), bytes_of(batch)
    try:
        compiled, text = compiled_text(lowered, devices[0].platform == "tpu")
    except jax.errors.JaxRuntimeError as error:
        memory = Memory(state, taken, state + taken, temporaries_of(str(error)), 0)
        text = ""
        if not memory.temporary:
            raise
    else:
        found = compiled.memory_analysis()
        memory = Memory(
            state,
            taken,
            found.argument_size_in_bytes,
            found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes,
            found.generated_code_size_in_bytes,
        )
    positions = frames // model.grid.frames
    forward, maps = forward_flops(model, positions), map_flops(model, positions)
    layers = forward - model.flops(positions)
    again = {"none": 0, "maps": maps, "layers": layers}[config.model.remat]
    return Program(
        mesh=grid,
        parameters=parameter_count(abstract.params),
        size=size,
        positions=positions,
        frames=frames,
        samples=samples,
        # Each product has two in its gradient.
        flops=3 * size * forward,
        map_flops=3 * size * maps,
        again=size * again,
        again_maps=size * min(again, maps),
        memory=memory,
        text=text,
        seconds=time.perf_counter() - began,
    )


def compiled_text(lowered: Any, dumped: bool) -> tuple[Any, str]:
    """The compiled program and its text; `dumped` by the compiler, as jax cannot read every program
    of a compiler that is newer than itself."""
    if not dumped:
        compiled = lowered.compile()
        return compiled, compiled.as_text()
    with tempfile.TemporaryDirectory() as directory:
        options = {"xla_dump_to": directory, "xla_dump_hlo_as_text": True}
        compiled = lowered.compile(compiler_options=options)
        (path,) = Path(directory).glob("*.after_optimizations.txt")
        return compiled, path.read_text()


def bytes_of(batch: Sequence[jax.ShapeDtypeStruct]) -> int:
    """Bytes of a batch on one device."""
    shards = [each.sharding.shard_shape(each.shape) for each in batch]
    sizes = [np.dtype(each.dtype).itemsize for each in batch]
    return sum(math.prod(shape) * size for shape, size in zip(shards, sizes, strict=True))


def temporaries_of(message: str) -> int:
    """Bytes that a program would need, of the compiler's message that there are not as many; 0 for
    any other message."""
    found = re.search(r"out of memory.*?\(?([\d.]+)G\)? exceeds", message, re.I | re.S)
    return round(float(found[1]) * GIB) if found else 0
