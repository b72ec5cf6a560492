"""Plans: what is read from compiled programs against closed forms, the collectives of our step."""

import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from sat_jax.config import Batches, Features, Loop, MaskedReconstruction, Mesh, Model, Plan
from sat_jax.errors import InputError
from sat_jax.plan.chips import CHIPS, GB
from sat_jax.plan.collectives import Collective, collectives_of, groups_of, totals
from sat_jax.plan.fit import changes, largest_batch
from sat_jax.plan.hlo import read_program
from sat_jax.plan.planned import plan
from sat_jax.plan.program import Memory, temporaries_of
from sat_jax.plan.report import as_json, report
from sat_jax.plan.roofline import (
    HOP,
    LINK_SHARE,
    MAP_SHARE,
    MEMORY_SHARE,
    PRODUCT_SHARE,
    Route,
    Work,
    parts_of,
    route_of,
    seconds_of,
    step_of,
    utilisation,
)
from sat_jax.plan.topology import coordinates, environment, topology_named
from sat_jax.plan.traffic import traffic_of

MESH = {"data": 2, "fsdp": 2, "model": 2}
AXES = tuple(MESH)


# --- Programs whose collectives are known ---------------------------------------------------------


def program_of(function, shape, spec, out):
    """`function` of one device's part of a float32 array, compiled for the mesh (2, 2, 2)."""
    devices = jax.make_mesh((2, 2, 2), AXES, axis_types=(AxisType.Auto,) * 3)
    mapped = jax.shard_map(function, mesh=devices, in_specs=spec, out_specs=out, check_vma=False)
    argument = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(devices, spec))
    return read_program(jax.jit(mapped).lower(argument).compile().as_text())


def swap(x):
    return jax.lax.ppermute(x, "data", [(0, 1), (1, 0)])


def looped(x):
    def body(x, _):
        return jnp.sin(jax.lax.psum(x, "model")), None

    return jax.lax.scan(body, x, None, length=5)[0]


# A device holds 512 numbers of 4 bytes; groups are of two devices but where two axes are named.
CASES = {
    "sum": (lambda x: jax.lax.psum(x, "fsdp"), "all-reduce", ("fsdp",), 2048, 1),
    "sum over two axes": (
        *(lambda x: jax.lax.psum(x, ("data", "model")), "all-reduce"),
        *(("data", "model"), 2048, 1),
    ),
    "gather": (
        *(lambda x: jax.lax.all_gather(x, "model", tiled=True), "all-gather"),
        *(("model",), 4096, 1),
    ),
    "scatter": (
        *(lambda x: jax.lax.psum_scatter(x, "data", tiled=True), "reduce-scatter"),
        *(("data",), 2048, 1),
    ),
    "exchange": (
        *(lambda x: jax.lax.all_to_all(x.reshape(2, -1), "fsdp", 0, 0), "all-to-all"),
        *(("fsdp",), 2048, 1),
    ),
    "permute": (swap, "collective-permute", ("data",), 2048, 1),
    "in a loop": (looped, "all-reduce", ("model",), 2048, 5),
}


@pytest.mark.parametrize("name", CASES)
def test_collectives_of_a_program_are_those_that_were_written(name):
    function, kind, axes, payload, times = CASES[name]
    program = program_of(function, (4096,), P(AXES), P())
    (found,) = collectives_of(program, MESH)
    assert (found.kind, found.axes, found.payload, found.times) == (kind, axes, payload, times)
    size = 4 if len(axes) == 2 else 2
    share = {"all-reduce": 2 * (size - 1) / size, "collective-permute": 1}
    assert found.wire == payload * share.get(kind, (size - 1) / size)
    assert not program.endless


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("replica_groups={{0,2},{1,3}}", [[0, 2], [1, 3]]),
        ("replica_groups=[2,2]<=[4]", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0), dimensions={0}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}, x={'b'}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a','b'}", [[0, 1, 2, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(1)2}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(2)2}", [[0, 1], [2, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}", [[0, 1], [2, 3]]),
        ("source_target_pairs={{0,1},{1,0}}", [[0, 1], [1, 0]]),
        ("replica_groups={}", [[0, 1, 2, 3]]),
    ],
)
def test_groups_are_read_in_every_way_that_xla_writes_them(text, expected):
    found = groups_of(text, {"data": 2, "fsdp": 2})
    assert sorted(map(sorted, found.tolist())) == sorted(map(sorted, expected))


