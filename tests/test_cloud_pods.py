"""Several hosts that share nothing but a store in the cloud: train.py and analyze.py on them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_cloud import tell
from scripts import PIPES, TINY, losses
from test_faults import of_watched, wait_for_step
from two_processes import ROOT, on_devices, start

pytestmark = pytest.mark.pods
RUN, DATA = "gs://bucket/runs/tiny", "gs://bucket/data"
WITH_FAKE = str(Path(__file__).parent / "with_fake_cloud")
SHORT = ["--loop.steps", "40", "--loop.valid-every", "40", "--loop.checkpoint-every", "10"]
UNITS = ["train.py", "toy_units", *TINY, *SHORT, "--objective.units", "8"]


class Hosts:
    """Machines, each with a disk of its own, and a store that all of them see."""

    def __init__(self, place):
        self.place = place
        tell(place / "cloud", slow=0)

    def start(self, arguments, *names):
        """The processes of a command, the first one on the first machine that is named."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        cluster = ["--distributed.coordinator", f"127.0.0.1:{port}"]
        cluster += ["--distributed.processes", str(len(names)), "--distributed.process"]
        return [
            subprocess.Popen(
                [sys.executable, *arguments, *cluster, str(process)],
                cwd=ROOT,
                env={
                    **on_devices(2),
                    "FAKE_CLOUD": str(self.place / "cloud"),
                    "XDG_CACHE_HOME": str(self.place / name),
                    "PYTHONPATH": WITH_FAKE,
                },
                **PIPES,
            )
            for process, name in enumerate(names)
        ]

    def run_on(self, name):
        return self.place / name / "sat_jax" / "cloud" / "gs" / "bucket" / "runs" / "tiny"

    @property
    def there(self):
        return self.place / "cloud" / "bucket" / "runs" / "tiny"


def ended(processes, status=0):
    try:
        said = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [status] * len(said), said
    return [out + err for out, err in said]


def steps_in(run):
    return sorted(int(path.name) for path in (run / "ckpt").iterdir() if path.name.isdigit())


def test_hosts_without_a_common_disk_train_to_the_bits_of_those_with_one(tmp_path):
    """Killed, they go on with another host in the first place, which has nothing of the run."""
    hosts, with_one = Hosts(tmp_path), tmp_path / "with_one"
    two = hosts.start([*UNITS, "--run-dir", RUN, "--corpus.data-dir", DATA], "a", "b")
    wait_for_step(hosts.run_on("a"), 25)
    deadline = time.monotonic() + 60
    while not (hosts.there / "ckpt" / "20" / "checksums.sha256").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for process in two:
        os.kill(of_watched(process), signal.SIGKILL)
    for process in two:
        process.communicate(timeout=60)
        assert process.returncode != 0
    assert not (hosts.run_on("b") / "ckpt").exists()
    cut = steps_in(hosts.there)[-1]
    first, second = ended(
        hosts.start([*UNITS, "--run-dir", RUN, "--corpus.data-dir", DATA], "c", "b")
    )
    assert f"fetching {RUN}/ckpt/{cut}: " in first
    assert f"going on from step {cut} of 40" in first and f"uploaded: {RUN}" in first
    assert "only process 0 sees it" in first and "going on" not in second
    data = hosts.place / "c" / "sat_jax" / "cloud" / "gs" / "bucket" / "data"
    whole = start([*UNITS, "--run-dir", str(with_one), "--corpus.data-dir", str(data)], **PIPES)
    assert "only process 0 sees it" not in ended(whole)[0]
    assert losses(hosts.there) == losses(with_one)
    assert steps_in(hosts.there) == steps_in(hosts.run_on("c")) == steps_in(with_one)
    for name in ("train", "valid"):
        units = [np.load(hosts.run_on(host) / "units" / f"{name}.npy") for host in "abc"]
        units.append(np.load(with_one / "units" / f"{name}.npy"))
        assert all(np.array_equal(each, units[0]) for each in units[1:])
    # Two more hosts analyse it; only the first fetches it, and results go where it is.
    study = ["analyze.py", RUN, "--only", "heads", "similarity", "--no-pdf", "--draws", "20"]
    first, second = ended(hosts.start([*study, "--max-utterances", "3"], "d", "e"))
    assert f"report: {hosts.run_on('d')}/report.html, and {RUN}/report.html" in first
    assert "report" not in second
    assert (hosts.there / "analysis" / "heads.csv").exists()
    assert not (hosts.run_on("e") / "ckpt").exists()


def test_a_preempted_host_leaves_the_step_in_the_cloud(tiny_run, tmp_path):
    hosts = Hosts(tmp_path)
    command = ["train.py", "toy", *TINY, "--loop.steps", "100000", "--loop.checkpoint-every"]
    command += ["100000", "--run-dir", RUN, "--corpus.data-dir", str(tiny_run.data)]
    two = hosts.start(command, "a", "b")
    wait_for_step(hosts.run_on("a"), 5)
    tell(hosts.place / "cloud", slow=0.5, slow_verbs=["put"])
    two[1].send_signal(signal.SIGTERM)
    # It has nothing to upload itself, and leaves when the first one is done.
    assert two[1].wait(timeout=120) == 143
    saved = steps_in(hosts.there)[-1]
    assert saved >= 5
    assert (hosts.there / "ckpt" / str(saved) / "checksums.sha256").exists()
    assert f"SIGTERM: saved step {saved} in {RUN}" in ended(two, 143)[0]
