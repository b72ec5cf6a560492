"""Config in, device mesh and shardings out: where every array of a run lives.

The mesh is `(data, fsdp, model)`. Batches are split over data and fsdp, parameters over fsdp and
model by rules on their names. An axis that its mesh axis does not divide is kept whole.
"""

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import PartitionSpec as P

from sat_jax.cluster import Cluster, cluster_of, described
from sat_jax.config import Distributed, Mesh
from sat_jax.errors import InputError
from sat_jax.peers import SILENCE

BATCH = P(("data", "fsdp"))

# First match wins. A kernel reads from its first axis: column-split where it opens a sub-layer
# (heads of the fused projection are its slowest output axis), row-split where it closes one.
RULES: tuple[tuple[str, P], ...] = (
    (r"(streams|ffn_in)/kernel$", P("fsdp", "model")),
    (r"(streams|ffn_in)/bias$", P("model")),
    (r"(attention/out|ffn_out)/kernel$", P("model", "fsdp")),
    (r"(input|dense|output)/kernel$", P("fsdp", None)),
    (r"algorithm/(maps|inner|outer)$", P("model", "fsdp", None)),
    (r".*", P()),
)


def join_cluster(settings: Distributed) -> str:
    """Start JAX's distributed runtime where this process is one of several; call before any device
    is used. Returns one line about the cluster, empty for a process alone.

    A process that stays silent for so long is given up, and the others end; see `peers`. Raises
    `InputError` where the cluster cannot be joined, or has not the devices that were asked for.
    """
    cluster = cluster_of(settings, os.environ)
    if cluster is not None:
        _initialize(cluster)
        # On CPUs, processes that meet first give up after 30 s; later they wait longer.
        multihost_utils.sync_global_devices("joined")
    found = jax.device_count()
    if settings.devices and found != settings.devices:
        alone = "" if cluster else "; no launcher says that this process is one of several"
        raise InputError(
            f"distributed.devices is {settings.devices}, and {jax.process_count()} processes have "
            f"{found} together{alone}: see\n{processes_table(jax.devices())}"
        )
    return described(cluster) if cluster else ""


def _initialize(cluster: Cluster) -> None:
    timeouts = {"initialization_timeout": 120, "heartbeat_timeout_seconds": SILENCE}
    try:
        if cluster.coordinator:
            jax.distributed.initialize(
                cluster.coordinator, cluster.processes, cluster.process, **timeouts
            )
        else:
            method = cluster.method or None
            jax.distributed.initialize(cluster_detection_method=method, **timeouts)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"could not join the cluster ({described(cluster)}; {first}): check "
            "distributed.coordinator and that all processes were started"
        ) from error


def build_mesh(
    mesh: Mesh, batch_size: int, parts: int = 1, devices: Sequence[Any] | None = None
) -> DeviceMesh:
    """The mesh of `devices`, by default all of all processes, for batches in so many parts.

    Raises `InputError` if the sizes do not fit.
    """
    count = jax.device_count() if devices is None else len(devices)
    data = mesh.data or max(count // (mesh.fsdp * mesh.model), 1)
    if data * mesh.fsdp * mesh.model != count:
        raise InputError(
            f"mesh.data {mesh.data or 'auto'} x mesh.fsdp {mesh.fsdp} x mesh.model {mesh.model} "
            f"does not make the {count} devices at hand: change one of them"
        )
    share = data * mesh.fsdp * parts
    if batch_size % share:
        times = f" x batches.parts {parts}" if parts > 1 else ""
        raise InputError(
            f"batches.size is {batch_size}: give a multiple of mesh.data x mesh.fsdp{times} = "
            f"{share}, so that every device gets as many utterances"
        )
    shape = (data, mesh.fsdp, mesh.model)
    axes, kinds = ("data", "fsdp", "model"), (AxisType.Auto,) * 3
    return jax.make_mesh(shape, axes, axis_types=kinds, devices=devices)


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


_TRACED: ContextVar[DeviceMesh | None] = ContextVar("traced for", default=None)


@contextlib.contextmanager
def traced_for(mesh: DeviceMesh) -> Iterator[None]:
    """What is traced inside knows that it is for this mesh."""
    token = _TRACED.set(mesh)
    try:
        yield
    finally:
        _TRACED.reset(token)


def by_utterance(tree: Any) -> Any:
    """Arrays (B, ...) with their utterances split over the mesh that is traced for, the rest whole.

    Left to itself, XLA may split activations by width where parameters are (fsdp), and then moves
    activations where it should move parameters. Without a mesh nothing is said.
    """
    mesh = _TRACED.get()
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, BATCH))


def on_every_device(tree: Any) -> Any:
    """Arrays whole on every device of the mesh that is traced for; without one nothing is said."""
    mesh = _TRACED.get()
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, replicated(mesh))


def platform() -> str:
    """The platform that is traced for: that of the mesh, or the one that jax runs on."""
    mesh = _TRACED.get()
    return jax.default_backend() if mesh is None else mesh.devices.flat[0].platform


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


def on_own_rows(function: Callable[..., Any], whole: int = 0) -> Callable[..., Any]:
    """`by_device` on the mesh that is traced for; without one the function itself."""
    mesh = _TRACED.get()
    return function if mesh is None else by_device(function, mesh, whole)


def on_own_heads(function: Callable[..., Any], heads: int) -> Callable[..., Any]:
    """A function of arrays (B, H, ...) and, last, of one (B,), to an array (B, H, ...), computed by
    every device of the mesh that is traced for: for the utterances and, where `model` divides
    them, the heads that it holds."""
    mesh = _TRACED.get()
    if mesh is None:
        return function
    own = P(*BATCH, "model" if heads % mesh.shape["model"] == 0 else None)

    def split(*arguments: Any) -> Any:
        specs = (own,) * (len(arguments) - 1) + (BATCH,)
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=own, check_vma=False)(
            *arguments
        )

    return split


def paced(tree: Any) -> Any:
    """The same arrays; on a CPU, where cores stand in for devices, after they are computed.

    For loops that start program after program without reading what comes out. XLA:CPU holds some 32
    of them; if they reduce over devices, more than that wait for each other for ever.
    """
    return jax.block_until_ready(tree) if jax.default_backend() == "cpu" else tree


def replicated(mesh: DeviceMesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, P())


def device_table(mesh: DeviceMesh) -> str:
    """The mesh, and one line per process, so that a missing GPU is seen before step 0."""
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    return f"mesh: {shape}\n{processes_table(mesh.devices.flat)}"


def processes_table(devices: Iterable[Any]) -> str:
    """One line per process: its devices."""
    own: dict[int, list[str]] = {}
    for device in devices:
        own.setdefault(device.process_index, []).append(device.device_kind)
    return "\n".join(
        f"process {process}: {len(kinds)} x {', '.join(sorted(set(kinds)))}"
        for process, kinds in sorted(own.items())
    )


def bytes_per_device(state: Any, shardings: Any) -> int:
    """Bytes of a tree of shapes that the fullest device holds under `shardings`."""

    def share(leaf: Any, sharding: NamedSharding) -> int:
        return math.prod(sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize

    return sum(jax.tree.leaves(jax.tree.map(share, state, shardings)))
