"""What is known of a training step on a topology in, the page for a terminal and for JSON out."""

from typing import Any

from sat_jax.plan.chips import GIB
from sat_jax.plan.collectives import Total
from sat_jax.plan.planned import Planned
from sat_jax.plan.roofline import (
    HOP,
    LINK_SHARE,
    MAP_SHARE,
    MEMORY_SHARE,
    PRODUCT_SHARE,
)

MIB = 2**20
STANDS_IN = (
    "  state, FLOPs and which collectives there are hold for both; temporaries are a CPU's, about",
    "  twice those of a TPU; bfloat16 is reduced as float32; bytes over HBM are the least that a",
    "  step can move",
)


def report(plan: Planned) -> str:
    """All sections, each under its title."""
    parts = [what_was_compiled(plan), memory(plan)]
    if plan.program.text:
        parts += [communication(plan), work(plan)]
    if plan.run is not None:
        parts += [run(plan), assumptions(plan)]
    return "\n\n".join(parts)


def what_was_compiled(plan: Planned) -> str:
    """Mesh, batch, sizes, and by which compiler."""
    program, config, topology = plan.program, plan.config, plan.topology
    shape = " x ".join(f"{name} {size}" for name, size in program.mesh.shape.items())
    each = program.size // (program.mesh.shape["data"] * program.mesh.shape["fsdp"])
    if plan.compiler:
        how = f"compiled for {topology.name} by libtpu"
    elif topology.chip is None:
        how = "compiled for CPU devices"
    else:
        how = f"compiled by XLA's CPU compiler, which stands in for that of {topology.chip.name},"
    return "\n".join(
        [
            f"mesh: {shape} = {program.mesh.size} devices of {topology.name}",
            f"batch: {program.size} utterances ({each} per device), {program.frames} frames "
            f"= {program.positions} positions each, {config.model.compute_dtype}",
            f"model: {program.parameters:,} parameters",
            f"program: {how} in {program.seconds:.0f} s",
            *(STANDS_IN if not plan.compiler and topology.chip else ()),
        ]
    )


def memory(plan: Planned) -> str:
    """Bytes per device against what the chip has, and what to change."""
    found, chip = plan.program.memory, plan.topology.chip
    rows = [
        ("state (parameters and optimiser)", found.state),
        ("batch", found.batch),
        ("padding of both", found.arguments - found.state - found.batch),
        ("temporaries of a step", found.temporary),
        ("program", found.code),
        ("together", found.total),
    ]
    lines = ["memory per device", *(f"  {name:34}{size / MIB:>12,.1f} MiB" for name, size in rows)]
    if chip is None:
        return "\n".join(lines)
    share = found.total / chip.memory
    lines.append(f"  {f'{chip.name} has':34}{chip.memory / MIB:>12,.1f} MiB: {share:.0%} is used")
    if plan.fits:
        if plan.most > plan.program.size:
            lines.append(f"  it fits; by these numbers --batches.size {plan.most} would as well")
        return "\n".join(lines)
    lines.append("  it does not fit; by these numbers (plan again to be certain) it does with")
    for change in plan.changes:
        lines.append(f"    {change.flags}: {change.needed / GIB:.1f} GiB")
    if not plan.changes:
        lines.append("    nothing but more devices or a smaller model")
    return "\n".join(lines)


def communication(plan: Planned) -> str:
    """Collectives of a step by kind and mesh axes."""
    lines = ["collectives per step and device"]
    if not plan.totals:
        return "\n".join([*lines, "  none"])
    lines.append(f"  {'kind':20}{'over':22}{'times':>7}{'sends':>16}")
    for total in plan.totals:
        lines.append(
            f"  {total.kind:20}{over(total):22}{total.count:>7}{total.wire / MIB:>12,.3f} MiB"
        )
    if plan.endless:
        lines.append(f"  loops counted once, their turns are not known: {len(plan.endless)}")
    return "\n".join(lines)


