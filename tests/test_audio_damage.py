"""A prepared corpus of which a file was damaged: never other data, and one line with the cure."""

import json
import random
import shutil

import pytest
from trees import count_reads, quiet

from sat_jax.audio import parts
from sat_jax.audio.corpora import list_items
from sat_jax.audio.dataset import prepare
from sat_jax.audio.prepared import open_split
from sat_jax.config import Corpus, Talker
from sat_jax.errors import InputError

FILES = ("corpus.json", "index.npz", "dataset_info.json", "features.json", "*.array_record*")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    data = tmp_path_factory.mktemp("d")
    return Corpus(talker=Talker(speakers=3, utterances=4), data_dir=data, workers=1)


@pytest.fixture(scope="module")
def prepared(corpus):
    return prepare(corpus, quiet)


def everything(directory):
    split = open_split(directory, "all")
    read = [(*split[i][:3], split[i].audio.tobytes(), split[i].phones.tobytes()) for i in range(12)]
    own = split.ids, split.lengths.tolist(), split.speakers.tolist(), split.rows.tolist()
    return read, own, split.phone_names, split.phone_manners, split.speaker_names, split.fingerprint


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [None, 0, 0.5])
def test_a_file_that_has_gone_or_was_cut_short_is_named(prepared, tmp_path, name, left):
    directory = shutil.copytree(prepared, tmp_path / "copy")
    (path,) = directory.rglob(name)
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    if (name, left) == ("corpus.json", None):  # by it a directory is known to be prepared
        with pytest.raises(InputError, match="is not a prepared corpus"):
            everything(directory)
        return
    with pytest.raises(InputError) as raised:
        everything(directory)
    said = str(raised.value)
    assert said.startswith(f"{directory}: ") and "\n" not in said
    assert said.endswith("or delete this directory and the same command prepares it anew")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_noticed_or_changes_nothing(prepared, tmp_path, name):
    directory = shutil.copytree(prepared, tmp_path / "copy")
    (path,) = directory.rglob(name)
    whole, want = path.read_bytes(), everything(prepared)
    draw, noticed = random.Random(0), 0
    for _ in range(12):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            assert everything(directory) == want
        except InputError as error:
            noticed += "cannot be read" in str(error)
    assert noticed > 3


def test_a_corpus_from_before_there_were_checksums_opens(prepared, tmp_path):
    directory = shutil.copytree(prepared, tmp_path / "copy")
    content = json.loads((directory / "corpus.json").read_text())
    del content["sha256"]
    (directory / "corpus.json").write_text(json.dumps(content))
    assert everything(directory) == everything(prepared)


@pytest.mark.parametrize("damaged", ["00001.part", "00001.json", "00000.json"])
@pytest.mark.parametrize("left", [None, 0, 0.5])
def test_a_part_that_a_power_failure_cut_short_is_made_again(
    corpus, tmp_path, monkeypatch, damaged, left
):
    monkeypatch.setattr(parts, "CHUNK", 5)
    items, ignored = list_items(corpus), lambda *_: None
    before = parts.write_parts(items, corpus, tmp_path, ignored)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if left is None:
        (tmp_path / damaged).unlink()
    else:
        (tmp_path / damaged).write_bytes(whole[damaged][: int(left * len(whole[damaged]))])
    seen = count_reads(monkeypatch, "talker")
    assert parts.write_parts(items, corpus, tmp_path, ignored) == before
    number = int(damaged[:5])
    assert seen == [item.id for item in items[5 * number : 5 * number + 5]]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
