"""Which checkpoints of a run are whole: every way in which files of one can be damaged."""

import subprocess

import pytest

from sat_jax.checkpoint_files import (
    CHECKSUMS,
    COMMITTED,
    ITEMS,
    fault,
    is_sealed,
    saved_steps,
    seal,
    set_aside,
    survey,
)


def make_step(ckpt, step):
    """A step as Orbax leaves it, with its checksums."""
    where = ckpt / str(step)
    for item in ITEMS:
        (where / item / "d").mkdir(parents=True)
        (where / item / "_METADATA").write_text("{}")
        (where / item / "d" / "data").write_bytes(bytes(range(256)) * 20)
    seal(where)
    (where / COMMITTED).write_text("done")
    return where


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def empty(where):
    for path in sorted(where.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


DAMAGE = {
    "params/d/data is not what was saved": lambda step: flip(step / "params/d/data"),
    "optimizer/d/data is not what was saved": lambda step: (step / "optimizer/d/data").write_bytes(
        b""
    ),
    "params/_METADATA is not what was saved": lambda step: flip(step / "params/_METADATA"),
    "params/d/data is missing": lambda step: (step / "params/d/data").unlink(),
    "optimizer is missing": lambda step: (step / "optimizer").rename(step / "x"),
    "optimizer is empty": lambda step: empty(step / "optimizer"),
    "commit_success.txt is missing": lambda step: (step / COMMITTED).unlink(),
    "it is empty": empty,
    "it is not a directory": lambda step: (empty(step), step.rmdir(), step.write_text("")),
    "checksums.sha256 is damaged": lambda step: (step / CHECKSUMS).write_text(
        (step / CHECKSUMS).read_text()[:100]
    ),
}


@pytest.mark.parametrize("wrong", DAMAGE)
def test_every_damage_is_found_and_named(tmp_path, wrong):
    step = make_step(tmp_path, 5)
    assert fault(step) == ""
    DAMAGE[wrong](step)
    assert wrong in fault(step)


def test_any_flipped_byte_of_any_file_is_found(tmp_path):
    step = make_step(tmp_path, 5)
    for path in (p for item in ITEMS for p in (step / item).rglob("*") if p.is_file()):
        before = path.read_bytes()
        flip(path)
        assert fault(step)
        path.write_bytes(before)
    assert fault(step) == ""


def test_an_analysis_looks_at_its_item_only(tmp_path):
    step = make_step(tmp_path, 5)
    flip(step / "optimizer/d/data")
    assert fault(step, ("params",)) == ""
    assert fault(step)


def test_checksums_are_what_sha256sum_reads(tmp_path):
    step = make_step(tmp_path, 5)
    check = ["sha256sum", "--check", "--strict", CHECKSUMS]
    assert subprocess.run(check, cwd=step, capture_output=True, check=False).returncode == 0
    flip(step / "params/d/data")
    assert subprocess.run(check, cwd=step, capture_output=True, check=False).returncode


def test_a_step_of_a_version_without_checksums_is_whole_unless_something_is_gone(tmp_path):
    step = make_step(tmp_path, 5)
    (step / CHECKSUMS).unlink()
    assert not is_sealed(step)
    assert fault(step) == ""
    (step / COMMITTED).unlink()
    assert fault(step)


def test_the_newest_whole_step_is_found_and_what_is_passed_over(tmp_path):
    ckpt = tmp_path / "ckpt"
    for step in (0, 50, 100, 150):
        make_step(ckpt, step)
    (ckpt / "500").mkdir()
    for name in ("x", "-1", "007", "175.orbax-checkpoint-tmp"):
        (ckpt / name).mkdir()
    flip(ckpt / "150/params/d/data")
    found = survey(ckpt, lambda step: fault(ckpt / str(step)))
    assert saved_steps(ckpt) == [500, 150, 100, 50, 0]
    assert found.whole == 100
    assert list(found.broken) == [500, 150]
    said = []
    set_aside(ckpt, found.broken, said.append)
    assert saved_steps(ckpt) == [100, 50, 0]
    assert "500 is broken: it is empty; passed over and moved to" in said[0]
    assert sorted(p.name for p in (ckpt.parent / "broken").iterdir()) == ["150", "500"]
    make_step(ckpt, 150)
    set_aside(ckpt, {150: "again"}, said.append)
    assert (ckpt.parent / "broken" / "150-1").is_dir()


def test_nothing_at_all_is_no_step(tmp_path):
    assert survey(tmp_path / "none", lambda step: "") == (None, {})
    make_step(tmp_path, 0)
    assert survey(tmp_path, lambda step: "broken") == (None, {0: "broken"})
