"""A run of several processes: when one is lost, the others say so in one sentence. Imports no jax.

Where a process of the cluster dies or falls silent, jax's runtime ends the others from inside, with
pages of C++, and nothing in the process can keep it from that. So each process is started by a
watching one, which passes on what it says, keeps back that text and says in its place who was lost
and where to go on. A process that answers but whose disk does not is found by `stalls`.
"""

import contextlib
import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from sat_jax.checkpoint_files import saved_steps
from sat_jax.cluster import Cluster, cluster_of
from sat_jax.config import Distributed

# Seconds after which a process that sends no sign of life is given up.
SILENCE = 20

# Seconds between two looks at the watching process.
LOOK = 1.0

# The reading end of a pipe that closes when the watching process ends.
LEASH = "SAT_JAX_WATCHED"

_PR_SET_PDEATHSIG = 1

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

# Where jax's runtime begins to speak of a lost process, and how errors of collectives name one.
_RUNTIME = re.compile(
    r"[EFW]\d{4} [\d:.]+ +\d+ (coordination_service|client\.h|preemption_sync_manager)"
)
_LOST = re.compile(r"detected fatal errors|tasks are unhealthy")
_TASKS = re.compile(r"unhealthy \(stopped sending heartbeats\):\n((?:.*\b\d+\n)+)")
_COLLECTIVE = re.compile(
    r"gloo|nccl|connection (reset|closed|refused)|socket closed|unavailable|deadline.exceeded|"
    r"coordination|heartbeat|barrier",
    re.IGNORECASE,
)


def watch(settings: Distributed, directory: Path | None = None) -> None:
    """In a run of several processes, start this command once more and watch it.

    Returns at once in a run of one process, and in the process that is watched; the watching one
    ends with the status of the other. `directory` holds the checkpoints to go on from.
    """
    if LEASH in os.environ:
        _end_with(int(os.environ.pop(LEASH)))
    elif (cluster := cluster_of(settings, os.environ)) is not None:
        sys.exit(_watch(directory, number_of(cluster)))


def number_of(cluster: Cluster) -> int | None:
    """Which process this is; None where jax finds that by itself: TPU slices, Kubernetes."""
    told = cluster.processes and (cluster.coordinator or cluster.method)
    return cluster.process if told else None


def _watch(directory: Path | None, own: int | None) -> int:
    ours, theirs = os.pipe()
    watched = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, LEASH: str(ours)},
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=(ours,),
        # Signals of a terminal reach it through this process only, and so once.
        start_new_session=True,
    )
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: watched.send_signal(number))
    signal.signal(signal.SIGCONT, lambda *_: _go_on(watched))
    os.close(ours)
    ended: list[int] = []
    threading.Thread(target=_end_stopped, args=(watched, ended), daemon=True).start()
    kept = relay(watched.stderr, sys.stderr)
    status = watched.wait()
    if status and (ended or _LOST.search(kept)):
        stopped = f"this process was stopped for {SILENCE} s, and the others gave it up"
        said = stopped if ended else lost(kept, own)
        print(f"error: {said}; {cure(directory)}", file=sys.stderr, flush=True)
        return 1
    sys.stderr.write(kept)
    if status < 0:
        name = signal.Signals(-status).name
        print(f"error: this process was ended by {name}", file=sys.stderr, flush=True)
        return 128 - status
    return status


def _end_stopped(watched: subprocess.Popen, ended: list[int]) -> None:
    """End the watched process where it alone was stopped, when the others give it up.

    It would hold its devices, and nobody would see why.
    """
    # A signal that this thread took would not wake the main one, which waits for a line.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    looks = 0
    while looks * LOOK < SILENCE:
        time.sleep(LOOK)
        looks = looks + 1 if _is_stopped(watched.pid) else 0
    ended.append(watched.pid)
    watched.kill()


def _go_on(watched: subprocess.Popen) -> None:
    """This process was stopped and goes on, and so does the watched one, see `_end_with`."""
    watched.send_signal(signal.SIGCONT)
    # It may have been about to stop.
    again = threading.Timer(2 * LOOK, watched.send_signal, (signal.SIGCONT,))
    again.daemon = True
    again.start()


def relay(lines: Iterable[str], out: TextIO) -> str:
    """Pass lines on until jax's runtime speaks of a lost process; the rest is returned."""
    kept: list[str] = []
    for line in lines:
        if kept or _RUNTIME.match(line):
            kept.append(line)
        else:
            # Who reads our errors may be gone; the run does not depend on it.
            with contextlib.suppress(OSError):
                out.write(line)
                out.flush()
    return "".join(kept)


def lost(runtime: str, own: int | None = None) -> str:
    """Who was lost, from the words of jax's runtime to process `own`.

    The runtime lists processes that fell silent. Where it has no list, the one that keeps it,
    process 0, is lost itself.
    """
    listed = _TASKS.search(runtime)
    numbers = re.findall(r"(\d+)\n", listed.group(1)) if listed else ["0"]
    if listed and str(own) in numbers:
        return f"this process did not answer for {SILENCE} s, and the others gave it up"
    who = f"process {', '.join(dict.fromkeys(numbers))} of this run"
    return f"{who} ended or did not answer for {SILENCE} s, its own output says why"


def cure(directory: Path | None) -> str:
    """What to do when a process is lost, and where the run goes on then."""
    again = "start the same command again for every process"
    if directory is None:
        return again
    # On a disk that only process 0 sees, this one knows of no step.
    steps = saved_steps(directory)
    where = f"step {max(steps)}" if steps else "its newest checkpoint"
    return f"{again}, and the run goes on from {where}"


def wait_for_verdict(error: Exception) -> None:
    """Where another process may be the reason of `error`, give jax's runtime time to end this one.

    It knows who was lost, which the error of a collective does not say.
    """
    if _watched and _COLLECTIVE.search(str(error)):
        time.sleep(2 * SILENCE)


_watched: list[int] = []


def _end_with(leash: int) -> None:
    """End this process as soon as the watching one does, in whatever way, and stop with it.

    Who stops a run (Ctrl-Z, SIGSTOP) sees the watching process only.
    """
    os.set_inheritable(leash, False)
    _watched.append(leash)
    # While it is stopped, only the kernel can end it. Not every system has this.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def follow() -> None:
        while not select.select([leash], [], [], LOOK)[0]:
            if _is_stopped(os.getppid()):
                os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _is_stopped(process: int) -> bool:
    """Whether a signal has stopped a process; False on systems that have no /proc."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    # The name before the state, in brackets, may hold anything.
    return stat.rpartition(")")[2].split()[0] == "T"
