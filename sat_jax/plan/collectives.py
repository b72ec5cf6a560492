"""A compiled program and its mesh in, every collective of a step out: kind, bytes, mesh axes.

A device's bytes on the wire are those of the ring algorithms, over a group of n devices: an array
that is gathered from n parts or scattered into them moves (n - 1) / n of its bytes, one that is
reduced on all devices twice that, an all-to-all (n - 1) / n of what a device holds.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sat_jax.plan.hlo import Computation, Instruction, Program

KINDS = (
    "all-reduce",
    "reduce-scatter",
    "all-gather",
    "all-to-all",
    "ragged-all-to-all",
    "collective-broadcast",
    "collective-permute",
)
SCALAR = 256
"""Up to so many bytes a collective is said to be of numbers, not of arrays."""
_ORDER = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
_NAMED = rf"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\({_ORDER}\))? \{{('[^}}]*)\}}"


class Collective(NamedTuple):
    """One collective instruction."""

    kind: str
    axes: tuple[str, ...]
    """The mesh axes that it runs over."""
    groups: np.ndarray
    """(G, n) devices by their number in the mesh; of a permutation (G, 2): from, to."""
    payload: int
    """Bytes of the whole array: what is reduced, gathered into, scattered from, or held."""
    times: int
    """How often a step runs it."""
    where: str
    """Which of our functions it comes from."""

    @property
    def size(self) -> int:
        """Devices of a group."""
        return self.groups.shape[1]

    @property
    def wire(self) -> float:
        """Bytes that a device sends each time."""
        share = (self.size - 1) / self.size
        if self.kind == "all-reduce":
            return 2 * share * self.payload
        if self.kind in ("collective-permute", "collective-broadcast"):
            return self.payload
        return share * self.payload

    @property
    def small(self) -> bool:
        """Whether it is only a few numbers, such as a loss or a norm."""
        return self.payload <= SCALAR


def collectives_of(program: Program, mesh: Mapping[str, int]) -> list[Collective]:
    """All collectives of a step on a mesh, axis to size, in the order of the text.

    One that XLA:TPU has cut into pieces, which run between other work, is counted once: the pieces
    share its channel. A reduction that it fuses with the slice that each device keeps is a
    reduce-scatter. Groups of one device are left out: they move nothing.
    """
    found, seen = [], set()
    for name, times in program.times.items():
        computation = program.computations[name]
        for each in computation.values():
            kind = each.op.removesuffix("-start")
            if kind not in KINDS:
                continue
            channel = re.search(r"channel_id=(\d+)", each.attributes)
            if "chain_id=" in each.attributes and channel:
                if channel[1] in seen:
                    continue
                seen.add(channel[1])
            groups = groups_of(each.attributes, mesh)
            if groups.shape[1] < 2:
                continue
            if kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                kind = "reduce-scatter"
            payload = payload_of(each, computation, kind, groups.shape[1])
            axes = axes_of(groups, mesh)
            found.append(Collective(kind, axes, groups, payload, times, each.where))
    return found


def payload_of(each: Instruction, computation: Computation, kind: str, size: int) -> int:
    """Bytes of the whole array of a collective over `size` devices, by its operands."""
    held = sum(computation[name].bytes for name in each.operands if name in computation)
    return held * size if kind == "all-gather" else held


def groups_of(attributes: str, mesh: Mapping[str, int]) -> np.ndarray:
    """Which devices take part together, (G, n), of any of the ways in which XLA writes it."""
    devices = math.prod(mesh.values())
    if pairs := re.search(r"source_target_pairs=\{(.*?)\}\}", attributes):
        return _lists(pairs[1])
    if lists := re.search(r"replica_groups=\{(\{.*?\})\}", attributes):
        return _lists(lists[1])
    if iota := re.search(rf"replica_groups=\[([\d,]+)\]<={_ORDER}", attributes):
        return _ordered(*iota.groups()[1:]).reshape(_numbers(iota[1]))
    if named := re.search(_NAMED, attributes):
        axes, *order, over = named.groups()
        return _named(axes, order, over)
    return np.arange(devices).reshape(1, -1)


def axes_of(groups: np.ndarray, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The mesh axes along which the devices of a group differ."""
    places = np.stack(np.unravel_index(groups, tuple(mesh.values())), axis=-1)
    differ = (places != places[:, :1]).any(axis=(0, 1))
    return tuple(name for name, does in zip(mesh, differ, strict=True) if does)


class Total(NamedTuple):
    """Collectives of one kind over the same axes."""

    kind: str
    axes: tuple[str, ...]
    small: bool
    """They carry only a few numbers each."""
    count: int
    """Times that a step runs one of them."""
    wire: float
    """Bytes that a device sends per step."""


def totals(collectives: Sequence[Collective]) -> list[Total]:
    """Collectives by kind, axes and whether they are small, those that move most first."""
    count: dict[tuple, int] = defaultdict(int)
    wire: dict[tuple, float] = defaultdict(float)
    for each in collectives:
        key = each.kind, each.axes, each.small
        count[key] += each.times
        wire[key] += each.times * each.wire
    rows = [Total(*key, count[key], wire[key]) for key in count]
    return sorted(rows, key=lambda row: -row.wire)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


def _lists(text: str) -> np.ndarray:
    return np.array([_numbers(each) for each in re.findall(r"\d[\d,]*", text)])


def _ordered(source: str, order: str | None) -> np.ndarray:
    """Devices counted in `source`, `[4,2]`, its axes then taken in another order, `T(1,0)`."""
    shape = _numbers(source)
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return numbers.transpose(_numbers(order)) if order else numbers


def _named(axes: str, order: Sequence[str | None], over: str) -> np.ndarray:
    """Groups of `'a'=4,'b'=2` over `'b'`; a part of an axis is `'b':(1)2`: how much of it stands
    before the part, and its size."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    source, turned = order
    numbers = _ordered(source or str(math.prod(sizes.values())), turned)
    names, shape = [], []
    parts = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", over)
    for name, size in sizes.items():
        before, part = next(((int(b), int(p)) for n, b, p in parts if n == name and p), (1, size))
        names += [(name, "before"), (name, "part"), (name, "after")]
        shape += [before, part, size // (before * part)]
    chosen = [names.index((name, "part")) for name, *_ in parts]
    others = [place for place in range(len(names)) if place not in chosen]
    group = math.prod(shape[place] for place in chosen)
    return numbers.reshape(shape).transpose(others + chosen).reshape(-1, group)
