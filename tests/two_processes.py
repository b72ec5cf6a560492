"""Start one of the scripts as several processes on this machine, as a cluster would.

python tests/two_processes.py train.py toy --run-dir runs/two
python tests/two_processes.py analyze.py runs/two

Two processes with two CPU devices each; the output of process 0 is shown.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Gloo's threads print "[Gloo] Rank 0 is connected to 1 peer ranks. ..." across each other.
GLOO = re.compile(
    r"\[Gloo\] Rank|is connected to|Expected number of connected peer ranks is|peer ranks|[\d\s:.]"
)


def on_devices(count):
    """The environment of a process with so many CPU devices; other flags stay as they are."""
    # Of a flag that is there twice, the last one counts.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags.strip()}


def start(arguments, processes=2, devices=2, **popen):
    """The started processes of `python arguments...`, joined by a coordinator on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cluster = ["--distributed.coordinator", f"127.0.0.1:{port}"]
    cluster += ["--distributed.processes", str(processes), "--distributed.process"]
    return [
        subprocess.Popen(
            [sys.executable, *arguments, *cluster, str(process)],
            cwd=ROOT,
            env=on_devices(devices),
            **popen,
        )
        for process in range(processes)
    ]


def without_gloo(said):
    """What a process said but for what Gloo's threads say, digits and blanks; lines may mix."""
    return GLOO.sub("", said)


if __name__ == "__main__":
    started = start(sys.argv[1:])
    sys.exit(max(abs(process.wait()) for process in started))
