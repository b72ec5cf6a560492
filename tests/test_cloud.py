"""Runs in the cloud and their copies here: what is fetched and uploaded, which side goes first."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_cloud import journal, root, tell
from small_runs import ADDRESS, add_step, flip, steps_in, there, write_run

from sat_jax import cloud, run_directory
from sat_jax.checkpoint_files import CHECKSUMS, fault
from sat_jax.cloud import store
from sat_jax.cloud.steps import whole_there
from sat_jax.cloud.store import listing, open_store
from sat_jax.errors import InputError

RUN = Path(ADDRESS)


def fetched(purpose="train", **more):
    said = []
    return cloud.fetched(RUN, purpose, said.append, **more), " | ".join(said)


def seals(lines):
    """The steps whose checksums were put, in that order."""
    return [int(line.split("/")[-2]) for line in lines if line.endswith(CHECKSUMS)]


def uploaded(place):
    assert cloud.send_run(place, lambda _: None) == ADDRESS


def analysed_run(two_machines):
    """A run of the first machine with a result of an analysis, uploaded."""
    here = two_machines("first")
    write_run(here, 0, 50, 100)
    (here / "analysis").mkdir()
    (here / "analysis" / "heads.csv").write_text("1")
    uploaded(here)
    return here


def test_a_run_comes_whole_to_another_machine(two_machines):
    here = analysed_run(two_machines)
    # What an analysis needs comes first.
    assert seals(journal()) == [0, 100, 50]
    other = two_machines("second")
    place, said = fetched()
    assert place == other
    steps = [line.split(":")[1] for line in said.split(" | ")]
    assert steps == [f"//bucket/runs/x/ckpt/{step}" for step in (0, 50, 100)]
    assert said.startswith(f"fetching {ADDRESS}/ckpt/0: 6 files, 0.0 MB")
    assert steps_in(other) == [0, 50, 100]
    assert not any(fault(other / "ckpt" / str(step)) for step in (0, 50, 100))
    for name in ("config.json", "manifest.json", "metrics.jsonl", "tensorboard/events.a"):
        assert (other / name).read_text() == (here / name).read_text()
    assert not (other / "analysis").exists()
    assert fetched() == (other, "")


def test_an_analysis_takes_the_newest_step_and_the_results(two_machines):
    analysed_run(two_machines)
    other = two_machines("second")
    fetched("analyse")
    assert steps_in(other) == [0, 100]
    assert (other / "analysis" / "heads.csv").read_text() == "1"
    fetched("analyse", step=50)
    assert steps_in(other) == [0, 50, 100]
    third = two_machines("third")
    fetched("plan")
    assert [path.name for path in third.iterdir() if path.name[0] != "."] == ["config.json"]


def test_the_side_with_the_later_step_goes_first(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50)
    uploaded(first)
    second = two_machines("second")
    fetched()
    write_run(second, 100)
    shutil.rmtree(second / "ckpt" / "50")
    uploaded(second)
    assert steps_in(there()) == [0, 100]
    # Behind: what the first machine has, a crash's records included, gives way; no step does.
    two_machines("first")
    (first / "metrics.jsonl").write_text("half a li")
    fetched()
    assert steps_in(first) == [0, 50, 100]
    assert (first / "metrics.jsonl").read_bytes() == there("metrics.jsonl").read_bytes()
    # Ahead: a step that was never uploaded, and everything beside it, stays.
    write_run(first, 150)
    before = {name: (first / name).read_bytes() for name in ("metrics.jsonl", "manifest.json")}
    shutil.rmtree(first / "tensorboard")
    _, said = fetched()
    assert said == f"{first} is at step 150, ahead of {ADDRESS} (step 100): what is here is kept"
    assert {name: (first / name).read_bytes() for name in before} == before
    assert (first / "tensorboard" / "events.a").exists()
    uploaded(first)
    assert steps_in(there()) == [0, 50, 100, 150]
    assert there("metrics.jsonl").read_bytes() == before["metrics.jsonl"]


def test_equal_steps_keep_what_is_here(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50)
    uploaded(first)
    (first / "manifest.json").write_text("one session more, ended by a crash")
    assert fetched() == (first, "")
    assert "one session more" in (first / "manifest.json").read_text()
    # The other machine came to the same step by itself: the cloud's counts.
    second = two_machines("second")
    fetched()
    shutil.rmtree(second / "ckpt" / "50")
    write_run(second, 50, history="b")
    fetched()
    assert (second / "ckpt/50" / CHECKSUMS).read_bytes() == there(
        f"ckpt/50/{CHECKSUMS}"
    ).read_bytes()
    assert json.loads((second / "config.json").read_text())["history"] == "a"


def test_a_fetch_that_breaks_off_is_made_good(two_machines):
    first = two_machines("first")
    write_run(first, 0, 100)
    uploaded(first)
    second = two_machines("second")
    for step in (0, 50):
        shutil.copytree(first / "ckpt" / "0", second / "ckpt" / str(step))
    (second / "metrics.jsonl").write_text("what a crash left")
    for part in ("metrics.jsonl", "ckpt/100/params"):
        tell(root(), fail_at=part)
        with pytest.raises(InputError, match="the network is down at"):
            fetched()
        assert steps_in(second) == [0, 50]
    tell(root())
    fetched()
    assert steps_in(second) == [0, 50, 100]
    assert (second / "metrics.jsonl").read_bytes() == there("metrics.jsonl").read_bytes()
    assert not (second / ".fetching").exists()


def test_a_step_that_is_deleted_while_it_is_fetched_gives_way_to_a_newer_one(
    two_machines, monkeypatch
):
    first = two_machines("first")
    write_run(first, 0, 100)
    uploaded(first)
    other, get = two_machines("second"), store.get

    def meanwhile(*arguments):
        monkeypatch.setattr(store, "get", get)
        two_machines("first")
        shutil.rmtree(first / "ckpt" / "100")
        write_run(first, 150)
        uploaded(first)
        two_machines("second")
        return get(*arguments)

    monkeypatch.setattr(store, "get", meanwhile)
    fetched("analyse")
    assert steps_in(other) == [0, 150]


def test_two_different_runs_are_not_mixed(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50)
    uploaded(first)
    second = two_machines("second")
    write_run(second, 0, 100, history="b")
    with pytest.raises(InputError, match=r"two different runs .*: move one of them away"):
        fetched()
    assert steps_in(second) == [0, 100] and steps_in(there()) == [0, 50]


def test_a_half_uploaded_or_broken_step_is_passed_over(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50, 100, 150)
    uploaded(first)
    there(f"ckpt/150/{CHECKSUMS}").unlink()
    flip(there("ckpt/100/params/d/data"))
    second = two_machines("second")
    _, said = fetched()
    assert f"{ADDRESS}/ckpt/100 is broken: params/d/data is not what was saved" in said
    assert "passed over, delete it there" in said
    assert steps_in(second) == [0, 50]
    # What was left of it goes before it is uploaded anew.
    there("ckpt/150/params/stray").write_text("stray")
    add_step(second, 150)
    uploaded(second)
    assert not there("ckpt/150/params/stray").exists() and there(f"ckpt/150/{CHECKSUMS}").exists()


def test_a_broken_step_here_is_not_uploaded_and_comes_back(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50, 100)
    flip(first / "ckpt/100/optimizer/d/data")
    uploaded(first)
    assert steps_in(there()) == [0, 50]
    flip(first / "ckpt/100/optimizer/d/data")
    uploaded(first)
    flip(first / "ckpt/100/optimizer/d/data")
    fetched()
    assert not fault(first / "ckpt" / "100")


def test_checksums_come_last_and_deleted_steps_go_after_the_new_one_is_whole(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50)
    uploaded(first)
    for step in (0, 50):
        shutil.rmtree(first / "ckpt" / str(step))
    write_run(first, 100)
    at = len(journal())
    uploaded(first)
    done = [line.replace("bucket/runs/x/", "") for line in journal()[at:]]
    sealed = done.index(f"put ckpt/100/{CHECKSUMS}")
    assert {"put metrics.jsonl", "put ckpt/100/params/d/data"} <= set(done[:sealed])
    assert done[sealed + 1] == f"rm ckpt/50/{CHECKSUMS}"
    assert {line.split("/")[1] for line in done[sealed + 1 :]} == {"50"}
    assert steps_in(there()) == [0, 100]


def test_results_that_changed_on_one_side_only_are_exchanged(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50)
    (first / "report.html").write_text("one")
    uploaded(first)
    second = two_machines("second")
    fetched("analyse")
    (second / "report.html").write_text("two")
    (second / ".hidden").mkdir()
    (second / ".hidden" / "file").write_text("")
    (second / "link").symlink_to("/etc/hostname")
    assert cloud.send_results(second, lambda _: None) == ADDRESS
    assert there("report.html").read_text() == "two"
    assert not there(".hidden").exists() and not there("link").exists()
    at = len(journal())
    cloud.send_results(second, lambda _: None)
    assert len(journal()) == at
    two_machines("first")
    fetched("analyse")
    assert (first / "report.html").read_text() == "two"
    there("report.html").write_text("three")
    (first / "report.html").write_text("mine")
    _, said = fetched("analyse")
    assert f"1 files differ from {ADDRESS} and changed here: these are kept" in said
    assert (first / "report.html").read_text() == "mine"


def test_a_file_that_loses_its_end_on_the_way_is_an_error(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50)
    (first / "report.html").write_text("a report")
    for part in ("report.html", "ckpt/50/optimizer/d/data"):
        tell(root(), cut=part)
        with pytest.raises(
            InputError,
            match=rf"{Path(part).name} did not arrive whole: the run is whole in {first}: copy",
        ):
            uploaded(first)
        tell(root())
    assert 50 not in whole_there(listing(open_store(ADDRESS)))
    uploaded(first)
    two_machines("second")
    tell(root(), cut="report.html")
    with pytest.raises(InputError, match=r"report\.html came with 4 of 8 bytes"):
        fetched("analyse")


def test_a_run_that_trains_here_is_taken_as_it_is(two_machines):
    first = two_machines("first")
    write_run(first, 0, 50)
    code = "import sys; from pathlib import Path; from sat_jax import run_directory as r\n"
    code += "r.take(Path(sys.argv[1]), print); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(first)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        assert run_directory.is_taken(first)
        assert "trains in it, so it is taken as it is" in fetched("analyse")[1]
        holder.stdin.close()
    assert not run_directory.is_taken(first)
    assert run_directory.take(first, print) is None


def test_what_is_not_there_or_cannot_be_reached_is_one_line(two_machines):
    for purpose in ("analyse", "plan"):
        with pytest.raises(InputError, match=rf"{ADDRESS}: no run is there; give a run that"):
            fetched(purpose)
    tell(root(), fail=["find"])
    with pytest.raises(InputError, match=rf"{ADDRESS}: the network is down \(find\): look after"):
        fetched()
    tell(root())
    there().mkdir(parents=True)
    there("config.json").write_text("{}")
    with pytest.raises(InputError, match="exists: give another --out"):
        cloud.require_new(RUN, "out")
    cloud.require_new(Path("gs://bucket/free"), "out")
