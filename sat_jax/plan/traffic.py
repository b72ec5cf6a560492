"""A compiled program in, the bytes that a step moves to and from HBM out, by part of the step.

Every instruction outside of fusions reads its operands from memory and writes what it makes, unless
it lies on the chip (memory space 1 of a TPU). Of what is only sliced, only the slice counts.
"""

from collections import defaultdict

from sat_jax.config import Model
from sat_jax.plan.collectives import KINDS
from sat_jax.plan.hlo import Computation, Instruction, Program, callees
from sat_jax.pretrain.step import FEATURES

PARTS = ("attention", "layers", "features", "optimiser")
"""Maps, from projections to mixtures; the rest of forward and backward; before them, after them."""
NOTHING = frozenset(
    {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional"}
    | {"call", "after-all", "partition-id", "replica-id", "iota", "opt-barrier", "domain"}
)
SLICES = ("dynamic-slice", "slice", "gather")
THROUGH = ("bitcast", "reshape", "copy", "convert", "transpose")


def traffic_of(program: Program) -> dict[str, int]:
    """Bytes per step and device to and from HBM, for each of `PARTS`."""
    total: dict[str, int] = dict.fromkeys(PARTS, 0)
    for name, times in program.times.items():
        if name in program.fused:
            continue
        for each in program.computations[name].values():
            if each.op in NOTHING or each.op.endswith(("-done", "-update")):
                continue
            if each.op.removesuffix("-start") in KINDS or "AllocateBuffer" in each.attributes:
                continue
            moved = moved_by(each, program.computations[name], program)
            total[part_of(each.where)] += times * moved
    return total


def least_traffic(
    model: Model, rows: int, positions: int, state: int, batch: int
) -> dict[str, int]:
    """Bytes that a compiler which fuses well moves at least, for `rows` utterances of a device.

    For chips whose compiler is not at hand: XLA's CPU compiler moves several times as much. Every
    input and output of a product is written and read once forward and twice backward, every map
    (float32) twice as often; the optimiser reads and writes the whole state and reads gradients, a
    third of it; `batch` bytes of audio become features in one go.
    """
    width = 2 if model.compute_dtype == "bfloat16" else 4
    each = 8 * model.width + 2 * model.ffn
    maps = sum(len(heads) for heads in model.unpruned_heads) * positions**2
    return {
        "attention": 3 * 2 * 2 * 4 * rows * maps,
        "layers": 3 * 2 * width * rows * positions * each * model.layers,
        "features": 2 * batch,
        "optimiser": 2 * state + state // 3,
    }


def part_of(where: str) -> str:
    """Which of `PARTS` our function `where` belongs to.

    What is differentiated stands under `jvp`, what comes before it under `FEATURES`. What the
    compiler itself adds has no name: it fetches parameters and states of layers ahead of their use.
    """
    if f"/{FEATURES}/" in where:
        return "features"
    if "attention.mix" in where:
        return "attention"
    if not where or "jvp(" in where or "while/body" in where:
        return "layers"
    return "optimiser"


def moved_by(each: Instruction, computation: Computation, program: Program) -> int:
    """Bytes that one instruction reads and writes."""
    if each.op in SLICES:
        return 2 * slow(each)
    if each.op == "dynamic-update-slice":
        return 2 * slow(computation[each.operands[1]])
    if each.op.endswith("-start"):
        # Its parts are where it comes from, where it goes, and what it needs on the way.
        moved = min((array.bytes for array in each.arrays if array.bytes > 16), default=0)
        places = sum(not array.fast for array in each.arrays if array.bytes >= moved)
        return moved * min(places, 2)
    if each.op == "fusion":
        inside = program.computations[next(name for role, name in callees(each) if role == "calls")]
        read = sum(
            read_of(inside, number, computation[name], program)
            for number, name in enumerate(each.operands)
            if name in computation
        )
        return read + written_by(inside, each)
    return slow(each) + sum(
        slow(computation[name]) for name in each.operands if name in computation
    )


def slow(each: Instruction) -> int:
    """Bytes in HBM of what an instruction makes."""
    return sum(array.bytes for array in each.arrays if not array.fast)


def read_of(inside: Computation, number: int, operand: Instruction, program: Program) -> int:
    """Bytes of its operand `number` that a fusion reads."""
    whole = slow(operand)
    if not whole:
        return 0
    name = next(
        (p.name for p in inside.values() if p.op == "parameter" and p.attributes == str(number)), ""
    )
    return min(whole, sliced(inside, name, whole, program))


def sliced(inside: Computation, name: str, whole: int, program: Program) -> int:
    """Bytes of `name` that are looked at inside of a fusion, where it holds `whole`."""
    users: dict[str, list[Instruction]] = defaultdict(list)
    for each in inside.values():
        for operand in each.operands:
            users[operand].append(each)
    total, todo = 0, [name]
    while todo:
        now = todo.pop()
        for user in users[now]:
            if user.op in SLICES and user.operands[0] == now:
                total += user.bytes
            elif user.op == "dynamic-update-slice" and user.operands[0] == now:
                continue
            elif user.op == "fusion":
                called = next(n for role, n in callees(user) if role == "calls")
                deeper, place = program.computations[called], user.operands.index(now)
                parameter = next(
                    p.name
                    for p in deeper.values()
                    if p.op == "parameter" and p.attributes == str(place)
                )
                total += sliced(deeper, parameter, whole, program)
            elif user.op in THROUGH and not user.root:
                todo.append(user.name)
            else:
                return whole
    return total


def written_by(inside: Computation, fusion: Instruction) -> int:
    """Bytes that a fusion writes: of an array that is updated in place, only the update."""
    root = next(each for each in inside.values() if each.root)
    parts = [inside[name] for name in root.operands] if root.op == "tuple" else [root]
    if len(parts) != len(fusion.arrays):
        return slow(fusion)
    total = 0
    for part, array in zip(parts, fusion.arrays, strict=True):
        while part.op in THROUGH and part.operands and part.operands[0] in inside:
            part = inside[part.operands[0]]
        if array.fast:
            continue
        update = part.op == "dynamic-update-slice"
        total += inside[part.operands[1]].bytes if update else array.bytes
    return total