def over(total: Total) -> str:
    """The axes of a collective, and whether it carries only numbers."""
    return "+".join(total.axes) + (" (numbers)" if total.small else "")


def work(plan: Planned) -> str:
    """FLOPs and, where a chip is known, seconds of each part at its peak."""
    program = plan.program
    again = f", and {program.again / 1e12:.2f} that remat computes again" if program.again else ""
    maps = program.map_flops / program.flops
    lines = [
        f"FLOPs per step: {program.flops / 1e12:.2f} T in matrix products, {maps:.0%} of them for "
        f"attention maps{again}"
    ]
    if not plan.parts:
        return "\n".join(lines)
    lines += ["", f"  {'part of a step':30}{'products':>11}{'bytes':>11}  bound by"]
    for part in plan.parts:
        times = f"{part.computing * 1e3:>8.3f} ms{part.moving * 1e3:>8.3f} ms"
        lines.append(f"  {part.name:30}{times}  {part.bound}")
    return "\n".join(lines)


def run(plan: Planned) -> str:
    """Step time, utilisation, and what all steps take."""
    found, steps = plan.run, plan.config.loop.steps - plan.config.loop.first
    step = found.step
    lines = [
        f"step: {step.slow * 1e3:.2f} ms, MFU {found.utilisation:.0%}; collectives are "
        f"{step.collectives / step.slow:.0%} of it, and if they all hid behind computation it were "
        f"{step.fast * 1e3:.2f} ms",
        f"speech: {found.speech:,.0f} h per hour, if every utterance fills the longest bucket",
        f"{steps:,} steps: {found.hours:,.1f} h, {found.chip_hours:,.0f} chip-hours",
    ]
    if plan.config.price:
        lines[-1] += f", cost {found.cost:,.0f} at {plan.config.price:g} per chip-hour"
    return "\n".join(lines)


def assumptions(plan: Planned) -> str:
    """What is assumed beyond the vendor's numbers and the compiled program."""
    where = (
        "One slice, so no collective leaves its links."
        if plan.topology.chip.torus
        else "Groups within a host use NVLink; rings leave it through the adapters of all its GPUs."
    )
    return (
        f"assumed: matrix products reach {PRODUCT_SHARE:.0%} of the peak and attention maps "
        f"{MAP_SHARE:.0%}, HBM {MEMORY_SHARE:.0%} of its bandwidth and links {LINK_SHARE:.0%}, "
        f"{HOP * 1e6:.0f} us per hop; products and bytes of one part go on at the same time, parts "
        f"one after the other; data is never waited for. {where}"
    )


def as_json(plan: Planned) -> dict[str, Any]:
    """Everything in the report, by its names; bytes, seconds and hours."""
    program, found = plan.program, plan.run
    return {
        "topology": plan.topology.name,
        "compiler": "libtpu" if plan.compiler else "cpu",
        "mesh": dict(program.mesh.shape),
        "batch": program.size,
        "frames": program.frames,
        "positions": program.positions,
        "parameters": program.parameters,
        "compile_seconds": program.seconds,
        "memory": program.memory._asdict() | {"total": program.memory.total, "fits": plan.fits},
        "changes": [change._asdict() for change in plan.changes],
        "collectives": [total._asdict() for total in plan.totals],
        "flops": program.flops,
        "map_flops": program.map_flops,
        "recomputed_flops": program.again,
        "traffic": plan.traffic,
        "parts": [part._asdict() | {"bound": part.bound} for part in plan.parts],
        "run": None
        if found is None
        else {
            "step_seconds": found.step.slow,
            "step_seconds_hidden": found.step.fast,
            "collective_seconds": found.step.collectives,
            "utilisation": found.utilisation,
            "speech_hours_per_hour": found.speech,
            "hours": found.hours,
            "chip_hours": found.chip_hours,
            "cost": found.cost,
        },
    }
