"""A config and a topology in, all that is known of its training step out."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from sat_jax.config.plan import Plan
from sat_jax.grid import SAMPLE_RATE
from sat_jax.plan.collectives import Collective, Total, collectives_of, totals
from sat_jax.plan.fit import Change, changes, largest_batch
from sat_jax.plan.hlo import read_program
from sat_jax.plan.program import Program, compile_step
from sat_jax.plan.roofline import Part, Step, Work, parts_of, route_of, step_of, utilisation
from sat_jax.plan.topology import Topology, coordinates, devices_of, has_compiler
from sat_jax.plan.traffic import least_traffic, traffic_of


class Run(NamedTuple):
    """What a run takes, at the step time without any collective hidden."""

    step: Step
    utilisation: float
    """Of the peak, without what `model.remat` computes again."""
    speech: float
    """Hours of speech per hour, if every utterance fills the longest bucket."""
    hours: float
    """For all steps."""
    chip_hours: float
    cost: float
    """0 without a price."""


class Planned(NamedTuple):
    """A step that was compiled, and what follows for a run."""

    config: Plan
    topology: Topology
    compiler: bool
    """Whether the chips' own compiler was used, or XLA's CPU compiler stood in for it."""
    program: Program
    totals: tuple[Total, ...]
    collectives: tuple[Collective, ...]
    endless: tuple[str, ...]
    """Loops that were counted once, as the program does not say how often they run."""
    traffic: dict[str, int]
    """Bytes of each part over HBM: of the program, or the least where a compiler stands in."""
    parts: tuple[Part, ...]
    """Empty for a CPU, which has no published peak, and where the step does not fit."""
    run: Run | None
    fits: bool
    changes: tuple[Change, ...]
    """What to change where it does not fit."""
    most: int
    """Utterances per step that would fit as well, 0 where it is not known."""


def plan(config: Plan, topology: Topology, say: Callable[[str], None]) -> Planned:
    """Compile the step for the topology and work out the rest; `say` hears what takes long, and
    where `batches.size` had to be raised."""
    devices = devices_of(topology)
    given = config.batches.size
    config = shared_evenly(config, len(devices))
    if config.batches.size > given:
        say(
            f"batches.size {given} cannot be shared evenly by {len(devices)} devices: planned with "
            f"--batches.size {config.batches.size}"
        )
    program = compile_step(config, devices, say)
    chip, mesh, memory = topology.chip, program.mesh, program.memory
    fits = bool(program.text) and (chip is None or memory.total <= chip.memory)
    found, each, cures, most = [], [], [], 0
    endless: tuple[str, ...] = ()
    if program.text:
        hlo = read_program(program.text)
        found, endless = collectives_of(hlo, dict(mesh.shape)), hlo.endless
    rows = program.size // (mesh.shape["data"] * mesh.shape["fsdp"])
    if has_compiler(topology) and program.text:
        traffic = traffic_of(hlo)
    else:
        sizes = (rows, program.positions, memory.state, memory.batch)
        traffic = least_traffic(config.model, *sizes)
    if chip is not None:
        room = int(chip.memory)
        if not fits:
            cures = changes(config, memory, room, program.positions, rows)
        most = program.size // rows * largest_batch(memory, room, rows)
    parts: list[Part] = []
    if chip is not None and program.text:
        places = coordinates(topology, list(mesh.devices.flat))
        each = [(one, route_of(one, chip, places, topology.shape)) for one in found]
        maps = program.map_flops + program.again_maps
        rest = program.flops + program.again - maps
        work = Work(rest / mesh.size, maps / mesh.size, traffic)
        parts = parts_of(work, chip, config.model.compute_dtype, each)
    return Planned(
        config=config,
        topology=topology,
        compiler=has_compiler(topology),
        program=program,
        totals=tuple(totals(found)),
        collectives=tuple(found),
        endless=endless,
        traffic=traffic,
        parts=tuple(parts),
        run=run_of(config, program, chip, parts) if parts else None,
        fits=fits,
        changes=tuple(cures),
        most=most,
    )


def shared_evenly(config: Plan, devices: int) -> Plan:
    """The plan with the least `batches.size`, at or over its own, of which every device gets as
    many utterances in every part."""
    share = max(devices // config.mesh.model, 1) * config.batches.parts
    size = -(-config.batches.size // share) * share
    return dataclasses.replace(config, batches=dataclasses.replace(config.batches, size=size))


def run_of(config: Plan, program: Program, chip: Any, parts: list[Part]) -> Run:
    """What all steps of a run take."""
    step, devices = step_of(parts), program.mesh.size
    peak = chip.bfloat16 if config.model.compute_dtype == "bfloat16" else chip.float32
    hours = (config.loop.steps - config.loop.first) * step.slow / 3600
    heard = program.size * program.samples / SAMPLE_RATE
    return Run(
        step=step,
        utilisation=utilisation(program.flops, step.slow, devices, peak),
        speech=heard / step.slow,
        hours=hours,
        chip_hours=hours * devices,
        cost=hours * devices * config.price,
    )