# As XLA:TPU writes it: a reduction fused with the slice that is kept, a gather cut into two pieces
# with one channel, a loop without its number of turns beside it, arrays that lie on the chip.
TPU = """
%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%all-reduce-scatter.1 (whole: f32[64]) -> f32[16] {
  %whole = f32[64]{0:T(128)S(1)} parameter(0)
  %reduced = f32[64]{0} all-reduce(%whole), channel_id=1, GROUPS, to_apply=%add
  %start = s32[] constant(0)
  ROOT %kept = f32[16]{0} dynamic-slice(%reduced, %start), dynamic_slice_sizes={16}
}

%first (part: f32[16]) -> f32[64] {
  %part = f32[16]{0:T(128)} parameter(0)
  ROOT %g = f32[64]{0} all-gather(%part), channel_id=2, GROUPS, dimensions={0}, CHAIN
}

%second (part: f32[16]) -> f32[64] {
  %part = f32[16]{0:T(128)} parameter(0)
  ROOT %g = f32[64]{0} all-gather(%part), channel_id=2, GROUPS, dimensions={0}, CHAIN
}

%body (carried: (s32[], f32[16])) -> (s32[], f32[16]) {
  %carried = (s32[]{:T(128)}, f32[16]{0:T(128)}) parameter(0)
  %turn = s32[] get-tuple-element(%carried), index=0
  %part = f32[16]{0} get-tuple-element(%carried), index=1
  %one = f32[64]{0:T(128)S(1)} fusion(%part), kind=kCustom, calls=%first
  %two = f32[64]{0:T(128)S(1)} fusion(%part), kind=kCustom, calls=%second
  %less = f32[16]{0} fusion(%two), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %next = (s32[], f32[16]) tuple(%turn, %less)
}

%condition (carried: (s32[], f32[16])) -> pred[] {
  %carried = (s32[], f32[16]) parameter(0)
  %turns = s32[] constant(12)
  %turn = s32[] get-tuple-element(%carried), index=0
  ROOT %more = pred[] compare(%turn, %turns), direction=LT
}

ENTRY %main (a: f32[16]) -> f32[16] {
  %a = f32[16]{0} parameter(0)
  %zero = s32[] constant(0)
  %begin = (s32[], f32[16]) tuple(%zero, %a)
  %loop = (s32[], f32[16]) while(%begin), condition=%condition, body=%body
  ROOT %end = f32[16]{0} get-tuple-element(%loop), index=1
}
""".replace("GROUPS", "replica_groups=[2,4]<=[8]").replace(
    "CHAIN", 'frontend_attributes={chain_id="0"}'
)


def test_what_a_tpu_compiler_fuses_and_cuts_is_counted_once_per_turn():
    program = read_program(TPU)
    mesh = {"data": 2, "fsdp": 4, "model": 1}
    rows = {
        (row.kind, row.axes): (row.count, row.wire) for row in totals(collectives_of(program, mesh))
    }
    assert rows == {
        ("all-gather", ("fsdp",)): (12, 12 * 0.75 * 256),
        ("reduce-scatter", ("fsdp",)): (12, 12 * 0.75 * 256),
    }
    # Read by the two gathers, and the slice that is kept: 64 bytes each; the rest is on the chip.
    assert sum(traffic_of(program).values()) == 12 * 3 * 64


