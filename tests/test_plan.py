"""Plans: the roofline in closed forms, the collectives of our own step, what is said of them."""

import dataclasses
import functools
import json
import math

import numpy as np
import pytest

from sat_jax.commands.plan import parse_config
from sat_jax.config import (
    Batches,
    Config,
    Features,
    Loop,
    MaskedReconstruction,
    Mesh,
    Model,
    Muon,
    Plan,
)
from sat_jax.config.json import write_config
from sat_jax.errors import InputError
from sat_jax.plan.chips import CHIPS, GB, peak_of
from sat_jax.plan.collectives import Collective
from sat_jax.plan.fit import changes, largest_batch
from sat_jax.plan.planned import plan, shared_evenly
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


def test_a_group_uses_the_links_of_every_axis_it_spreads_over(monkeypatch):
    monkeypatch.setattr("sat_jax.plan.topology.has_compiler", lambda _: False)
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
    assert route_of(reduction(group=range(16)), chip, places, (16,)) == (400 * GB, 4)


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


# Four counts are summed before the gradient; the loss and its two baselines beside it.
NUMBERS = 4 * 7


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
    # XLA's CPU compiler reduces whole gradients and slices, where a TPU's scatters them. Norms take
    # one more number for each of the seven that are in pieces; without optimisation they are
    # computed anew for all gradients, for the groups that are said, and for the clipping.
    whole = 4 * found.program.parameters + NUMBERS
    assert whole + 4 * 7 <= reduced(rows) <= whole + 3 * 4 * 7


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
    mib = 2**20
    scaled = Memory(*(size * mib for size in memory))
    found = changes(config, scaled, 2210 * mib, positions=500, rows=8)
    kept = 12 * 8 * 500 * 768 * 4
    products = 12 * 8 * 500 * (6 * 768 + 3072) * 4
    assert [(change.flags, change.needed) for change in found] == [
        ("--batches.parts 2", 600 * mib + 1200 * mib),
        ("--model.remat maps", 600 * mib + 200 * mib + products),
        ("--model.remat layers", 600 * mib + 200 * mib + kept),
        ("--model.compute-dtype bfloat16", 600 * mib + 1440 * mib),
        ("--batches.size 40", 600 * mib + 1500 * mib),
    ]
    assert largest_batch(scaled, 2210 * mib, 8) == 5
    (last,) = changes(config, scaled, 650 * mib, positions=500, rows=8)
    assert last.flags == (
        "--batches.parts 8 --model.remat layers --mesh.fsdp 8 --model.compute-dtype bfloat16 "
        "--batches.size 8"
    )


@pytest.mark.parametrize(
    ("size", "mesh", "parts", "expected"),
    [
        (6, Mesh(), 1, 256),
        (256, Mesh(fsdp=4), 1, 256),
        (257, Mesh(), 1, 512),
        (6, Mesh(model=4), 1, 64),
        (6, Mesh(model=4), 3, 192),
    ],
)
def test_a_batch_is_raised_until_devices_share_it_evenly(size, mesh, parts, expected):
    config = Plan(mesh=mesh, batches=Batches(size=size, parts=parts))
    assert shared_evenly(config, 256) == dataclasses.replace(
        config, batches=Batches(size=expected, parts=parts)
    )


def test_the_compilers_message_gives_what_is_missing():
    message = (
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory "
        "required for HLO temporaries (48.00G) exceeds available HBM (15.75G)."
    )
    assert temporaries_of(message) == 48 * 2**30
    assert temporaries_of("INTERNAL: something else") == 0


def test_a_run_is_planned_with_its_own_settings_and_those_of_the_command_line(
    tmp_path, monkeypatch
):
    own = Config(seed=3, batches=Batches(size=24), optim=Muon(momentum=0.9))
    write_config(tmp_path / "config.json", own)
    options = ["--topology", "v6e:2x4", "--mesh.fsdp", "2", "--price", "0.5"]
    monkeypatch.setattr("sys.argv", ["plan.py", str(tmp_path), *options])
    found = parse_config()
    assert (found.topology, found.price, found.mesh) == ("v6e:2x4", 0.5, Mesh(fsdp=2))
    assert (found.seed, found.batches, found.optim) == (3, own.batches, own.optim)


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


@pytest.mark.parametrize(
    ("kind", "dtype", "peak"),
    [
        ("TPU v5 lite", "bfloat16", 197e12),
        ("TPU v5", "bfloat16", 459e12),
        ("TPU v6 lite", "bfloat16", 918e12),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA A100-SXM4-80GB", "float32", 156e12),
        ("cpu", "float32", 0.0),
    ],
)
def test_devices_of_jax_are_known_by_their_names(kind, dtype, peak):
    assert peak_of(kind, dtype) == peak
