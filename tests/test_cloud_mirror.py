"""A run that trains, and the thread that uploads it: never waited for, and nothing is forgotten."""

import os
import shutil
import signal
import threading
import time

import pytest
from fake_cloud import journal, root, tell
from small_runs import ADDRESS, add_step, flip, steps_in, there, write_run

from sat_jax.cloud import mirror, mirrored
from sat_jax.errors import InputError, Interrupted


@pytest.fixture
def here(two_machines, monkeypatch):
    monkeypatch.setattr(mirror, "LOOK", 0.01)
    return two_machines("first")


@pytest.fixture
def said():
    return []


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_checkpoints_go_up_while_the_run_goes_on(here, said):
    with mirrored(ADDRESS, said.append) as begin:
        write_run(here, 0)
        assert not there().exists()
        begin()
        until(lambda: there("ckpt/0/checksums.sha256").exists())
        write_run(here, 50)
        until(lambda: there("ckpt/50/checksums.sha256").exists())
        write_run(here, 100)
        shutil.rmtree(here / "ckpt" / "50")
        until(lambda: there("ckpt").exists() and steps_in(there()) == [0, 100])
        (here / "metrics.jsonl").write_text("the last line")
    assert there("metrics.jsonl").read_text() == "the last line"
    assert said == [f"uploaded: {ADDRESS}"]
    assert not list(here.glob(".uploading/*"))


def test_a_network_that_fails_for_a_while_is_said_once_and_caught_up_with(here, said):
    tell(root(), fail=["put"])
    with mirrored(ADDRESS, said.append) as begin:
        write_run(here, 0, 50)
        begin()
        until(lambda: said)
        write_run(here, 100)
        time.sleep(0.2)
        tell(root())
    assert said == [
        f"{ADDRESS}: upload failed (the network is down (put)); training goes on, and it is tried "
        "again",
        f"uploaded: {ADDRESS}",
    ]
    assert steps_in(there()) == [0, 50, 100]


def test_what_could_not_be_uploaded_is_named_at_the_end(here, said):
    def offline_from_50_on():
        with mirrored(ADDRESS, said.append) as begin:
            write_run(here, 0)
            begin()
            until(lambda: there("ckpt/0/checksums.sha256").exists())
            tell(root(), fail_at="ckpt/50/params")
            add_step(here, 50)
            until(lambda: said)
            (here / "metrics.jsonl").write_text("the last line")

    with pytest.raises(InputError) as error:
        offline_from_50_on()
    assert str(error.value) == (
        f"not uploaded to {ADDRESS} (the network is down at ckpt/50/params): ckpt/50, "
        f"metrics.jsonl; the only copy is in {here}, and the same command on this machine uploads "
        "it"
    )
    assert len(said) == 1
    tell(root())
    with mirrored(ADDRESS, said.append) as begin:
        begin()
    assert there("ckpt/50/checksums.sha256").exists()


def test_a_run_that_is_ended_waits_for_a_while_only(here, said, monkeypatch):
    def terminated():
        with mirrored(ADDRESS, said.append) as begin:
            begin()
            raise Interrupted("SIGTERM")

    write_run(here, 0)
    with pytest.raises(Interrupted, match="^SIGTERM$"):
        terminated()
    assert steps_in(there()) == [0]
    tell(root(), slow=1)
    monkeypatch.setattr(mirror, "PATIENCE", 0.3)
    write_run(here, 50)
    began, at = time.monotonic(), len(said)
    left = rf"^SIGTERM; not uploaded to {ADDRESS} \(not done after 0 s\): ckpt/50, config.json, "
    with pytest.raises(Interrupted, match=left) as error:
        terminated()
    assert error.value.status == 143
    assert time.monotonic() - began < 3
    assert said[at:] == [f"uploading to {ADDRESS}, for 0 s at most"]
    tell(root())


def test_sigterm_in_the_last_upload_ends_it_after_a_while(here, said, monkeypatch):
    monkeypatch.setattr(mirror, "PATIENCE", 0.2)
    monkeypatch.setattr(mirror, "QUIET", 0.1)
    before = signal.getsignal(signal.SIGTERM)
    write_run(here, 0)
    tell(root(), slow=1)

    def terminated_when_done():
        with mirrored(ADDRESS, said.append) as begin:
            begin()
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()

    try:
        with pytest.raises(Interrupted, match=rf"^not uploaded to {ADDRESS} .*: ckpt/0, config"):
            terminated_when_done()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert said == [f"uploading to {ADDRESS} what is not there yet"]
    tell(root())


def test_a_step_that_is_deleted_while_it_is_uploaded_arrives_whole(here, said):
    write_run(here, 0, 50)
    tell(root(), slow=0.1)
    with mirrored(ADDRESS, said.append) as begin:
        begin()
        until(lambda: any("put bucket/runs/x/ckpt/50/" in line for line in journal()))
        shutil.rmtree(here / "ckpt" / "50")
        tell(root())
    assert steps_in(there()) == [0, 50]


def test_logs_may_grow_while_they_are_uploaded(here, said):
    write_run(here, 0)
    tell(root(), slow=0.05)
    with mirrored(ADDRESS, said.append) as begin:
        begin()
        for line in range(60):
            with open(here / "metrics.jsonl", "a") as file:
                file.write(f"{line}\n")
            time.sleep(0.01)
        tell(root())
    assert there("metrics.jsonl").read_text().endswith("58\n59\n")
    assert said == [f"uploaded: {ADDRESS}"]


def test_a_broken_step_is_said_and_does_not_push_out_a_whole_one(here, said):
    write_run(here, 0, 50)
    with mirrored(ADDRESS, said.append) as begin:
        begin()
        until(lambda: there("ckpt/50/checksums.sha256").exists())
        add_step(here, 100)
        flip(here / "ckpt/100/params/d/data")
        shutil.rmtree(here / "ckpt" / "50")
    assert steps_in(there()) == [0, 50]
    assert f"{here}/ckpt/100 is broken and not uploaded: params/d/data is not what" in said[0]


def test_training_leaves_results_to_analyses_and_cleans_up_what_a_crash_left(here, said):
    write_run(here, 0)
    (here / "report.html").write_text("of an analysis")
    (here / ".uploading" / "50").mkdir(parents=True)
    with mirrored(ADDRESS, said.append) as begin:
        begin()
    assert steps_in(there()) == [0] and not there("report.html").exists()
    assert not (here / ".uploading" / "50").exists()


def test_a_step_without_its_last_file_is_not_finished(here, said):
    write_run(here, 0, 50)
    (here / "ckpt/50/commit_success.txt").unlink()
    with mirrored(ADDRESS, said.append) as begin:
        begin()
    assert steps_in(there()) == [0]
    assert said == [f"uploaded: {ADDRESS}"]