def test_a_loop_that_says_nothing_is_counted_once_and_named():
    program = read_program(TPU.replace("constant(12)", "parameter(1)"))
    assert program.endless == ("loop",)
    assert {each.times for each in collectives_of(program, {"data": 2, "fsdp": 4})} == {1}


def test_traffic_of_a_slice_is_the_slice():
    def rows(table):
        return jax.lax.scan(lambda total, row: (total + jnp.sin(row), None), table[0], table)[0]

    shape = jax.ShapeDtypeStruct((64, 1024), jnp.float32)
    program = read_program(jax.jit(rows).lower(shape).compile().as_text())
    moved = sum(traffic_of(program).values())
    # A row and the sum in, the sum out, with at most two copies between; never the table per turn.
    assert 64 * 3 * 4096 <= moved < 64 * 8 * 4096


# --- The roofline ---------------------------------------------------------------------------------


def reduction(kind="all-reduce", group=(0, 1), payload=10**9, times=1):
    return Collective(kind, ("data",), np.array([group]), payload, times, "")


def test_parts_take_the_longer_of_products_and_bytes():
    chip = CHIPS["v5e"]
    work = Work(
        flops=chip.bfloat16 * PRODUCT_SHARE,
        map_flops=chip.bfloat16 * MAP_SHARE,
        traffic={
            "layers": int(chip.bandwidth * MEMORY_SHARE / 2),
            "attention": int(chip.bandwidth * MEMORY_SHARE * 3),
            "features": 0,
            "optimiser": int(chip.bandwidth * MEMORY_SHARE / 4),
        },
    )
    parts = parts_of(work, chip, "bfloat16", [(reduction(), Route(1e9, 1))])
    seconds = {part.name: (part.seconds, part.bound) for part in parts}
    assert seconds["matrix products, element-wise"] == (pytest.approx(1), "matrix unit")
    assert seconds["attention maps"] == (pytest.approx(3), "HBM")
    assert seconds["optimiser, norm"] == (pytest.approx(0.25), "HBM")
    # Two devices send an array once in all to reduce it.
    links = 1 / LINK_SHARE + 2 * HOP
    assert seconds["collectives"] == (pytest.approx(links), "links")
    step = step_of(parts)
    assert step.slow == pytest.approx(4.25 + links)
    assert step.fast == pytest.approx(4.25)
    assert utilisation(chip.bfloat16, 2.0, 1, chip.bfloat16) == 0.5


def test_a_group_uses_the_links_of_every_axis_it_spreads_over():
    chip = CHIPS["v5e"]
    shape = (4, 16)
    places = coordinates(
        topology_named("v5e:4x16"), [type("Device", (), {"id": n})() for n in range(64)]
    )
    assert places[17] == (1, 1)
    along_open, along_closed = reduction(group=(0, 16, 32, 48)), reduction(group=range(16))
    # Four chips in a row are open, one way; sixteen are a ring, both ways; all use all three.
    assert route_of(along_open, chip, places, shape) == (50 * GB, 3)
    assert route_of(along_closed, chip, places, shape) == (100 * GB, 8)
    assert route_of(reduction(group=range(4)), chip, places, shape) == (50 * GB, 3)
    assert route_of(reduction(group=range(64)), chip, places, shape) == (150 * GB, 11)
    gather = reduction("all-gather", range(16), 16 * 10**9)
    seconds = 15 / (100 * LINK_SHARE) + 8 * HOP
    assert seconds_of(gather, Route(100 * GB, 8)) == pytest.approx(seconds)


def test_gpus_use_nvlink_within_a_host_and_the_network_beyond():
    chip = CHIPS["h100"]
    places = coordinates(
        topology_named("h100:16"), [type("Device", (), {"id": n})() for n in range(16)]
    )
    assert route_of(reduction(group=range(8)), chip, places, (16,)) == (450 * GB, 3)
    assert route_of(reduction(group=(0, 8)), chip, places, (16,)) == (50 * GB, 1)


