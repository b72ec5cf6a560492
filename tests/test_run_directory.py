"""One training in a run's directory, said by those that come second; files that appear whole."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
from full_disk import files_up_to

from sat_jax import run_directory
from sat_jax.errors import InputError, writing

HOLD = (
    "import sys, time; from pathlib import Path; from sat_jax import run_directory;"
    "assert run_directory.take(Path(sys.argv[1]), print) is None; print('held', flush=True);"
    "time.sleep(60)"
)


def test_the_second_hears_who_trains_and_a_killed_one_lets_go(tmp_path):
    run = tmp_path / "runs" / "new"
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"new: process {holder.pid} on .*, since 2\d\d\d-"):
            run_directory.take(run, print)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    # What it wrote is still there, and holds nobody up.
    assert str(holder.pid) in (run / run_directory.LOCK).read_text()
    assert run_directory.take(run, print) is None
    assert str(os.getpid()) in (run / run_directory.LOCK).read_text()


def test_a_directory_that_cannot_be_written_is_an_error_to_raise_later(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    error = run_directory.take(tmp_path / "file" / "run", print)
    assert "a part of this path is a file" in str(error)

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    assert "the file system is read-only" in str(run_directory.take(tmp_path, print))


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    said = []
    assert run_directory.take(tmp_path, said.append) is None
    assert "has no locks" in said[0]


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "config.json"
    run_directory.write_whole(path, "old")
    with files_up_to(1000), pytest.raises(InputError, match="not grow any more: raise the limit"):
        run_directory.write_whole(path, "new" * 1000)
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "metrics.jsonl: the disk is full: free some space; .* same command goes on"),
        (errno.EROFS, "metrics.jsonl: the file system is read-only: .* another --run-dir"),
    ],
)
def test_errors_of_the_disk_name_the_path_and_the_cure(number, said):
    with pytest.raises(InputError, match=said), writing("run/metrics.jsonl"):
        raise OSError(number, os.strerror(number))
    with pytest.raises(OSError, match="Bad file"), writing("run/metrics.jsonl"):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
