"""What the scripts need before jax is imported, and what a user's settings keep."""

import os
import subprocess
import sys

from sat_jax import launch
from sat_jax.launch import (
    ALLOCATOR,
    DEVICE_COUNT,
    cache_environment,
    launch_environment,
    processor,
    runs_on_cpu,
)


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


def test_any_gpu_of_several_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "ACCELERATORS", (str(tmp_path / "nvidia[0-9]*"),))
    (tmp_path / "nvidiactl").touch()
    assert runs_on_cpu({})
    (tmp_path / "nvidia3").touch()
    assert not runs_on_cpu({})


def test_libtpu_is_not_started_on_a_machine_without_a_tpu(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "ACCELERATORS", (str(tmp_path / "accel[0-9]*"),))
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    assert "JAX_PLATFORMS" not in launch_environment({}, cores=2)
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: name == "libtpu")
    added = launch_environment({}, cores=2)
    assert added["JAX_PLATFORMS"] == "cpu"
    assert launch_environment(added, cores=2) == {}
    (tmp_path / "accel2").touch()
    assert launch_environment({}, cores=2) == {}


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


def test_compiled_programs_are_kept_per_processor_unless_the_user_says_where():
    added = cache_environment({"XDG_CACHE_HOME": "/somewhere"})
    assert added["JAX_COMPILATION_CACHE_DIR"] == f"/somewhere/sat_jax/{processor()}"
    assert cache_environment({"JAX_COMPILATION_CACHE_DIR": "/mine"}) == {}


def test_a_second_start_finds_what_the_first_compiled(tmp_path):
    code = (
        "from sat_jax.launch import relaunch; relaunch(); import jax, sys;"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0);"
        "jax.config.update('jax_explain_cache_misses', True);"
        "jax.jit(lambda x: (x @ x).sum() + 0.5)(jax.numpy.ones((64, 64))).block_until_ready()"
    )
    inherited = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment = {**inherited, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(tmp_path)}
    found = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        found.append(sorted(p.name for p in tmp_path.rglob("*-cache")))
    assert found[0] and found[0] == found[1]