# --- Our own step ---------------------------------------------------------------------------------

CONFIG = Plan(
    features=Features(mels=8),
    model=Model(layers=1, heads=4, width=16, ffn=32),
    objective=MaskedReconstruction(position_offset=5),
    batches=Batches(size=8, max_frames=36),
    loop=Loop(steps=1000),
    price=2.0,
)
# Numbers of the kernels of one layer, and of those outside: input, dense, output.
LAYER = {"streams": 16 * 48, "out": 16 * 16, "ffn_in": 16 * 32, "ffn_out": 32 * 16}
OUTSIDE = {"input": 24 * 16, "dense": 16 * 16, "output": 16 * 24}
KERNELS = sum(LAYER.values()) + sum(OUTSIDE.values())


@functools.cache
def planned(data, fsdp, model):
    config = dataclasses.replace(CONFIG, mesh=Mesh(data, fsdp, model))
    return plan(config, topology_named("h100:8"), lambda message: None)


def counted(found):
    """Collectives by kind, axes and whether they are small: how often, and bytes of arrays."""
    rows = {}
    for each in found.collectives:
        key = (each.kind, each.axes, each.small)
        count, payload = rows.get(key, (0, 0))
        rows[key] = count + each.times, payload + each.times * each.payload
    return rows


# Two numbers are summed before the gradient (how many positions and how many frames are masked),
# the loss and its baseline beside it.
NUMBERS = 4 * 4


def test_data_parallel_reduces_gradients_once_and_a_few_numbers():
    found = planned(8, 1, 1)
    rows = counted(found)
    assert {kind: count for kind, (count, _) in rows.items()} == {
        ("all-reduce", ("data",), False): 1,
        ("all-reduce", ("data",), True): 1,
    }
    assert reduced(rows) == 4 * found.program.parameters + NUMBERS


def test_fsdp_gathers_each_kernel_and_reduces_its_gradient():
    found = planned(1, 8, 1)
    rows = counted(found)
    assert {(kind, axes) for kind, axes, _ in rows} == {
        ("all-gather", ("fsdp",)),
        ("all-reduce", ("fsdp",)),
    }
    assert rows["all-gather", ("fsdp",), False] == (7, 4 * KERNELS)
    assert ("all-gather", ("fsdp",), True) not in rows
    # XLA's CPU compiler reduces whole gradients and slices, where a TPU's scatters them. The norm
    # of all gradients takes one more number for each of the seven that are in pieces; without
    # optimisation it is computed twice, to be said and to be clipped by.
    assert reduced(rows) == 4 * found.program.parameters + NUMBERS + 2 * 4 * 7


def reduced(rows):
    """Bytes of all arrays and numbers that are reduced."""
    return sum(payload for (kind, *_), (_, payload) in rows.items() if kind == "all-reduce")


