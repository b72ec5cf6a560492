"""The text of a compiled XLA program in, its instructions out, and how often a step runs each."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

BITS = {"pred": 8, "token": 0, "opaque": 0}
"""Types whose name has no width in it; of all others it is the number in the name."""
_SHAPE = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)$")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|branch_computations)=\{?([^}\s]*)")
_NAME = re.compile(r"%([\w.-]+)")


class Array(NamedTuple):
    """One array that an instruction makes."""

    bytes: int
    fast: bool
    """It lies on the chip, not in HBM: memory space 1 of a TPU."""


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    op: str
    arrays: tuple[Array, ...]
    """What it makes; of a tuple all parts."""
    operands: tuple[str, ...]
    """Names in the same computation."""
    attributes: str
    """What stands behind the operands, and for a constant or parameter the text between them."""
    where: str
    """Which of our functions it comes from."""
    root: bool

    @property
    def bytes(self) -> int:
        """Of all that it makes."""
        return sum(array.bytes for array in self.arrays)


Computation = dict[str, Instruction]


class Program(NamedTuple):
    """Computations by their names."""

    computations: dict[str, Computation]
    entry: str
    times: dict[str, int]
    """How often a step runs each computation that it reaches."""
    fused: frozenset[str]
    """Those inside of fusions, whose arrays are never in memory."""
    endless: tuple[str, ...]
    """Loops whose number of turns the text does not tell; counted once."""

    def run(self) -> Iterator[tuple[Instruction, Computation, int]]:
        """Every instruction that a step reaches, its computation and how often."""
        for name, times in self.times.items():
            computation = self.computations[name]
            for instruction in computation.values():
                yield instruction, computation, times


def read_program(text: str) -> Program:
    """Read what `compiled.as_text()` gives."""
    computations, entry = {}, ""
    current: Computation = {}
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
        elif found := _LINE.match(line):
            current[found[2]] = _instruction(found)
    times: dict[str, int] = defaultdict(int)
    fused: set[str] = set()
    endless: list[str] = []

    def visit(name: str, count: int) -> None:
        times[name] += count
        for each in computations[name].values():
            # What was started is only waited for.
            if each.op in ("async-update", "async-done"):
                continue
            for role, called in callees(each):
                if called not in computations or role == "condition":
                    continue
                turns = 1
                if role == "body":
                    turns = trip_count(each, computations)
                    if not turns:
                        endless.append(each.name)
                if each.op == "fusion" or name in fused:
                    fused.add(called)
                if role != "to_apply" or each.op == "call":
                    visit(called, count * max(turns, 1))

    visit(entry, 1)
    return Program(computations, entry, dict(times), frozenset(fused), tuple(endless))


def arrays_of(shapes: str) -> tuple[Array, ...]:
    """All arrays of a type as it is written, `(f32[8,4]{1,0:T(8,128)S(1)}, s32[])`."""
    found = []
    for kind, sizes, layout in _SHAPE.findall(shapes):
        width = re.search(r"\d+", kind)
        bits = BITS[kind] if kind in BITS else int(width[0]) if width else 0
        for size in filter(None, sizes.split(",")):
            bits *= int(size)
        found.append(Array(-(-bits // 8), "S(1)" in layout))
    return tuple(found)


def callees(instruction: Instruction) -> Iterator[tuple[str, str]]:
    """Role and name of every computation that an instruction calls."""
    for role, names in _CALLED.findall(instruction.attributes):
        for name in names.split(","):
            if name:
                yield role, name.strip().lstrip("%")


def trip_count(loop: Instruction, computations: dict[str, Computation]) -> int:
    """How often the body of a `while` runs; 0 where the text does not say.

    XLA writes it beside the loop, or else it is the one whole number that the condition compares
    with, as a scan counts from 0.
    """
    if known := re.search(r'known_trip_count"?[:=]\{"?n"?[:=]"?(\d+)', loop.attributes):
        return int(known[1])
    condition = next((name for role, name in callees(loop) if role == "condition"), "")
    numbers = [
        int(each.attributes)
        for each in computations.get(condition, {}).values()
        if each.op == "constant" and each.attributes.isdecimal()
    ]
    return numbers[0] if len(numbers) == 1 else 0


def _instruction(found: re.Match[str]) -> Instruction:
    root, name, shapes, op, rest = found.groups()
    depth, end = 1, len(rest)
    for place, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            end = place
            break
    inside, after = rest[:end], rest[end + 1 :]
    where = re.search(r'op_name="([^"]*)"', after)
    plain = op in ("constant", "parameter")
    return Instruction(
        name,
        op,
        arrays_of(shapes),
        () if plain else tuple(_NAME.findall(inside)),
        inside if plain else after,
        where[1] if where else "",
        bool(root),
    )
