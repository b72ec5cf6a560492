"""What goes wrong in a cluster, and what is left: stopped, preempted, killed, resumed elsewhere."""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from scripts import ENVIRONMENT, PIPES, command, losses, python, records
from two_processes import ROOT, start

pytestmark = pytest.mark.pods
KILLS = int(os.environ.get("SAT_JAX_KILLS", "5"))
SHORT = ["--loop.steps", "40", "--loop.valid-every", "40", "--loop.checkpoint-every", "10"]
ENDLESS = ["--loop.steps", "100000", "--loop.checkpoint-every", "100000"]


@pytest.fixture(scope="module")
def data(tiny_run):
    return tiny_run.data


def wait_for_step(run, step, seconds=150):
    """Until a run has logged that step."""
    deadline = time.monotonic() + seconds
    path = run / "metrics.jsonl"
    while not (path.exists() and f'"step": {step},' in path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def of_watched(process):
    """The process that a watching one has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    return int(listed.stdout.split()[0])


@pytest.mark.parametrize("which", ["watching", "watched"])
def test_a_peer_that_hangs_is_named_and_all_end(data, tmp_path, which):
    """Whoever stops a process stops the one that he started, which watches that which trains."""
    run = tmp_path / "hung"
    two = start(command(run, data, *ENDLESS)[1:], **PIPES)
    wait_for_step(run, 5)
    hung = two[1].pid if which == "watching" else of_watched(two[1])
    os.kill(hung, signal.SIGSTOP)
    began = time.monotonic()
    try:
        _, said = two[0].communicate(timeout=60)
        assert time.monotonic() - began < 60
        assert two[0].returncode == 1
        assert said.splitlines()[-1].startswith("error: process 1 of this run ended or did not")
        if which == "watched":  # nobody has to wake it up
            assert two[1].wait(timeout=60) == 1
    finally:
        if two[1].poll() is None:
            os.kill(hung, signal.SIGCONT)
    assert two[1].wait(timeout=60) != 0


def test_a_preempted_host_ends_all_after_one_step_is_saved(data, tmp_path):
    run = tmp_path / "preempted"
    two = start(command(run, data, *ENDLESS)[1:], **PIPES)
    wait_for_step(run, 5)
    two[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=90)[1] for process in two]
    assert [process.returncode for process in two] == [143, 143], said
    saved = max(int(step.name) for step in (run / "ckpt").iterdir())
    assert f"SIGTERM: saved step {saved}" in said[0]
    assert saved >= 5
    assert records(run)[-1]["step"] == saved


def test_a_run_goes_on_with_another_number_of_hosts(data, tmp_path):
    """Killed in two processes, it ends in one, with the numbers of a run that never stopped."""
    run, straight = tmp_path / "two", tmp_path / "one"
    two = start(command(run, data, *SHORT)[1:], **PIPES)
    wait_for_step(run, 15)
    for process in two:
        os.kill(of_watched(process), signal.SIGKILL)
    for process in two:
        process.communicate(timeout=60)
        assert process.returncode != 0
    result = python(*command(run, data, *SHORT))
    assert result.returncode == 0, result.stderr
    assert "going on from step 10 of 40" in result.stdout
    assert python(*command(straight, data, *SHORT)).returncode == 0
    for ours, theirs in zip(losses(run), losses(straight), strict=True):
        for name in {"loss", "smooth_loss", "valid_loss", "learning_rate"} & theirs.keys():
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), (name, theirs["step"])


def test_killed_at_random_moments_it_ends_with_the_same_bits(tiny_run, data, tmp_path):
    """So many times at a moment drawn anew, or as soon as a checkpoint is being written."""
    run, draw = tmp_path / "killed", random.Random(0)
    killed = 0
    while killed < KILLS:
        while_saving = draw.random() < 0.3
        delay = draw.uniform(0.5, 14.0)
        before = {p.name for p in (run / "ckpt").glob("*")}
        with subprocess.Popen(
            command(run, data), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL
        ) as process:
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < delay:
                names = {p.name for p in (run / "ckpt").glob("*")}
                if while_saving and any("tmp" in name for name in names - before):
                    break
                time.sleep(0.002)
            process.kill()
            ended = process.wait(timeout=60)
        assert ended in (0, -signal.SIGKILL)
        killed += 1
        if ended == 0:  # it came to its end: another one is killed from the start
            assert losses(run) == losses(tiny_run.path)
            shutil.rmtree(run)
    result = python(*command(run, data))
    assert result.returncode == 0, result.stderr
    assert losses(run) == losses(tiny_run.path)


def test_a_data_file_that_vanished_is_named(data, tmp_path):
    moved = shutil.copytree(data, tmp_path / "data")
    (shard,) = moved.rglob("*array_record*")
    shard.unlink()
    result = python(*command(tmp_path / "run", moved))
    assert result.returncode == 2
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert f"{shard.name}): put the file back, or delete this directory" in said
