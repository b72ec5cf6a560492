"""A run directory in, its model ready to be traced out: module, parameters, and its control."""

from pathlib import Path
from typing import Any, NamedTuple

from jax.sharding import Mesh as DeviceMesh

from sat_jax.config import Config
from sat_jax.errors import InputError
from sat_jax.model.build import Spec, build_model, spec_of
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
    checkpoints = (
        Checkpoint(f"{config.name} (step {found})", "", trained),
        Checkpoint(f"{config.name} untrained", "_untrained", untrained),
    )
    return LoadedModel(config.name, spec, unrolled, checkpoints)
