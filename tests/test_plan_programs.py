"""What is read from compiled programs, against programs whose collectives and bytes are known."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from sat_jax.config import Model
from sat_jax.plan.collectives import collectives_of, groups_of, totals
from sat_jax.plan.hlo import read_program
from sat_jax.plan.traffic import PARTS, least_traffic, part_of, traffic_of

MESH = {"data": 2, "fsdp": 2, "model": 2}
AXES = tuple(MESH)


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


@pytest.mark.parametrize(
    ("where", "part"),
    [
        ("jit(step)/jvp(M)/encoder/layer_0/layer_0.attend/attention.contexts/attention.mix/exp", 0),
        ("jit(step)/transpose(jvp(M))/encoder/layer_0/layer_0.merge/ffn_in/dot_general", 1),
        ("jit(step)/jvp()/reduce_sum", 1),
        ("", 1),
        ("jit(step)/features/shard_map/jit(fft)", 2),
        ("jit(step)/while/body/features/mul", 2),
        ("jit(step)/jvp(RawAudio.embed_features)/input/dot_general", 1),
        ("jit(step)/add", 3),
    ],
)
def test_bytes_belong_to_the_part_that_moves_them(where, part):
    assert part_of(where) == PARTS[part]


def test_the_least_traffic_is_a_few_arrays_for_each_product_and_map():
    model = Model(layers=2, heads=3, width=6, ffn=10, compute_dtype="bfloat16")
    found = least_traffic(model, rows=5, positions=7, state=900, batch=11)
    assert found == {
        # Forward and twice backward, written and read, two maps of 4 bytes per head and layer.
        "attention": 3 * 2 * 2 * 4 * 5 * 2 * 3 * 7 * 7,
        "layers": 3 * 2 * 2 * 5 * 7 * 2 * (8 * 6 + 2 * 10),
        "features": 22,
        "optimiser": 2 * 900 + 300,
    }
