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


def changes(config: Config, memory: Memory, room: int, positions: int, rows: int) -> list[Change]:
    """Single changes after which a step of `rows` utterances per device fits into `room` bytes,
    or, where no single one is enough, all of them together.

    In the order of what they change: first those after which a step learns the same.
    """
    found = single(config, memory, room, positions, rows)
    fitting = [change for change in found if change.needed <= room]
    if fitting or not found:
        return fitting
    every = {change.flags.split()[0]: change.flags for change in found}
    return [Change(" ".join(every.values()), min(c.needed for c in found))]


def single(config: Config, memory: Memory, room: int, positions: int, rows: int) -> list[Change]:
    """Every change that is left to make, as far as it has to go, enough or not."""
    model, parts = config.model, config.batches.parts
    copies = config.batches.size // rows
    rest = memory.arguments + memory.code
    found = []
    if rows > parts:
        more = [n for n in range(parts + 1, rows + 1) if rows % n == 0]
        needs = [rest + memory.temporary * parts // n for n in more]
        place = next((i for i, need in enumerate(needs) if need <= room), len(more) - 1)
        found.append(Change(f"--batches.parts {more[place]}", needs[place]))
    # What is kept of every layer and position: its input, and what its kernels give.
    kept = {"maps": 6 * model.width + model.ffn, "layers": model.width}
    for again in ("maps", "layers")[("none", "maps", "layers").index(model.remat) :]:
        numbers = model.layers * (rows // parts) * positions * kept[again]
        temporary = min(memory.temporary, memory.temporary // model.layers + 4 * numbers)
        found.append(Change(f"--model.remat {again}", rest + temporary))
    fsdp, most = config.mesh.fsdp, copies
    if fsdp < most:
        more = [n for n in range(fsdp + 1, most + 1) if most % n == 0]
        needs = [memory.total - memory.state + memory.state * fsdp // n for n in more]
        place = next((i for i, need in enumerate(needs) if need <= room), len(more) - 1)
        found.append(Change(f"--mesh.fsdp {more[place]}", needs[place]))
    if model.compute_dtype == "float32":
        temporary = round(memory.temporary * NARROW)
        found.append(Change("--model.compute-dtype bfloat16", rest + temporary))
    fewer = max(largest_batch(memory, room, rows) // parts * parts, parts)
    if fewer < rows:
        needed = rest + memory.temporary * fewer // rows
        found.append(Change(f"--batches.size {fewer * copies}", needed))
    return found


def largest_batch(memory: Memory, room: int, rows: int) -> int:
    """Most utterances of a device that fit, of what `rows` of them need; 0 if not one does."""
    free = room - memory.arguments - memory.code
    return max(int(free * rows / max(memory.temporary, 1)), 0)
