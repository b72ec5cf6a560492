"""Addresses and stores: what a path of a file system is not, and how a store that fails is met."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import ADDRESS

from sat_jax.address import address_of, cache, in_one_store, origin_of, place_of, shown
from sat_jax.cloud.store import PAUSES, listing, open_store, patiently
from sat_jax.config import Config, Corpus
from sat_jax.config.json import encode
from sat_jax.errors import InputError

RUN = Path(ADDRESS)


def test_addresses_survive_pathlib_and_have_one_place_here(monkeypatch, tmp_path):
    monkeypatch.delenv("SAT_JAX_CLOUD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for text in ("gs://bucket/runs/x", "gs:/bucket/runs/x", "gs://bucket/runs/x/"):
        assert shown(Path(text)) == address_of(text) == ADDRESS
        assert place_of(Path(text)) == tmp_path / "sat_jax" / "cloud" / "gs" / "bucket/runs/x"
        assert origin_of(place_of(text)) == ADDRESS
    for text in ("runs/x", "/gs:/x", "c:/x", ".", "a:b/c", "runs/gs:/x", "c:"):
        assert not address_of(text) and shown(text) == text and place_of(text) == Path(text)
        assert not origin_of(Path(text))
    assert not origin_of(cache()) and not origin_of(cache() / "gs")
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv("SAT_JAX_CLOUD_CACHE", str(tmp_path / "link" / "copies"))
    for place in (place_of(RUN), tmp_path / "copies" / "gs/bucket/runs/x"):
        assert origin_of(place) == ADDRESS
    assert in_one_store("gs://a/x", Path("gs://a/y/z"))
    assert not in_one_store("gs://a/x", "gs://b/x") and not in_one_store("a/x", "a/x")
    for text in ("gs://", "gs:", "gs://bucket/../../x", "s3://./x"):
        with pytest.raises(InputError, match=r"give a bucket and a path in it, \w+://BUCKET/PATH"):
            place_of(text)


def test_a_config_keeps_what_was_given_and_works_in_the_copy():
    config = Config(run_dir=RUN, corpus=Corpus(data_dir=Path("s3://bucket/data")))
    assert encode(config)["run_dir"] == ADDRESS
    assert encode(config)["corpus"]["data_dir"] == "s3://bucket/data"
    assert config.directory == cache() / "gs" / "bucket" / "runs" / "x"
    assert config.corpus.directory == cache() / "s3" / "bucket" / "data"
    assert Config(run_dir=Path("runs/x")).directory == Path("runs/x")
    assert Corpus().directory == Path("data")


def test_paths_of_a_file_system_need_no_cloud_code():
    code = (
        "import sys; from pathlib import Path; from sat_jax import cloud\n"
        "from sat_jax.commands import train, analyze, export, convert, plan\n"
        "assert cloud.fetched(Path('runs/x'), 'train') == Path('runs/x')\n"
        "assert not cloud.send_results(Path('runs/x')) and not cloud.send_run(Path('runs/x'))\n"
        "with cloud.mirrored(Path('runs/x'), print) as begin: begin()\n"
        "found = [m for m in sys.modules if m.startswith(('sat_jax.cloud.', 'fsspec'))]\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_that_climb_out_of_a_bucket_are_not_followed(two_machines):
    bucket = open_store(ADDRESS)
    size = {"size": 1, "type": "file"}
    names = ("../x", "a/../../x", "/etc/x", "a//b", "a\\b", "config.json")
    bucket.files.find = lambda *_, **__: {bucket.path(name): size for name in names}
    assert set(listing(bucket)) == {"config.json"}


@pytest.mark.parametrize(
    ("address", "cure"),
    [
        ("s3://b/x", "its package is missing: pip install -r requirements-cloud.txt"),
        ("abfs://b/x", "[Ii]nstall adlfs"),
        ("gx://b/x", "no kind of store is called gx: give gs://BUCKET/PATH, s3://BUCKET/PATH"),
        ("file:///x/y", "give the path itself"),
        ("https://host/x", "it takes no files"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line(address, cure, monkeypatch):
    for package in ("s3fs", "adlfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=cure) as error:
        open_store(address)
    assert address in str(error.value) and "\n" not in str(error.value)


def test_patience_ends_and_a_full_disk_is_no_matter_of_it(two_machines):
    bucket, calls = open_store(ADDRESS), []

    def full():
        calls.append(1)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        patiently(bucket, full)
    assert len(calls) == 1
    assert patiently(bucket, lambda: calls.append(1) or 1 / (len(calls) - 2)) == 1.0
    assert len(PAUSES) == 2
