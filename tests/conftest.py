"""Eight virtual CPU devices for every test, set before anything imports jax."""

import gc
import os
import tempfile

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
# Tests compile far more than they compute: no optimisation, kernels by the plainer of XLA's two
# generators, and all of a program in one piece halve the time of the whole suite.
FLAGS = (
    "--xla_force_host_platform_device_count=8",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
os.environ["XLA_FLAGS"] = " ".join(FLAGS)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# The scripts that tests start compile the same programs again and again: they share them here.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    shared_programs = tempfile.TemporaryDirectory(prefix="sat_jax_tests_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = shared_programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

# Tracing makes many objects that live long; looking for cycles among them more seldom saves time.
gc.set_threshold(100_000, 50, 100)

# Helper modules that assert show the values as tests do.
pytest.register_assert_rewrite("legible", "phone_tables", "scripts")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The trained run of `scripts.train_once`, one for all workers of this session."""
    from scripts import train_once

    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny"
    return train_once(directory)


@pytest.fixture
def two_machines(tmp_path, monkeypatch):
    """Two machines that share a store in the cloud, see `small_runs.machines`."""
    from small_runs import machines

    return machines(tmp_path, monkeypatch)


# The files that take longest, so that no worker is left alone with one of them at the end.
LONGEST = (
    "analyze",
    "cloud_commands",
    "third_family",
    "ablate_full",
    "end_to_end",
    "ablate_study",
    "pretrain",
)


def pytest_collection_modifyitems(items):
    """Files that take longest come first, all others in their order."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
