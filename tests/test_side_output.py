"""Output that training never waits for: terminals that pause, pipes that close, disks that fill."""

import fcntl
import os
import subprocess
import sys
import threading
import time

from sat_jax.pretrain import log, side_output, terminal

RECORDS = 300


def test_writes_happen_in_order_and_all_of_them():
    done = []
    output = side_output.open_side_output(lambda error: None)
    for number in range(100):
        side_output.put(output, lambda number=number: done.append(number))
    assert side_output.close(output, 5)
    assert done == list(range(100))


def test_a_write_that_hangs_holds_nobody_up():
    release = threading.Event()
    output = side_output.open_side_output(lambda error: None)
    side_output.put(output, release.wait)
    began = time.monotonic()
    for _ in range(side_output.MOST + 10):
        side_output.put(output, lambda: None)
    assert not side_output.close(output, 0.1)
    assert time.monotonic() - began < 5
    release.set()


def test_a_write_that_fails_is_said_once_and_the_rest_is_dropped():
    failures, done = [], []

    def full():
        raise OSError(28, "No space left on device")

    output = side_output.open_side_output(failures.append)
    for write in (full, full, lambda: done.append(1)):
        side_output.put(output, write)
    assert side_output.close(output, 5)
    assert [error.errno for error in failures] == [28]
    assert done == []


def test_event_files_that_cannot_be_written_cost_no_metrics(tmp_path):
    (tmp_path / "tensorboard").write_text("a file where the directory should be")
    said = []
    sinks = log.open_sinks(tmp_path, 0, said.append)
    for step in range(1, RECORDS):
        log.write_metrics(sinks, step, {"loss": 1.0, "rate": 0.5})
    log.close_sinks(sinks)
    assert len(log.read_metrics(tmp_path / "metrics.jsonl")) == RECORDS - 1
    assert len(said) == 1
    assert "tensorboard: " in said[0]
    assert "metrics.jsonl has the same numbers" in said[0]


TALK = (
    "from sat_jax.pretrain import terminal, side_output; import sys, time;"
    "from sat_jax.command_line import stop;"
    "side_output.PATIENCE = terminal.PATIENCE = 0.5\n"
    "with terminal.open_terminal() as screen:\n"
    "    began = time.monotonic()\n"
    "    for _ in range(3000): terminal.say(screen, 'x' * 100)\n"
    "    print(time.monotonic() - began < 2, file=sys.stderr, flush=True)\n"
)


def test_a_pipe_that_nobody_reads_does_not_hold_a_run_up():
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    result = subprocess.run(
        [sys.executable, "-c", TALK], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert result.returncode == 0
    assert result.stderr == "True\n"
    os.close(reading)
    os.close(writing)


def test_a_reader_that_leaves_does_not_end_a_run():
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-c", TALK], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "True\n")
    os.close(writing)


def test_what_was_said_comes_before_the_end(capsys):
    with terminal.open_terminal() as screen:
        terminal.say(screen, "first")
        terminal.say(screen, "last")
    assert capsys.readouterr().out == "first\nlast\n"
