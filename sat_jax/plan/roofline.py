"""A compiled step's work and a chip's peak in, seconds of each part and of the whole step out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sat_jax.plan.chips import Chip
from sat_jax.plan.collectives import Collective

PRODUCT_SHARE = 0.6
"""Of the peak, what large matrix products reach: an assumption."""
MAP_SHARE = 0.3
"""The same of attention maps: heads of 64 fill half of a matrix unit that is 128 wide."""
MEMORY_SHARE = 0.8
"""Of HBM bandwidth, what is reached: an assumption."""
LINK_SHARE = 0.8
"""Of a link's bandwidth, what is reached: an assumption."""
HOP = 1e-6
"""Seconds from a device to the next, whatever is sent: an assumption."""


class Work(NamedTuple):
    """What one device does in a step."""

    flops: float
    """Of matrix products without attention maps."""
    map_flops: float
    """Of products that make attention maps and use them."""
    traffic: dict[str, int]
    """Bytes to and from HBM (see `traffic.PARTS`)."""


class Route(NamedTuple):
    """How the devices of a group reach each other."""

    rate: float
    """Bytes per second that a device sends, at the links' peak."""
    hops: int
    """Steps from a device to the farthest."""


class Part(NamedTuple):
    """A part of a step and what it takes."""

    name: str
    computing: float
    """Seconds of its matrix products."""
    moving: float
    """Seconds of its bytes, over HBM or, of collectives, over links."""
    by: str
    """What its bytes move over."""

    @property
    def seconds(self) -> float:
        """The longer of the two, which go on at the same time."""
        return max(self.computing, self.moving)

    @property
    def bound(self) -> str:
        """What it waits for."""
        if not self.seconds:
            return "nothing"
        return "matrix unit" if self.computing >= self.moving else self.by


def parts_of(
    work: Work, chip: Chip, dtype: str, collectives: Sequence[tuple[Collective, Route]]
) -> list[Part]:
    """Parts of a step on one of these chips, in the order in which a step runs them.

    Each collective comes with the way that it takes (see `route_of`).
    """
    peak = chip.bfloat16 if dtype == "bfloat16" else chip.float32
    memory = chip.bandwidth * MEMORY_SHARE

    def part(name: str, key: str, flops: float = 0.0, share: float = PRODUCT_SHARE) -> Part:
        return Part(name, flops / (peak * share), work.traffic[key] / memory, "HBM")

    over_links = sum(each.times * seconds_of(each, route) for each, route in collectives)
    return [
        part("features", "features"),
        part("matrix products, element-wise", "layers", work.flops),
        part("attention maps", "attention", work.map_flops, MAP_SHARE),
        part("optimiser, norm", "optimiser"),
        Part("collectives", 0.0, over_links, "links"),
    ]


def seconds_of(each: Collective, route: Route) -> float:
    """Seconds of one collective: bytes on the wire, and hops; a reduction goes there and back."""
    rounds = 2 if each.kind == "all-reduce" else 1
    return each.wire / (route.rate * LINK_SHARE) + rounds * HOP * route.hops


def route_of(
    each: Collective, chip: Chip, places: Sequence[tuple[int, ...]], shape: Sequence[int]
) -> Route:
    """How a collective goes between the devices of its first group.

    On a torus along every axis in which the group spreads: both ways round where it fills an axis
    that is closed, else one way. GPUs: NVLink within a host; where a group leaves it, rings through
    the network adapters of all its GPUs there. `places` are the coordinates of the mesh's devices
    (see `topology.coordinates`).
    """
    group = np.array([places[device] for device in each.groups[0]])
    spread = [len(np.unique(along)) for along in group.T]
    if not chip.torus:
        beyond = chip.network * each.size / spread[0]
        rate = min(chip.link, beyond) if spread[0] > 1 else chip.link
        return Route(rate, math.ceil(math.log2(each.size)))
    ways, hops = 0, 0
    for size, met in zip(shape, spread, strict=True):
        closed = met == size and size % chip.ring == 0
        ways += 0 if met == 1 else 2 if closed else 1
        hops += met // 2 if closed else met - 1
    return Route(chip.link * max(ways, 1), hops)


class Step(NamedTuple):
    """What a step takes in all."""

    computing: float
    """Seconds without collectives."""
    collectives: float
    """Seconds of collectives alone."""

    @property
    def slow(self) -> float:
        """Seconds if no collective hides behind computation."""
        return self.computing + self.collectives

    @property
    def fast(self) -> float:
        """Seconds if all do, as far as they can."""
        return max(self.computing, self.collectives)


def step_of(parts: Sequence[Part]) -> Step:
    """The sum of all parts."""
    links = sum(part.seconds for part in parts if part.name == "collectives")
    return Step(sum(part.seconds for part in parts) - links, links)


def utilisation(flops: float, seconds: float, devices: int, peak: float) -> float:
    """Model FLOPs utilisation: of the peak of all devices, what the model's products make up."""
    return flops / (seconds * devices * peak)