def test_a_layer_on_two_devices_adds_four_reductions_of_activations():
    found = planned(2, 2, 2)
    rows = counted(found)
    # Sums of products that are split: two forward, two for their gradients, of (2, 12, 16). The
    # gradient of the layer's input is the last one, as nothing before it is trained by width.
    states = 2 * 12 * 16 * 4
    count, payload = rows["all-reduce", ("model",), False]
    assert payload == count * states
    assert count == 4
    halves = 4 * (sum(LAYER.values()) // 2 + sum(OUTSIDE.values()))
    gathered = [rows[key] for key in rows if key[0] == "all-gather"]
    assert [axes for kind, axes, small in rows if kind == "all-gather"] == [("fsdp",)]
    assert gathered[0][1] >= halves
    assert ("all-to-all", ("model",), False) not in rows
    # Idle halves of `model` share the gradients of the three kernels outside, and swap them.
    assert rows["collective-permute", ("fsdp", "model"), False][0] == 3


def test_state_on_a_device_falls_as_kernels_are_shared():
    whole, shared = planned(8, 1, 1), planned(1, 8, 1)
    # AdamW keeps two numbers for each parameter; three counters of steps and two running means.
    parameters = whole.program.parameters
    assert whole.program.memory.state == 4 * (3 * parameters + 3 + 2)
    spared = KERNELS - KERNELS // 8
    assert whole.program.memory.state - shared.program.memory.state == 4 * 3 * spared


def test_flops_are_three_forward_passes_of_products():
    program = planned(8, 1, 1).program
    positions, width = 12, 16
    maps = 4 * positions**2 * width
    forward = 2 * positions * KERNELS + maps
    assert program.positions == positions
    assert program.flops == 3 * 8 * forward
    assert program.map_flops == 3 * 8 * maps


# --- What is said ---------------------------------------------------------------------------------


def test_the_report_says_what_was_compiled_and_what_a_run_takes():
    found = planned(8, 1, 1)
    text = report(found)
    assert "mesh: data 8 x fsdp 1 x model 1 = 8 devices of h100:8" in text
    assert "XLA's CPU compiler, which stands in for that of h100, in" in text
    assert "it fits" in text
    hours = 1000 * found.run.step.slow / 3600
    assert found.run.chip_hours == pytest.approx(8 * hours)
    assert found.run.cost == pytest.approx(16 * hours)
    assert f"matrix products reach {PRODUCT_SHARE:.0%} of the peak" in text
    heard = 8 * (400 + 35 * 160) / 16000
    assert found.run.speech == pytest.approx(heard / found.run.step.slow)
    values = json.loads(json.dumps(as_json(found)))
    assert values["run"]["cost"] == found.run.cost
    assert values["memory"]["total"] == found.program.memory.total


def test_a_step_that_does_not_fit_comes_with_the_changes_after_which_it_does():
    config = dataclasses.replace(
        CONFIG,
        model=Model(layers=12, width=768),
        batches=Batches(size=64, max_frames=1500),
        mesh=Mesh(data=4, fsdp=2),
    )
    memory = Memory(state=600, batch=0, arguments=600, temporary=2400, code=0)
    gib = 2**20
    scaled = Memory(*(size * gib for size in memory))
    found = changes(config, scaled, 2100 * gib, 500, 8)
    kept = 12 * 8 * 500 * 768 * 4
    assert [(change.flags, change.needed) for change in found] == [
        ("--model.remat", 600 * gib + 200 * gib + kept),
        ("--model.compute-dtype bfloat16", 600 * gib + 1440 * gib),
        ("--batches.size 40", 600 * gib + 1500 * gib),
    ]
    assert largest_batch(scaled, 2100 * gib, 8) == 5
    (last,) = changes(config, scaled, 650 * gib, 500, 8)
    assert last.flags.startswith("--model.remat --model.compute-dtype bfloat16 --mesh.fsdp 8")


def test_the_compilers_message_gives_what_is_missing():
    message = (
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory "
        "required for HLO temporaries (48.00G) exceeds available HBM (15.75G)."
    )
    assert temporaries_of(message) == 48 * 2**30
    assert temporaries_of("INTERNAL: something else") == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5e", "give a chip and a shape"),
        ("v5e:4x", "give a chip and a shape"),
        ("v9z:4x4", "give one of v4, v5e"),
        ("v5p:4x4", "v5p stand in 3 axes"),
    ],
)
def test_topologies_that_there_cannot_be_are_one_line(name, message):
    with pytest.raises(InputError, match=message):
        topology_named(name)


def test_a_topology_says_what_the_environment_has_to_hold():
    topology = topology_named("h100:64")
    assert (topology.devices, topology.chip.name) == (64, "h100")
    added = environment(topology, {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"})
    assert added["XLA_FLAGS"].endswith("--xla_force_host_platform_device_count=64")
    assert math.prod(topology_named("v5p:4x4x8").shape) == 128
