"""train.py and analyze.py at addresses in the cloud, on two machines that share nothing else."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from fake_cloud import tell
from scripts import ENVIRONMENT, PIPES, STEPS, TINY, losses
from two_processes import ROOT

pytestmark = pytest.mark.commands

RUN, DATA = "gs://bucket/runs/tiny", "gs://bucket/data"
WITH_FAKE = str(Path(__file__).parent / "with_fake_cloud")


class Machine(NamedTuple):
    """A machine of its own: nothing of its disk is seen by another, but for the cloud."""

    cloud: Path
    home: Path

    @property
    def run(self):
        return self.home / "sat_jax" / "cloud" / "gs" / "bucket" / "runs" / "tiny"

    @property
    def environment(self):
        here = {"FAKE_CLOUD": str(self.cloud), "XDG_CACHE_HOME": str(self.home)}
        return {**ENVIRONMENT, **here, "PYTHONPATH": WITH_FAKE}

    def start(self, *arguments):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, **PIPES)

    def finish(self, *arguments, status=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == status, out + err
        return out + err


def train(data=DATA, run=RUN):
    return ["train.py", "toy", *TINY, "--run-dir", run, "--corpus.data-dir", data]


@pytest.fixture
def machine(tmp_path):
    return lambda name: Machine(tmp_path / "cloud", tmp_path / name)


def until(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def steps_in(directory):
    return sorted(int(path.name) for path in (directory / "ckpt").iterdir() if path.name.isdigit())


def there(machine):
    return machine.cloud / "bucket" / "runs" / "tiny"


def logged(run, step):
    path = run / "metrics.jsonl"
    return path.exists() and f'"step": {step},' in path.read_text()


def test_killed_and_lost_a_run_goes_on_elsewhere_to_the_same_bits(tiny_run, machine):
    first, second = machine("first"), machine("second")
    tell(first.cloud, slow=0)
    with first.start(*train()) as process:
        until(lambda: (there(first) / "ckpt" / "50" / "checksums.sha256").exists(), process)
        process.send_signal(signal.SIGKILL)
    cut = steps_in(there(first))[-1]
    assert cut < STEPS
    (first.home / "sat_jax").rename(first.home / "lost")
    # A second machine, which has neither the run nor the corpus.
    said = second.finish(*train())
    assert f"fetching {DATA}/talker-" in said
    assert f"fetching {RUN}/ckpt/{cut}: " in said
    assert f"going on from step {cut} of {STEPS}" in said
    assert f"next: python analyze.py {RUN}" in said and f"uploaded: {RUN}" in said
    assert losses(second.run) == losses(tiny_run.path) == losses(there(first))
    assert steps_in(there(first)) == steps_in(second.run) == [0, 100, STEPS]
    assert f'"run_dir": "{RUN}"' in (there(first) / "config.json").read_text()
    # A third analyses it, with the corpus from the same bucket; results go where the run is.
    third = machine("third")
    said = third.finish("analyze.py", RUN, "--only", "heads", "--no-pdf", "--max-utterances", "4")
    assert f"report: {third.run}/report.html, and {RUN}/report.html" in said
    report = there(first) / "report.html"
    assert report.read_bytes() == (third.run / "report.html").read_bytes()
    assert (there(first) / "analysis" / "heads.csv").exists()
    said = third.finish("train.py", RUN)
    assert f"{RUN} has all of its {STEPS} steps: nothing to do" in said


def test_what_a_crash_left_here_goes_first_and_up(tiny_run, machine):
    here = machine("first")
    tell(here.cloud, slow_verbs=["put"], slow=0)
    with here.start(*train(str(tiny_run.data))) as process:
        until(lambda: (there(here) / "ckpt" / "0" / "checksums.sha256").exists(), process)
        tell(here.cloud, fail=["put"])
        until(lambda: (here.run / "ckpt" / "100" / "commit_success.txt").exists(), process)
        process.send_signal(signal.SIGKILL)
    uploaded = steps_in(there(here))[-1]
    assert uploaded < 100
    tell(here.cloud)
    said = here.finish(*train(str(tiny_run.data)))
    assert f"{here.run} is at step 1" in said
    assert f", ahead of {RUN} (step {uploaded}): what is here is kept" in said
    assert losses(here.run) == losses(tiny_run.path) == losses(there(here))
    assert steps_in(there(here)) == [0, 100, STEPS]


def test_a_network_that_stays_down_is_an_error_at_the_end_only(tiny_run, machine):
    here = machine("first")
    tell(here.cloud, fail=["put"])
    said = here.finish(*train(str(tiny_run.data)), status=2)
    assert said.count("upload failed") == 1
    assert f"done: {STEPS} steps" in said
    last = said.splitlines()[-1]
    assert last.startswith(
        f"error: not uploaded to {RUN} (the network is down (put)): ckpt/{STEPS}"
    )
    assert f"the only copy is in {here.run}" in last
    assert losses(here.run) == losses(tiny_run.path)
    tell(here.cloud)
    assert f"uploaded: {RUN}" in here.finish(*train(str(tiny_run.data)))
    assert losses(there(here)) == losses(tiny_run.path)


def test_sigterm_uploads_what_was_saved(tiny_run, machine):
    here, other = machine("first"), machine("second")
    with here.start(*train(str(tiny_run.data))) as process:
        until(lambda: logged(here.run, 30), process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 143, out + err
    saved = steps_in(here.run)[-1]
    assert f"error: SIGTERM: saved step {saved} in {RUN}; the same command goes on\n" in err
    assert steps_in(there(here))[-1] == saved
    shutil.rmtree(here.run)
    other.finish(*train(str(tiny_run.data)))
    assert losses(there(here)) == losses(tiny_run.path)


def test_every_host_fetches_its_own_copy_of_the_corpus(tiny_run, machine, tmp_path):
    hosts = [machine("first"), machine("second")]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cluster = ["--distributed.coordinator", f"127.0.0.1:{port}", "--distributed.processes", "2"]
    shared = train(run=str(tmp_path / "shared"))
    short = ["--loop.steps", "4", "--loop.valid-every", "4", "--distributed.process"]
    started = [host.start(*shared, *cluster, *short, n) for n, host in enumerate(hosts)]
    said = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert f"uploading {DATA}/talker-" in said[0][0]
    first, second = (
        {p.name: p.read_bytes() for p in host.home.rglob("data/talker-*/**/*") if p.is_file()}
        for host in hosts
    )
    assert first == second and "corpus.json" in first and len(first) > 3


def test_what_cannot_be_done_is_one_line(machine, tmp_path):
    here = machine("first")
    nothing = "gs://bucket/nothing"
    for arguments, expected in (
        (["train.py", "toy", "--run-dir", "s3://b/x"], "pip install -r requirements-cloud.txt"),
        (["analyze.py", nothing], f"{nothing}: no run is there; give a run that train.py made"),
        (["plan.py", nothing], f"{nothing}: no run is there; give a run that train.py made"),
        (["attention.py", "--out", nothing], f"out is {nothing}: only paths are"),
        (["convert.py", "x", "--back", nothing], f"back is {nothing}: only paths are"),
        (["train.py", "toy", "--corpus.path", nothing], f"corpus.path is {nothing}: only paths"),
    ):
        said = here.finish(*arguments, status=2).splitlines()
        assert len(said) == 1 and expected in said[0], said
    assert not os.listdir(tmp_path / "first") or not list((tmp_path / "first").rglob("*.json"))


def test_export_and_comparison_go_from_address_to_address(tiny_run, machine):
    here, other = machine("first"), machine("second")
    run = here.run
    shutil.copytree(tiny_run.path, run)
    (run / ".lock").unlink()
    data = ["--corpus.data-dir", str(tiny_run.data)]
    small = "gs://bucket/runs/small"
    assert "nothing to do" in here.finish(*train(str(tiny_run.data)))
    cut = ["--span", "3", "--utterances", "2", "--out", small]
    said = other.finish("export.py", RUN, *cut)
    assert f"next: python analyze.py {small}" in said
    new = there(here).with_name("small")
    assert steps_in(new) == [0, STEPS]
    assert f'"exported_from": "{RUN}, step {STEPS}"' in (new / "manifest.json").read_text()
    assert f"error: {small} exists" in here.finish("export.py", RUN, *cut, status=2)
    few = ["--similarity.utterances", "4", "--similarity.map-utterances", "2", "--no-pdf"]
    few += ["--similarity.draws", "0", "--max-utterances", "4", *data]
    said = here.finish("analyze.py", RUN, small, "--only", "similarity", *few)
    beside = there(here).with_name("similarity-tiny-small")
    assert f"uploaded: gs://bucket/runs/{beside.name}" in said
    assert (beside / "report.html").exists()
