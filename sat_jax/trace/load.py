"""A run's checkpoints in, a model ready to be traced out."""

from pathlib import Path
from typing import Any

import jax
from flax import linen as nn
from jax.sharding import Mesh as DeviceMesh

from sat_jax.checkpoint import restore_params
from sat_jax.mesh import replicated
from sat_jax.model.build import init_params
from sat_jax.model.encoder import unrolled


def load_model(
    directory: Path, step: int | None, model: nn.Module, mesh: DeviceMesh
) -> tuple[int, nn.Module, Any]:
    """(step, model with unrolled layers, its parameters whole on every device of `mesh`).

    `directory` holds the checkpoints, `step` None is the latest. Raises `InputError` where there is
    no such checkpoint, or where it is of a model of another shape.
    """
    shapes = jax.eval_shape(lambda key: init_params(key, model), jax.random.key(0))
    whole = replicated(mesh)
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), shapes
    )
    found, params = restore_params(directory, step, abstract)
    return found, *unrolled(model, params)
