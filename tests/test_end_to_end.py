"""train.py as a user runs it: train, interrupt, go on, on one process and on two."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from scripts import ENVIRONMENT, PIPES, STEPS, command, losses, python, records
from two_processes import ROOT, start, without_gloo

pytestmark = pytest.mark.commands


def interrupt(run, data, number, at_step):
    """Start a run and send it a signal as soon as it has logged `at_step`."""
    with subprocess.Popen(command(run, data), cwd=ROOT, env=ENVIRONMENT) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            path = run / "metrics.jsonl"
            if path.exists() and f'"step": {at_step},' in path.read_text():
                process.send_signal(number)
                break
            time.sleep(0.01)
        return process.wait(timeout=60)


@pytest.fixture(scope="module")
def data(tiny_run):
    return tiny_run.data


@pytest.fixture(scope="module")
def trained(tiny_run):
    return tiny_run.path, tiny_run.said


def test_a_run_leaves_what_it_promises(trained):
    run, said = trained
    assert {p.name for p in run.iterdir()} == {
        *("config.json", "manifest.json", "metrics.jsonl", "ckpt", "tensorboard", ".lock")
    }
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"]["fingerprint"]
    assert manifest["sessions"][0]["versions"]["jax"]
    assert len(manifest["sessions"][0]["devices"]) == 2
    assert {p.name for p in (run / "ckpt").iterdir()} == {"0", "100", str(STEPS)}
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    for fact in ("parameters", "MiB of state per device", "linear interpolation", "next: python"):
        assert fact in said
    assert "mesh: data 2 x fsdp 1 x model 1" in said
    logged = [r for r in records(run) if "loss" in r]
    assert [r["step"] for r in logged] == list(range(1, STEPS + 1))
    assert logged[-1]["smooth_loss"] < 0.9 * logged[0]["loss"]
    assert "Traceback" not in said


def test_on_a_full_disk_and_killed_it_goes_on_to_the_same_numbers(trained, data, tmp_path):
    run = tmp_path / "killed"
    # JAX warns of each program that its cache has no room for: which those are is a matter of time.
    script = 'export JAX_ENABLE_COMPILATION_CACHE=false; ulimit -f 60; exec "$@"'
    small_files = ("sh", "-c", script, "sh")
    full = python(*small_files, *command(run, data), timeout=120)
    assert full.returncode == 2
    (said,) = full.stderr.splitlines()
    assert re.search(r"error: .*/killed/\S+: a file may not grow any more: .* goes on", said)
    assert records(run)[0]["step"] == 0
    assert not list((run / "ckpt").glob("0"))
    assert interrupt(run, data, signal.SIGKILL, at_step=40) == -signal.SIGKILL
    result = python(*command(run, data))
    assert result.returncode == 0, result.stderr
    assert re.search(r"going on from step \d+ of 120", result.stdout)
    assert losses(run) == losses(trained[0])


def test_sigterm_saves_and_goes_on_to_the_same_numbers(trained, data, tmp_path):
    run = tmp_path / "terminated"
    assert interrupt(run, data, signal.SIGTERM, at_step=30) == 143
    saved = max(int(p.name) for p in (run / "ckpt").iterdir())
    assert saved >= 30
    assert saved % 25
    result = python(*command(run, data))
    assert f"going on from step {saved} of 120" in result.stdout
    assert losses(run) == losses(trained[0])


def test_a_finished_run_and_another_experiment_are_left_alone(trained, data):
    run, _ = trained
    before = (run / "metrics.jsonl").read_bytes()
    done = python(*command(run, data))
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    other = python(*command(run, data, "--optim.peak-lr", "0.5"))
    assert other.returncode == 2
    assert "holds another experiment (optim.peak_lr: 0.003 -> 0.5)" in other.stderr
    assert (run / "metrics.jsonl").read_bytes() == before


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_run_goes_on_from_what_is_whole_to_the_same_numbers(trained, data, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "damaged")
    last = run / "ckpt" / str(STEPS)
    flip(max((last / "params").rglob("*"), key=lambda p: p.stat().st_size * p.is_file()))
    (run / "ckpt" / "500").mkdir()
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join([*lines[:1], *lines, b"\0" * 99]))
    (run / "manifest.json").write_text("")
    result = python(*command(run, data))
    assert result.returncode == 0, result.stderr
    for said in (
        f"ckpt/{STEPS} is broken: params/",
        "ckpt/500 is broken: it is empty",
        "going on from step 100 of 120",
        "metrics.jsonl: damaged in line",
        "kept as manifest.broken.json",
    ):
        assert said in result.stdout
    assert losses(run) == losses(trained[0])
    assert {p.name for p in (run / "broken").iterdir()} == {str(STEPS), "500"}


def test_a_finished_run_is_made_longer(trained, data, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "longer")
    result = python(*command(run, data, "--loop.steps", "125"))
    assert result.returncode == 0, result.stderr
    assert "the learning rate are laid over all 125 steps anew" in result.stdout
    assert losses(run)[: STEPS + 3] == losses(trained[0])
    assert losses(run)[-1]["step"] == 125


def test_a_run_that_diverges_stops_and_names_the_step_and_the_utterances(data, tmp_path):
    result = python(*command(tmp_path / "nan", data, "--model.attention.init-scale", "1e30"))
    assert result.returncode == 2
    assert re.search(r"error: step 1: loss .*; utterances talker\d+", result.stderr)
    assert {p.name for p in (tmp_path / "nan" / "ckpt").iterdir()} == {"0"}


def test_a_run_directory_that_cannot_be_written_is_one_line(data, tmp_path):
    (tmp_path / "file").write_text("")
    result = python(*command(tmp_path / "file" / "run", data))
    assert result.returncode == 2
    assert "give another --run-dir" in result.stderr.splitlines()[-1]


@pytest.mark.pods
def test_two_processes_give_the_numbers_of_one(data, tmp_path):
    short = ["--loop.steps", "12", "--loop.valid-every", "12", "--loop.checkpoint-every", "6"]
    pair, alone = tmp_path / "pair", tmp_path / "alone"
    two = start(command(pair, data, *short)[1:], **PIPES)
    said = [process.communicate(timeout=240) for process in two]
    assert [process.returncode for process in two] == [0, 0], said
    one = start(command(alone, data, *short)[1:], processes=1, devices=4, **PIPES)
    assert one[0].communicate(timeout=240) and one[0].returncode == 0
    for ours, theirs in zip(losses(pair), losses(alone), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5)
    assert "cluster: process 0 of 2, as the command line says" in said[0][0]
    assert "process 1: 2 x cpu" in said[0][0]
    assert not without_gloo(said[1][0])


@pytest.mark.pods
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_dies_the_other_ends_with_an_error(data, tmp_path, victim):
    run = tmp_path / "pair"
    arguments = command(run, data, "--loop.steps", "100000", "--loop.checkpoint-every", "100000")
    two = start(arguments[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    path = Path(run / "metrics.jsonl")
    while not (path.exists() and '"step": 5,' in path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    two[victim].kill()
    began = time.monotonic()
    _, error = two[1 - victim].communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert two[1 - victim].returncode == 1
    assert error.splitlines()[-1].startswith(f"error: process {victim} of this run ended")
    assert error.strip().endswith("the run goes on from step 0")
    assert "stack trace" not in error
    assert "Traceback" not in error
