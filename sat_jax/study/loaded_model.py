"""A run directory in, its model ready to be traced out: module, parameters, and its control."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax import cloud, mesh
from sat_jax.address import address_of
from sat_jax.config import Config, Mesh, NoObjective
from sat_jax.config.json import read_run
from sat_jax.errors import InputError
from sat_jax.model.build import Spec, build_model, init_params, spec_of
from sat_jax.model.convert.foreign import open_foreign
from sat_jax.trace.capture import Trace, capture
from sat_jax.trace.load import load_model


class Checkpoint(NamedTuple):
    """Parameters of a model."""

    name: str
    """As it stands over figures."""
    end: str
    """What its file names end with: nothing for the trained model."""
    params: Any


class LoadedModel(NamedTuple):
    """A model, trained and as it began."""

    name: str
    spec: Spec
    """What studies know of it beside arrays."""
    module: Any
    """The linen module, its layers unrolled."""
    checkpoints: tuple[Checkpoint, Checkpoint]
    """The trained model, then its control: the same one untrained."""

    @property
    def params(self) -> Any:
        """The trained parameters."""
        return self.checkpoints[0].params


def open_model(run: Path, config: Config, step: int | None, devices: DeviceMesh) -> LoadedModel:
    """The model of a run at `step` (None: the latest) and at step 0, whole on every device.

    Raises `InputError` where a checkpoint is missing or broken, and where no head is left.
    """
    module, spec = build_model(config), spec_of(config)
    if not spec.head_mask.any():
        raise InputError(f"{run}: all of its heads are pruned, so there is nothing to analyse")
    found, unrolled, trained = load_model(run / "ckpt", step, module, devices)
    _, _, untrained = load_model(run / "ckpt", 0, module, devices)
    # A model that came from elsewhere stands at a step that says nothing.
    shown = "" if isinstance(config.objective, NoObjective) else f" (step {found})"
    checkpoints = (
        Checkpoint(f"{config.name}{shown}", "", trained),
        Checkpoint(f"{config.name} untrained", "_untrained", untrained),
    )
    return LoadedModel(config.name, spec, unrolled, checkpoints)


def on_devices(model: LoadedModel, devices: DeviceMesh) -> LoadedModel:
    """The same model on some of the devices that hold it whole; its parameters are not copied."""
    whole = mesh.replicated(devices)

    def there(leaf: jax.Array) -> jax.Array:
        own = [each.data for each in leaf.addressable_shards if each.device in whole.device_set]
        return jax.make_array_from_single_device_arrays(leaf.shape, whole, own)

    checkpoints = tuple(
        each._replace(params=jax.tree.map(there, each.params)) for each in model.checkpoints
    )
    return model._replace(checkpoints=checkpoints)


def load(source: str | Path, step: int | None = None) -> LoadedModel:
    """The model of a run, at its latest checkpoint or at `step`, on all devices.

    A run is a directory or an address. Or the model is somebody else's: a folder of `transformers`,
    a file of weights, or a name on the hub such as facebook/hubert-base-ls960. Its control has
    random parameters. Raises `InputError` for what is neither, lacks the checkpoint, or is broken.
    """
    devices = mesh.build_mesh(Mesh(), jax.device_count())
    if address_of(source):
        source = cloud.fetched(Path(source), "analyse", step=step)
    if is_run(Path(source)):
        return open_model(Path(source), read_run(Path(source)), step, devices)
    foreign = open_foreign(source)
    module = build_model(foreign.config)
    trained, untrained = (
        jax.device_put(params, mesh.replicated(devices))
        for params in (foreign.params, init_params(jax.random.key(0), module))
    )
    name = foreign.config.name
    checkpoints = (
        Checkpoint(name, "", trained),
        Checkpoint(f"{name} untrained", "_untrained", untrained),
    )
    return LoadedModel(name, spec_of(foreign.config), module, checkpoints)


def is_run(path: Path) -> bool:
    """Whether a directory is a run of this package; other programs have a config.json as well."""
    return path.is_dir() and ((path / "ckpt").exists() or (path / "manifest.json").exists())


def trace_audio(
    model: LoadedModel, audio: Sequence[np.ndarray], params: Any = None, everything: bool = False
) -> Trace:
    """What a model computes of recordings, each (N,) int16 at 16 kHz; zero-padded to the longest.

    Gives maps, hidden states and output with `valid` (B, T) beside them; `params` are the trained
    ones unless others are given (the control's, for instance); `everything` as in `capture`. Raises
    `InputError` for audio of another type, or too short for one position.
    """
    grid = model.spec.grid
    for number, each in enumerate(audio):
        if each.ndim != 1 or each.dtype != np.int16:
            raise InputError(
                f"audio {number} is {each.dtype} of shape {each.shape}: give one channel of int16 "
                "samples at 16 kHz"
            )
        if not grid.positions(len(each)):
            raise InputError(
                f"audio {number} has {len(each)} samples: one position takes {grid.window}"
            )
    lengths = np.array([len(each) for each in audio], np.int32)
    padded = np.zeros((len(audio), max(lengths)), np.int16)
    for row, each in zip(padded, audio, strict=True):
        row[: len(each)] = each
    inputs, valid = model.module.prepare(padded, lengths)
    params = model.params if params is None else params
    return capture(model.module, params, inputs, valid, everything=everything)
