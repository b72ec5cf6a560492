"""States that travel between processes: gathered on the first one, dealt to all, bit by bit."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from scripts import PIPES
from two_processes import start

from sat_jax import exchange, mesh
from sat_jax.config import Distributed, Mesh
from sat_jax.errors import InputError

SPECS = {"split": P("fsdp", "data"), "rows": P(("data", "fsdp")), "whole": P(), "few": P()}


def arrays():
    """Numbers that a sum with zeros, or another type, would change."""
    drawn = np.random.default_rng(0)
    odd = np.array([-0.0, np.nan, np.inf, -np.inf, 1e-45, 0.0, 1.0, 2.0], np.float32)
    return {
        "split": drawn.normal(size=(4, 8)).astype(np.float32),
        "rows": odd,
        "whole": np.asarray(jnp.array(drawn.normal(size=(3, 500)), jnp.bfloat16)),
        "few": np.array(7, np.int32),
    }


def devices():
    return mesh.build_mesh(Mesh(fsdp=2), jax.device_count())


def abstract(of):
    grid = devices()
    return {
        name: jax.ShapeDtypeStruct(
            each.shape, each.dtype, sharding=jax.sharding.NamedSharding(grid, SPECS[name])
        )
        for name, each in of.items()
    }


def same(one, other):
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def check_travel():
    """What every process does; asserts on each of them."""
    expected, leads = arrays(), jax.process_index() == 0
    placed = exchange.dealt(expected if leads else None, abstract(expected))
    for name, array in placed.items():
        assert array.sharding.spec == SPECS[name]
        for shard in array.addressable_shards:
            part = np.ascontiguousarray(expected[name][shard.index])
            assert same(np.asarray(shard.data), part), name
    back = exchange.gathered(placed)
    assert (back is not None) == leads
    for name in expected if leads else ():
        assert same(back[name], expected[name]), name
    assert exchange.sent(np.zeros((0, 3)) if leads else None, (0, 3), np.float64).shape == (0, 3)
    assert exchange.from_leader(lambda: "x" * 5000 if leads else 1 / 0) == "x" * 5000

    def refuse():
        raise InputError("of process 0")

    with pytest.raises(InputError, match="of process 0"):
        exchange.from_leader(refuse)


def main():
    """One of two processes, which `start` tells what to join."""
    coordinator, processes, process = sys.argv[2::2]
    mesh.join_cluster(
        Distributed(coordinator=coordinator, processes=int(processes), process=int(process))
    )
    assert jax.process_count() == 2
    exchange.PIECE = 1000
    check_travel()


def test_states_travel_on_the_devices_of_one_process():
    check_travel()


@pytest.mark.pods
def test_states_travel_between_processes():
    two = start(
        ["-c", f"import sys; sys.path[:0] = ['tests']; import {__name__} as t; t.main()"], **PIPES
    )
    try:
        said = [process.communicate(timeout=120) for process in two]
    finally:
        for process in two:
            process.kill()
    assert [process.returncode for process in two] == [0, 0], said
