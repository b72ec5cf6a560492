"""What is said when a process of a run is lost: the runtime's own words, as recorded."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sat_jax.cluster import cluster_of
from sat_jax.config import Distributed
from sat_jax.peers import cure, lost, number_of, relay, wait_for_verdict

FATAL = (
    "F1127 15:01:07.416429    6920 client.h:80] Terminating process because the JAX distributed "
    "service detected fatal errors.\n\nRPC: /xla.coordination.CoordinationService/PollForError\n"
    "*** Check failure stack trace: ***\n"
    "    @     0x7fda95640634  absl::lts_20260107::log_internal::LogMessage::SendToLog()\n"
)
SILENT = (
    "E1127 15:01:07.415738    6909 coordination_service.cc:1549] [2362] Use error polling to "
    "propagate the following error to all tasks: UNAVAILABLE: The following tasks are unhealthy "
    "(stopped sending heartbeats):\n1\n3\nThe tasks have crashed. Check the task logs.\n" + FATAL
)
LEADERLESS = (
    "W1127 15:24:41.015253   24090 preemption_sync_manager.cc:147] Failed to retrieve preemption "
    "notice from coordination service: UNAVAILABLE: Socket closed\n" + FATAL
)


@pytest.mark.parametrize(
    ("words", "own", "who"),
    [
        (SILENT, 2, "process 1, 3 of this run ended or did not answer for 20 s, its own output"),
        (SILENT, None, "process 1, 3 of this run"),
        (SILENT, 3, "this process did not answer for 20 s, and the others gave it up"),
        (LEADERLESS, 1, "process 0 of this run ended or did not answer"),
        (LEADERLESS, 0, "process 0 of this run ended or did not answer"),
    ],
)
def test_a_lost_process_is_named(words, own, who):
    out = io.StringIO()
    kept = relay([*"a warning\n".splitlines(True), *words.splitlines(True)], out)
    assert out.getvalue() == "a warning\n"
    assert kept == words
    said = lost(kept, own)
    assert said.startswith(who)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("environ", "number"),
    [
        ({"MASTER_ADDR": "host", "WORLD_SIZE": "4", "RANK": "3"}, 3),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "MASTER_ADDR": "host"}, 2),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, None),
    ],
)
def test_a_process_knows_its_number_where_the_launcher_says_it(environ, number):
    assert number_of(cluster_of(Distributed(), environ)) == number


def test_the_step_to_go_on_from_is_said_where_it_is_known(tmp_path):
    again = "start the same command again for every process"
    assert cure(None) == again
    assert cure(tmp_path) == f"{again}, and the run goes on from its newest checkpoint"
    for step in (0, 25, 50):
        (tmp_path / str(step)).mkdir()
    assert cure(tmp_path) == f"{again}, and the run goes on from step 50"


def test_errors_that_no_other_process_caused_are_not_waited_for():
    began = time.monotonic()
    wait_for_verdict(RuntimeError("Gloo all-reduce failed: Connection reset by peer"))
    assert time.monotonic() - began < 1  # nobody watches this process


WATCHED = (
    "import sys, os, time; from sat_jax import peers; from sat_jax.config import Distributed;"
    "from pathlib import Path;"
    "peers.watch(Distributed(coordinator='host:1'), Path(sys.argv[1]));"
)


def watched(code, *arguments, **more):
    return subprocess.Popen(
        [sys.executable, "-c", WATCHED + code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("print('out'); print('err', file=sys.stderr)", 0, "err\n"),
        ("print('out'); sys.exit(7)", 7, ""),
        ("print('out', flush=True); os.kill(os.getpid(), 9)", 137, "by SIGKILL"),
        (
            f"print('out', flush=True); sys.stderr.write({SILENT!r}); sys.stderr.flush();"
            "os.abort()",
            1,
            "error: process 1, 3 of this run",
        ),
        (f"print('out'); sys.stderr.write({LEADERLESS!r})", 0, LEADERLESS),
    ],
)
def test_a_watched_process_speaks_and_ends_as_it_would_alone(tmp_path, code, status, error):
    process = watched(code, str(tmp_path))
    out, err = process.communicate(timeout=30)
    assert out == "out\n"
    assert process.returncode == status
    assert error in err
    assert "Check failure" not in err or not status


def test_signals_reach_the_watched_process_and_it_never_outlives_its_watcher(tmp_path):
    process = watched("print(os.getpid(), flush=True); time.sleep(60)", str(tmp_path))
    assert int(process.stdout.readline()) != process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
    process = watched("print(os.getpid(), flush=True); time.sleep(60)", str(tmp_path))
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while _alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_process_is_not_watched(tmp_path):
    code = (
        "import os; from sat_jax import peers; from sat_jax.config import Distributed;"
        "before = os.getpid(); peers.watch(Distributed()); print(os.getpid() == before)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "True\n"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states are read from /proc")
def test_a_watched_process_stops_and_goes_on_with_the_one_that_watches(tmp_path):
    code = "\nwhile True: print(os.getpid(), flush=True); time.sleep(0.01)"
    process = watched(code, str(tmp_path))
    try:
        child = int(process.stdout.readline())
        for _ in range(2):
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: state_of(child) == "T")
            process.send_signal(signal.SIGCONT)
            wait_until(lambda: state_of(child) != "T")
            time.sleep(1.5)  # it looks again
            assert state_of(child) != "T"
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: state_of(child) == "T")
    finally:
        process.kill()
    wait_until(lambda: not Path(f"/proc/{child}").exists())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states are read from /proc")
def test_a_watched_process_that_is_stopped_alone_is_ended_when_others_give_it_up(tmp_path):
    (tmp_path / "50").mkdir()
    short = "import os; from sat_jax import peers; peers.SILENCE, peers.LOOK = 2, 0.1;"
    code = "print(os.getpid(), flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", short + WATCHED + code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        child = int(process.stdout.readline())
        for _ in range(3):  # shorter stops, together longer than that, do nothing
            os.kill(child, signal.SIGSTOP)
            time.sleep(0.7)
            os.kill(child, signal.SIGCONT)
            time.sleep(0.3)
        assert process.poll() is None
        os.kill(child, signal.SIGSTOP)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 1
    assert said.startswith("error: this process was stopped for 2 s, and the others gave it up; ")
    assert said.endswith("the run goes on from step 50\n")
    assert not Path(f"/proc/{child}").exists()


def state_of(process):
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
