"""What the scripts need before jax is imported, and what a user's settings keep."""

import os
import subprocess
import sys

from sat_jax.launch import ALLOCATOR, DEVICE_COUNT, launch_environment, runs_on_cpu


def test_a_cpu_gets_one_device_per_core_and_the_allocator_settings():
    added = launch_environment({"JAX_PLATFORMS": "cpu"}, cores=6)
    assert added["XLA_FLAGS"] == f"{DEVICE_COUNT}=6"
    assert {name: added[name] for name in ALLOCATOR} == ALLOCATOR


def test_what_the_user_set_is_kept():
    mine = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{DEVICE_COUNT}=3", "MALLOC_ARENA_MAX": "2"}
    added = launch_environment(mine, cores=6)
    assert "XLA_FLAGS" not in added
    assert "MALLOC_ARENA_MAX" not in added
    other = launch_environment({"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_dump_to=x"}, cores=2)
    assert other["XLA_FLAGS"] == f"--xla_dump_to=x {DEVICE_COUNT}=2"


def test_the_environment_is_complete_after_one_launch():
    mine = {"JAX_PLATFORMS": "cpu"}
    again = {**mine, **launch_environment(mine, cores=2)}
    assert launch_environment(again, cores=2) == {}


def test_accelerators_are_left_alone():
    assert not runs_on_cpu({"JAX_PLATFORMS": "cuda"})
    assert launch_environment({"JAX_PLATFORMS": "tpu,cpu"}, cores=4) == {}


def test_relaunch_keeps_the_arguments():
    code = (
        "import sys; from sat_jax.launch import relaunch; relaunch(); import os;"
        "print(os.environ['XLA_FLAGS'], os.environ['MALLOC_ARENA_MAX'], sys.argv[1:])"
    )
    clean = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    result = subprocess.run(
        [sys.executable, "-c", code, "one", "two words"],
        env={**clean, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith(f"{DEVICE_COUNT}=")
    assert result.stdout.strip().endswith("1 ['one', 'two words']")
