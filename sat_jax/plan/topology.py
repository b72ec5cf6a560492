"""A topology's name in, devices out that can be compiled for, though none of them is here.

Imports jax only where devices are made: what XLA and libtpu read from the environment has to be
there before.
"""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sat_jax.errors import InputError
from sat_jax.launch import DEVICE_COUNT
from sat_jax.plan.chips import CHIPS, Chip, chip_named

CPU = "cpu"
COMPILED = ("v5e", "v5p", "v6e")
"""Chips that libtpu compiles for with one device per chip."""
ACCELERATOR = {"v5e": "v5litepod-16", "v5p": "v5p-32", "v6e": "v6e-16"}
"""A machine of each of them, which libtpu wants to be told; of any size."""
EXAMPLES = "v5e:4x4, v5p:2x2x2, v6e:16x16, h100:64 or cpu:8"


class Topology(NamedTuple):
    """Chips that are connected."""

    name: str
    chip: Chip | None
    """None for a CPU, which has no published peak."""
    shape: tuple[int, ...]
    """Chips along each axis of the torus; of GPUs and CPUs how many there are."""

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return math.prod(self.shape)


def topology_named(name: str) -> Topology:
    """The topology `CHIP:SHAPE`; raises `InputError` for one that there cannot be."""
    kind, _, shape = name.partition(":")
    sizes = shape.split("x")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise InputError(f"topology is {name!r}: give a chip and a shape, such as {EXAMPLES}")
    sizes = tuple(int(size) for size in sizes)
    if kind == CPU:
        return Topology(name, None, (math.prod(sizes),))
    if kind not in CHIPS:
        raise InputError(
            f"topology is {name!r}: give one of {', '.join(CHIPS)}, {CPU} and a shape, such as "
            f"{EXAMPLES}"
        )
    chip = chip_named(kind)
    if not chip.torus:
        return Topology(name, chip, (math.prod(sizes),))
    if len(sizes) != chip.torus:
        axes = "x".join(["4"] * chip.torus)
        raise InputError(
            f"topology is {name!r}: {kind} stand in {chip.torus} axes: give a shape such as "
            f"{kind}:{axes}"
        )
    return Topology(name, chip, sizes)


def has_compiler(topology: Topology) -> bool:
    """Whether libtpu is here and compiles for these chips; else XLA's CPU compiler has to do."""
    kind = topology.chip.name if topology.chip else CPU
    return kind in COMPILED and importlib.util.find_spec("libtpu") is not None


def environment(topology: Topology, environ: Mapping[str, str]) -> dict[str, str]:
    """What has to stand in the environment before jax is imported.

    Nothing of this machine's own accelerators is used.
    """
    added = {"JAX_PLATFORMS": "cpu"}
    if has_compiler(topology):
        return added | {
            "TPU_ACCELERATOR_TYPE": ACCELERATOR[topology.chip.name],
            "TPU_WORKER_HOSTNAMES": "localhost",
            "TPU_SKIP_MDS_QUERY": "1",
            # libtpu ends the process for a flag of another compiler; its own are LIBTPU_INIT_ARGS.
            "XLA_FLAGS": "",
            # No chip is touched, so that others may compile, or train on one, at the same time.
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        }
    # Of a flag that is there twice, the last one counts.
    flags = f"{environ.get('XLA_FLAGS', '')} {DEVICE_COUNT}={topology.devices}"
    return added | {"XLA_FLAGS": flags.strip()}


def devices_of(topology: Topology) -> Sequence[Any]:
    """Devices to compile for, in an environment as `environment` says.

    Raises `InputError` for a shape that the compiler does not know.
    """
    import jax
    from jax.experimental import topologies

    if not has_compiler(topology):
        return jax.devices("cpu")[: topology.devices]
    options = {"chips_per_host_bounds": [1] * 3} if topology.devices == 1 else {}
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **options)
    except Exception as error:
        raise InputError(
            f"topology is {topology.name!r}, and libtpu says: {str(error).splitlines()[0]}; give a "
            f"shape that there is, such as {EXAMPLES}"
        ) from error
    return found.devices


def coordinates(topology: Topology, devices: Sequence[Any]) -> list[tuple[int, ...]]:
    """Where each device stands: its place in the torus; of a GPU its host and its place there.

    Devices that XLA's CPU compiler stands in for are counted along the last axis first.
    """
    if has_compiler(topology):
        return [tuple(device.coords[: len(topology.shape)]) for device in devices]
    found = []
    for device in devices:
        rest, place = device.id, []
        shape = topology.shape
        if topology.chip and not topology.chip.torus:
            shape = (-(-topology.devices // topology.chip.host), topology.chip.host)
        for size in reversed(shape):
            rest, at = divmod(rest, size)
            place.append(at)
        found.append(tuple(reversed(place)))
    return found
