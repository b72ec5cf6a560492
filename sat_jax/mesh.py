"""Config in, device mesh and shardings out: where every array of a run lives.

The mesh is `(data, fsdp, model)`. Batches are split over data and fsdp, parameters over fsdp and
model by rules on their names. An axis that its mesh axis does not divide is kept whole.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import PartitionSpec as P

from sat_jax.config import Distributed, Mesh
from sat_jax.errors import InputError
from sat_jax.peers import SILENCE

BATCH = P(("data", "fsdp"))

# First match wins. A kernel reads from its first axis: column-split where it opens a sub-layer
# (heads of the fused projection are its slowest output axis), row-split where it closes one.
RULES: tuple[tuple[str, P], ...] = (
    (r"(streams|ffn_in|dense)/kernel$", P("fsdp", "model")),
    (r"(attention/out|ffn_out)/kernel$", P("model", "fsdp")),
    (r"(input|output)/kernel$", P(None, "fsdp")),
    (r"algorithm/(maps|inner|outer)$", P("model", "fsdp", None)),
    (r".*", P()),
)


def join_cluster(cluster: Distributed) -> None:
    """Start JAX's distributed runtime if the config asks for it; call before any device is used.

    A process that stays silent for so long is given up, and the others end; see `peers`.
    """
    timeouts = {"initialization_timeout": 120, "heartbeat_timeout_seconds": SILENCE}
    try:
        if cluster.auto:
            jax.distributed.initialize(**timeouts)
        elif cluster.coordinator:
            jax.distributed.initialize(
                cluster.coordinator, cluster.processes, cluster.process, **timeouts
            )
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"could not join the cluster ({first}): check distributed.coordinator and that all "
            "processes were started"
        ) from error


def build_mesh(mesh: Mesh, batch_size: int) -> DeviceMesh:
    """The mesh of all devices of all processes; raises `InputError` if the sizes do not fit."""
    devices = jax.device_count()
    data = mesh.data or max(devices // (mesh.fsdp * mesh.model), 1)
    if data * mesh.fsdp * mesh.model != devices:
        raise InputError(
            f"mesh.data {mesh.data or 'auto'} x mesh.fsdp {mesh.fsdp} x mesh.model {mesh.model} "
            f"does not make the {devices} devices at hand: change one of them"
        )
    if batch_size % (data * mesh.fsdp):
        raise InputError(
            f"batches.size is {batch_size}: give a multiple of mesh.data x mesh.fsdp = "
            f"{data * mesh.fsdp}, so that every device gets as many utterances"
        )
    shape = (data, mesh.fsdp, mesh.model)
    return jax.make_mesh(shape, ("data", "fsdp", "model"), axis_types=(AxisType.Auto,) * 3)


def own_devices() -> DeviceMesh:
    """The mesh of the devices of this process, for what processes compute each by itself."""
    local = np.array(jax.local_devices())
    return DeviceMesh(local[:, None, None], ("data", "fsdp", "model"))


def _fit(spec: P, shape: tuple[int, ...], mesh: DeviceMesh) -> P:
    """`spec` for an array of `shape`: leading layer axes and undividable axes stay whole."""
    spec = (None,) * (len(shape) - len(spec)) + tuple(spec)
    return P(
        *(
            axis if axis is not None and size % mesh.shape[axis] == 0 else None
            for axis, size in zip(spec, shape, strict=True)
        )
    )


def state_shardings(state: Any, mesh: DeviceMesh) -> Any:
    """A sharding for every leaf of a tree of parameters or of optimiser state, by its path."""

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = "/".join(str(getattr(k, "key", getattr(k, "name", k))) for k in path)
        spec = next(spec for rule, spec in RULES if re.search(rule, name))
        return NamedSharding(mesh, _fit(spec, leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(place, state)


def place_batch(batch: Any, mesh: DeviceMesh) -> Any:
    """Host rows of this process to one global array per leaf, split over the batch axis."""
    sharding = NamedSharding(mesh, BATCH)
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), batch)


def batch_shapes(
    size: int, samples: int, mesh: DeviceMesh, units: int = 0
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """What `place_batch` gives for audio (B, N) int16, lengths (B,) int32 and, where there are any,
    units (B, U) int32, without the data."""
    sharding = NamedSharding(mesh, BATCH)
    shapes = [((size, samples), np.int16), ((size,), np.int32)]
    shapes += [((size, units), np.int32)] * bool(units)
    return tuple(jax.ShapeDtypeStruct(*shape, sharding=sharding) for shape in shapes)


def by_device(
    function: Callable[..., Any], mesh: DeviceMesh, whole: int = 0, out: Any = BATCH
) -> Callable[..., Any]:
    """A function of batch arrays, computed by every device for the rows that it holds.

    Its first `whole` arguments are the same for all rows; so is what comes out where `out`, a tree
    of partitions, says P() and not BATCH. For what XLA does not split by itself: it
    gathers a whole batch to transform it by FFT, or to scatter into it.
    """

    def split(*arguments: Any) -> Any:
        specs = (P(),) * whole + (BATCH,) * (len(arguments) - whole)
        # Unchecked: a loop may begin with the same numbers on all devices and then part ways.
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False)(
            *arguments
        )

    return split


def replicated(mesh: DeviceMesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, P())


def device_table(mesh: DeviceMesh) -> str:
    """One line per process: its devices, so that a missing GPU is seen before step 0."""
    lines = []
    for process in range(jax.process_count()):
        local = [d for d in mesh.devices.flat if d.process_index == process]
        kinds = sorted({d.device_kind for d in local})
        lines.append(f"process {process}: {len(local)} x {', '.join(kinds)}")
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    return "\n".join([f"mesh: {shape}", *lines])


def bytes_per_device(state: Any, shardings: Any) -> int:
    """Bytes of a tree of shapes that the fullest device holds under `shardings`."""

    def share(leaf: Any, sharding: NamedSharding) -> int:
        return math.prod(sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize

    return sum(jax.tree.leaves(jax.tree.map(share, state, shardings)))
