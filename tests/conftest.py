"""Eight virtual CPU devices for every test, set before anything imports jax."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
# Tests compile far more than they compute.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
