"""Environment in, the same program started once more with a better one out. Imports no jax.

Three things have to be settled before a process imports jax, or even before it starts. On a CPU,
XLA leaves softmax, normalisation and other element-wise work on one thread; one virtual device per
core and data parallelism put all cores to work. glibc's allocator hands XLA's temporaries back to
the system after every step, which costs page faults; these settings keep them. And what was
compiled once is kept on disk, so that the same command starts faster the next time.
"""

import glob
import hashlib
import importlib.util
import os
import platform
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
ACCELERATORS = (
    "/dev/nvidia[0-9]*",
    "/dev/dxg",
    "/dev/kfd",
    "/dev/accel[0-9]*",
    "/dev/vfio/[0-9]*",
)
"""Device files of GPUs and TPUs; a container may hold any one of several."""


def runs_on_cpu(environ: Mapping[str, str]) -> bool:
    """Whether jax will find nothing but the CPU, judged without importing it."""
    platforms = environ.get("JAX_PLATFORMS", "")
    if platforms:
        return platforms == "cpu"
    return not any(glob.glob(device) for device in ACCELERATORS)


def launch_environment(environ: Mapping[str, str], cores: int) -> dict[str, str]:
    """What has to be added to `environ` on a CPU; settings that the user made are kept."""
    if not runs_on_cpu(environ):
        return {}
    added = {name: value for name, value in ALLOCATOR.items() if name not in environ}
    flags = environ.get("XLA_FLAGS", "")
    if DEVICE_COUNT not in flags:
        added["XLA_FLAGS"] = f"{flags} {DEVICE_COUNT}={cores}".strip()
    if "JAX_PLATFORMS" not in environ and importlib.util.find_spec("libtpu"):
        # jax would start libtpu, which plan.py compiles with, and libtpu print that it has no TPU.
        added["JAX_PLATFORMS"] = "cpu"
    return added


def cache_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Where compiled programs are kept, one directory per kind of processor; the user's own wins.

    A program compiled for one processor may not run on another that shares the home directory.
    """
    if "JAX_COMPILATION_CACHE_DIR" in environ:
        return {}
    home = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return {
        "JAX_COMPILATION_CACHE_DIR": str(Path(home) / "sat_jax" / processor()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }


def processor() -> str:
    """A name for the instructions that this machine's processor knows."""
    try:
        known = Path("/proc/cpuinfo").read_text()
    except OSError:
        known = platform.processor()
    lines = {line for line in known.splitlines() if line.startswith(("flags", "Features", "model"))}
    text = platform.machine() + "".join(sorted(lines))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def relaunch() -> None:
    """Replace this process by itself in the environment it needs; does nothing if it is in it."""
    os.environ.update(cache_environment(os.environ))
    added = launch_environment(os.environ, usable_cores())
    if added:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **added})
