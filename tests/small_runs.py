"""Runs as small as can be, made by hand: what the cloud's room copies, without any training."""

import json

from fake_cloud import FakeCloud, root
from fsspec import register_implementation

from sat_jax.checkpoint_files import COMMITTED, ITEMS, seal
from sat_jax.cloud import store

ADDRESS = "gs://bucket/runs/x"


def machines(tmp_path, monkeypatch):
    """A function that makes this process one machine or another, and gives the run's copy there.

    Beside them stands a store that all of them see.
    """
    register_implementation("gs", FakeCloud, clobber=True)
    monkeypatch.setenv("FAKE_CLOUD", str(tmp_path / "cloud"))
    monkeypatch.setattr(store, "PAUSES", (0.0,))

    def become(name):
        monkeypatch.setenv("SAT_JAX_CLOUD_CACHE", str(tmp_path / name))
        return tmp_path / name / "gs" / "bucket" / "runs" / "x"

    become("first")
    return become


def there(name=""):
    """A file or folder of the run in the store."""
    return root() / "bucket" / "runs" / "x" / name


def add_step(place, step, history="a"):
    """A checkpoint as Orbax leaves it; other histories have other numbers in them."""
    where = place / "ckpt" / str(step)
    for item in ITEMS:
        (where / item / "d").mkdir(parents=True)
        (where / item / "_METADATA").write_text("{}")
        (where / item / "d" / "data").write_text(f"{item} of {history} at {step}" * 99)
    seal(where)
    (where / COMMITTED).write_text("done")


def write_run(place, *steps, history="a"):
    """A run that has come to the last of `steps`; metrics go two steps further."""
    for step in steps:
        add_step(place, step, history)
    (place / "tensorboard").mkdir(parents=True, exist_ok=True)
    (place / "tensorboard" / f"events.{history}").write_text("e" * max(steps))
    for name in ("config.json", "manifest.json"):
        (place / name).write_text(json.dumps({"history": history, "step": max(steps)}))
    records = [{"step": step, "of": history} for step in range(max(steps) + 3)]
    (place / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))


def steps_in(place):
    return sorted(int(path.name) for path in (place / "ckpt").iterdir())


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
