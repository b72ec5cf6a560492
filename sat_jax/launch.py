"""Environment in, the same program started once more with a better one out. Imports no jax.

Two things have to be settled before a process imports jax, or even before it starts. On a CPU, XLA
leaves softmax, normalisation and other element-wise work on one thread; one virtual device per core
and data parallelism put all cores to work. And glibc's allocator hands XLA's temporaries back to
the system after every step, which costs page faults; these settings keep them.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**29),
    "MALLOC_ARENA_MAX": "1",
}
DEVICE_COUNT = "--xla_force_host_platform_device_count"
ACCELERATORS = ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0", "/dev/kfd")


def runs_on_cpu(environ: Mapping[str, str]) -> bool:
    """Whether jax will find nothing but the CPU, judged without importing it."""
    platforms = environ.get("JAX_PLATFORMS", "")
    if platforms:
        return platforms == "cpu"
    return not any(Path(device).exists() for device in ACCELERATORS)


def launch_environment(environ: Mapping[str, str], cores: int) -> dict[str, str]:
    """What has to be added to `environ` on a CPU; settings that the user made are kept."""
    if not runs_on_cpu(environ):
        return {}
    added = {name: value for name, value in ALLOCATOR.items() if name not in environ}
    flags = environ.get("XLA_FLAGS", "")
    if DEVICE_COUNT not in flags:
        added["XLA_FLAGS"] = f"{flags} {DEVICE_COUNT}={cores}".strip()
    return added


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def relaunch() -> None:
    """Replace this process by itself in the environment it needs; does nothing if it is in it."""
    added = launch_environment(os.environ, usable_cores())
    if added:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **added})
