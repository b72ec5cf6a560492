"""A corpus that is prepared once and fetched by every other machine."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from fake_cloud import journal, root, tell
from small_runs import flip
from trees import folder

from sat_jax import cloud
from sat_jax.audio import dataset
from sat_jax.audio.prepared import open_split
from sat_jax.config import Analysis, Config, Corpus
from sat_jax.errors import InputError
from sat_jax.study.corpus import chosen_corpus

DATA = Path("gs://bucket/data")


@pytest.fixture
def prepared(two_machines, tmp_path):
    """A corpus that the first machine has prepared; what it said."""
    corpus = dataclasses.replace(folder(tmp_path, 3), data_dir=DATA)
    said = []
    dataset.prepare(corpus, said.append)
    return corpus, said


def there(corpus):
    return root() / "bucket" / "data" / dataset.directory_of(corpus).name


def contents(directory):
    return {p.name: p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_the_second_machine_fetches_what_the_first_prepared(prepared, two_machines):
    corpus, said = prepared
    first = dataset.directory_of(corpus)
    assert any(
        line.startswith(f"uploading {DATA.parent}".replace("gs:/", "gs://")) for line in said
    )
    assert [line.split("/")[-1] for line in journal()][-2:] == ["checksums.sha256", "corpus.json"]
    config = json.loads((first / "corpus.json").read_text())["config"]
    assert config["data_dir"] == "gs://bucket/data"
    two_machines("second")
    shutil.rmtree(corpus.path)
    said, at = [], len(journal())
    second = dataset.prepare(corpus, said.append)
    assert second != first and second == dataset.directory_of(corpus)
    assert contents(second) == contents(first)
    assert said[0].startswith(f"fetching gs://bucket/data/{first.name}: ")
    assert len(open_split(second, "all")) == 3 and open_split(second, "all")[0].audio.size
    assert [path.name for path in second.parent.iterdir() if path.is_dir()] == [second.name]
    assert len(journal()) == at
    # And every process of several gets it in the same way.
    two_machines("third")
    assert contents(dataset.receive(corpus)) == contents(first)


def test_what_is_not_whole_there_is_prepared_here_and_uploaded(prepared, two_machines):
    corpus, _ = prepared
    whole = contents(there(corpus))
    two_machines("second")
    for spoil, expected in (
        (lambda: (there(corpus) / "corpus.json").unlink(), "reading"),
        (lambda: flip(there(corpus) / "index.npz"), "index.npz is not what was saved"),
    ):
        spoil()
        at = len(journal())
        shutil.rmtree(dataset.directory_of(corpus), ignore_errors=True)
        said = []
        dataset.prepare(corpus, said.append)
        assert expected in " ".join(said) or expected == "reading"
        assert contents(there(corpus)).keys() == whole.keys()
        assert contents(there(corpus))["index.npz"] == whole["index.npz"]
    # No moment at which it would count with files of both.
    assert journal()[at].startswith("rm ") and journal()[at].endswith("corpus.json")
    (there(corpus) / "corpus.json").unlink()
    two_machines("third")
    with pytest.raises(InputError, match="is not whole, so that this host has no copy"):
        dataset.receive(corpus)


def test_without_a_network_what_is_here_is_taken(prepared, two_machines):
    corpus, _ = prepared
    tell(root(), fail=["find", "put", "get"])
    said = []
    assert dataset.prepare(corpus, said.append) == dataset.directory_of(corpus)
    assert any(line.startswith("not uploaded: gs://bucket/data/folder-") for line in said)
    two_machines("second")
    with pytest.raises(InputError, match="the network is down"):
        dataset.prepare(corpus, said.append)


def test_somebody_elses_run_has_its_corpus_fetched_from_its_own_bucket_only(prepared, two_machines):
    corpus, _ = prepared
    two_machines("second")
    config, given = Config(corpus=corpus), Analysis(corpus=Corpus(kind="", data_dir=DATA))
    with pytest.raises(InputError, match=r"give --corpus.data-dir gs://bucket/data to prepare"):
        chosen_corpus(Path("runs/x"), config, Analysis())
    assert not dataset.directory_of(corpus).exists()
    assert chosen_corpus(Path("runs/x"), config, given)[0] == corpus
    run = cloud.fetched(Path("gs://bucket/runs/x"), "results")
    assert chosen_corpus(run, config, Analysis())[0] == corpus
    assert (dataset.directory_of(corpus) / "corpus.json").exists()
