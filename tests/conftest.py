"""Eight virtual CPU devices for every test, set before anything imports jax."""

import os
import tempfile

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
# Tests compile far more than they compute.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# The scripts that tests start compile the same programs again and again: they share them here.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    shared_programs = tempfile.TemporaryDirectory(prefix="sat_jax_tests_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = shared_programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

# Helper modules that assert show the values as tests do.
pytest.register_assert_rewrite("legible", "phone_tables")
