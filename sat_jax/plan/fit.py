"""What a step needs and what a chip has in, the smallest changes after which it fits out.

Estimates from one compiled program, to be made certain by planning again with the change: state
shrinks with `mesh.fsdp`, temporaries with the utterances of a device and by what is kept per layer.
"""

from typing import NamedTuple

from sat_jax.config import Config
from sat_jax.plan.program import Memory

NARROW = 0.6
"""Temporaries of bfloat16 products over those of float32: softmax and normalisation stay."""


class Change(NamedTuple):
    """Flags, and the bytes that a device then needs."""

    flags: str
    needed: int


def changes(
    config: Config, memory: Memory, room: int, positions: int, devices: int
) -> list[Change]:
    """Single changes after which a step fits into `room` bytes per device, then all of them.

    In the order of what they cost: nothing is learned differently after the first ones.
    """
    found = single(config, memory, room, positions, devices)
    fitting = [change for change in found if change.needed <= room]
    if fitting or not found:
        return fitting
    together = " ".join(change.flags for change in found if "--batches" not in change.flags)
    return [Change(f"{together} and a smaller --batches.size".strip(), room)]


def single(config: Config, memory: Memory, room: int, positions: int, devices: int) -> list[Change]:
    """Every change that is left to make, whether it is enough or not."""
    model, mesh = config.model, config.mesh
    rest = memory.arguments + memory.code
    found = []
    each = config.batches.size * mesh.model // devices
    if not model.remat:
        kept = model.layers * each * positions * model.width * 4
        temporary = min(memory.temporary, memory.temporary // model.layers + kept)
        found.append(Change("--model.remat", rest + temporary))
    if model.compute_dtype == "float32":
        temporary = round(memory.temporary * NARROW)
        found.append(Change("--model.compute-dtype bfloat16", rest + temporary))
    fsdp = mesh.fsdp
    while devices % (2 * fsdp * mesh.model) == 0:
        fsdp *= 2
        needed = memory.total - memory.state + memory.state * mesh.fsdp // fsdp
        if needed <= room or devices % (2 * fsdp * mesh.model):
            found.append(Change(f"--mesh.fsdp {fsdp}", needed))
            break
    fewer = largest_batch(memory, room, each)
    if 0 < fewer < each:
        size = fewer * devices // mesh.model
        needed = rest + memory.temporary * fewer // each
        found.append(Change(f"--batches.size {size}", needed))
    return found


def largest_batch(memory: Memory, room: int, each: int) -> int:
    """Most utterances of a device that fit, of what `each` of them need; 0 if not one does."""
    free = room - memory.arguments - memory.code
    return max(int(free * each / max(memory.temporary, 1)), 0)
