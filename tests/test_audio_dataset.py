"""Prepared datasets: whole or absent, resumed after a hard kill, read back as they were spoken."""

import dataclasses
import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from trees import RATE, noise, speak, write_folder, write_timit

from sat_jax.audio import container, corpora, dataset
from sat_jax.audio.container import block_sizes
from sat_jax.audio.corpora import CORPORA
from sat_jax.audio.dataset import directory_of, open_split, prepare
from sat_jax.audio.phones import PHONES
from sat_jax.config import Corpus, Talker
from sat_jax.errors import InputError

ROOT = Path(__file__).parent.parent
FILES = 70  # more than one part


def quiet(line):
    del line


def folder(tmp_path, count=FILES, **settings):
    """A corpus of tiny recordings."""
    if not (tmp_path / "wav").exists():
        spoken = [noise(f"{i:03d}", 0.03, ("ann", "bob")[i % 2]) for i in range(count)]
        write_folder(tmp_path / "wav", spoken, textgrids=False)
    settings = {"kind": "folder", "data_dir": tmp_path / "data", "workers": 1} | settings
    return Corpus(path=tmp_path / "wav", **settings)


def visible(data_dir):
    return sorted(p.name for p in data_dir.iterdir() if not p.name.startswith("."))


def left_over(data_dir):
    return [p.name for p in data_dir.iterdir() if p.name.startswith(".") and p.suffix != ".lock"]


def count_reads(monkeypatch, kind):
    """A list that grows by the id of every item that is decoded in this process."""
    seen, reader = [], CORPORA[kind]

    def read(item, corpus):
        seen.append(item.id)
        return reader.read(item, corpus)

    monkeypatch.setitem(CORPORA, kind, reader._replace(read=read))
    return seen


def run_child(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    corpus = Corpus(
        talker=Talker(speakers=3, utterances=4), data_dir=tmp_path_factory.mktemp("d"), workers=1
    )
    return corpus, prepare(corpus, quiet)


def test_what_was_spoken_is_read_back(talker):
    _, directory = talker
    split = open_split(directory, "all")
    spoken = speak(3, 4)
    assert len(split) == len(spoken) == 12
    for i, original in enumerate(spoken):
        got = split[i]
        assert got[:3] == original[:3]
        assert split.ids[i] == original.id
        assert split.speaker_names[split.speakers[i]] == original.speaker
        assert split.lengths[i] == len(original.audio)
        assert got.audio.dtype == np.int16
        assert got.phones.dtype == np.int32
        np.testing.assert_array_equal(got.audio, original.audio)
        np.testing.assert_array_equal(got.phones, original.phones)
    assert split.phone_names == list(PHONES)
    assert split.phone_source == "eSpeak NG phoneme events"
    assert split.lengths.dtype == split.speakers.dtype == np.int32
    assert [u.id for u in split.__getitems__([3, 0])] == [split.ids[3], split.ids[0]]


def test_splits_share_the_corpus_out(talker):
    _, directory = talker
    parts = [open_split(directory, name) for name in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [6, 3, 3]
    ids = [i for part in parts for i in part.ids]
    assert sorted(ids) == open_split(directory, "all").ids
    for part in parts:
        assert [part[i].id for i in range(len(part))] == part.ids
        assert {part.speaker_names[s] for s in part.speakers} == set(part.speaker_names)
        assert part.fingerprint == parts[0].fingerprint


def test_a_split_can_be_sent_to_another_process(talker):
    _, directory = talker
    split = open_split(directory, "test")
    first = split[0]
    again = pickle.loads(pickle.dumps(split))
    assert again[0].audio.tobytes() == first.audio.tobytes()
    assert again.ids == split.ids


def test_the_second_call_reads_nothing(talker, monkeypatch):
    corpus, directory = talker
    seen = count_reads(monkeypatch, "talker")
    monkeypatch.setattr(dataset, "list_items", None)
    told = []
    assert prepare(corpus, told.append) == directory
    assert seen == []
    assert "12 utterances" in told[0]


def test_a_pool_makes_the_same_corpus(tmp_path):
    corpora = [folder(tmp_path, workers=n, data_dir=tmp_path / str(n)) for n in (1, 2)]
    first, second = (open_split(prepare(corpus, quiet), "all") for corpus in corpora)
    assert first.fingerprint == second.fingerprint
    assert first.ids == second.ids
    assert [first[i].audio.tobytes() for i in range(FILES)] == [
        second[i].audio.tobytes() for i in range(FILES)
    ]


def test_neither_tensorflow_nor_jax_is_imported(talker):
    _, directory = talker
    child = run_child(
        """
        import sys
        from sat_jax.audio.dataset import open_split
        assert "tensorflow_datasets" not in sys.modules
        split = open_split(sys.argv[1], "all")
        assert len(split[0].audio) == split.lengths[0]
        print([name for name in ("tensorflow", "jax", "flax", "torch") if name in sys.modules])
        """,
        directory,
    )
    out, error = child.communicate()
    assert out == "[]\n", error


def test_metadata_travels_with_the_dataset(talker):
    _, directory = talker
    [path] = directory.glob("sat_speech/*/metadata.json")
    metadata = json.loads(path.read_text())
    assert metadata["sample_rate"] == RATE
    assert metadata["phone_names"] == list(PHONES)
    assert metadata["speakers"] == ["talker000", "talker001", "talker002"]
    assert metadata["fingerprint"] == open_split(directory, "all").fingerprint


def test_no_phones_are_no_rows_and_no_names(tmp_path):
    split = open_split(prepare(folder(tmp_path, 3), quiet), "all")
    assert split.phone_names == []
    assert split.phone_source == ""
    assert split[0].phones.shape == (0, 3)
    assert split[0].phones.dtype == np.int32


def test_labels_as_they_are_are_the_corpus_s_own_names(tmp_path):
    spoken = [noise(str(i)) for i in range(2)]
    write_timit(tmp_path / "t", spoken)
    phn = next((tmp_path / "t").rglob("SA2.PHN"))
    phn.write_text(phn.read_text().replace("aa", "zz"))
    corpus = Corpus(
        kind="timit", path=tmp_path / "t", phone_set="as-is", data_dir=tmp_path, workers=1
    )
    split = open_split(prepare(corpus, quiet), "all")
    assert split.phone_names == ["aa", "h#", "zz"]
    assert split.phone_source == "TIMIT .PHN"
    assert [u.phones[:, 2].tolist() for u in (split[0], split[1])] == [[1, 0, 1], [1, 2, 1]]


def test_blocks_keep_the_order(tmp_path, monkeypatch):
    assert block_sizes([5, 5, 5, 20, 1, 1], most=10) == [2, 1, 1, 2]
    monkeypatch.setattr(container, "BLOCK_BYTES", 2 * 480 * 2)  # two recordings each
    directory = prepare(folder(tmp_path), quiet)
    assert len(list(directory.glob("sat_speech/*/*.array_record*"))) == FILES // 2
    split = open_split(directory, "all")
    assert [split[i].id for i in range(FILES)] == split.ids == sorted(split.ids)


def test_the_directory_depends_on_every_field_that_changes_the_content(tmp_path):
    base = folder(tmp_path, 1, alignments=tmp_path / "a", speakers=tmp_path / "s.csv")
    other = {
        "kind": "timit",
        "path": tmp_path / "b",
        "alignments": tmp_path / "c",
        "speakers": tmp_path / "d.csv",
        "phone_set": "as-is",
        "split": "speaker",
        "valid_share": 0.2,
        "test_share": 0.2,
        "skip_bad": True,
        "seed": 1,
    }
    same = {"data_dir": tmp_path / "e", "workers": 7, "talker": Talker(1, 1)}
    assert set(other) | set(same) == {f.name for f in dataclasses.fields(Corpus)}
    names = {directory_of(dataclasses.replace(base, **{k: v})).name for k, v in other.items()}
    assert len(names | {directory_of(base).name}) == len(other) + 1
    for name, value in same.items():
        assert directory_of(dataclasses.replace(base, **{name: value})).name == (
            directory_of(base).name
        )
    spoken = {directory_of(Corpus(talker=Talker(n, 1))).name for n in (1, 2)}
    assert len(spoken) == 2


KILL = """
    import os, sys
    from pathlib import Path
    from sat_jax.audio.corpora import CORPORA
    from sat_jax.audio.dataset import prepare
    from sat_jax.config import Corpus
    root, where = Path(sys.argv[1]), sys.argv[2]
    reader, seen = CORPORA["folder"], []
    def read(item, corpus):
        seen.append(item.id)
        if where == "reading" and len(seen) == 67:
            os._exit(9)
        return reader.read(item, corpus)
    CORPORA["folder"] = reader._replace(read=read)
    if where == "writing":
        from sat_jax.audio import container
        read_part = container.read_part
        def read_some(path, names):
            for number, record in enumerate(read_part(path, names)):
                if number == 5:
                    os._exit(9)
                yield record
        container.read_part = read_some
    prepare(Corpus(kind="folder", path=root / "wav", data_dir=root / "data", workers=1))
"""


@pytest.mark.parametrize(("where", "again"), [("reading", FILES - 64), ("writing", 0)])
def test_a_killed_preparation_goes_on_where_it_was(tmp_path, monkeypatch, where, again):
    corpus = folder(tmp_path)
    assert run_child(KILL, tmp_path, where).wait() == 9
    assert visible(corpus.data_dir) == []
    seen = count_reads(monkeypatch, "folder")
    resumed = open_split(prepare(corpus, quiet), "all")
    assert len(seen) == again
    assert left_over(corpus.data_dir) == []
    straight = dataclasses.replace(corpus, data_dir=tmp_path / "straight")
    expected = open_split(prepare(straight, quiet), "all")
    assert resumed.fingerprint == expected.fingerprint
    for i in range(FILES):
        assert resumed[i].audio.tobytes() == expected[i].audio.tobytes()


def test_workers_of_a_killed_parent_end(tmp_path):
    folder(tmp_path)
    script = tmp_path / "prepare_slowly.py"
    script.write_text(
        textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from sat_jax.audio.corpora import CORPORA
        from sat_jax.audio.dataset import prepare
        from sat_jax.config import Corpus
        root = Path(sys.argv[1])
        def read(item, corpus):
            (root / f"{os.getpid()}.pid").touch()
            time.sleep(60)
        # Runs in the workers too: they import this file.
        CORPORA["folder"] = CORPORA["folder"]._replace(read=read)
        if __name__ == "__main__":
            prepare(Corpus(kind="folder", path=root / "wav", data_dir=root / "d", workers=2))
        """)
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, script, tmp_path], env=environment)
    deadline = time.monotonic() + 30
    while len(workers := [int(p.stem) for p in tmp_path.glob("*.pid")]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while (alive := [w for w in workers if is_running(w)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for worker in alive:
        os.kill(worker, signal.SIGKILL)
    assert alive == []


def is_running(pid):
    """A process that has ended may still be listed, as a zombie that nobody waits for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_files_that_changed_since_the_kill_are_read_again(tmp_path, monkeypatch):
    corpus = folder(tmp_path)
    assert run_child(KILL, tmp_path, "reading").wait() == 9
    changed = tmp_path / "wav" / "ann" / "000.wav"
    soundfile.write(changed, noise("another", 0.04).audio, RATE)
    seen = count_reads(monkeypatch, "folder")
    split = open_split(prepare(corpus, quiet), "all")
    assert len(seen) == FILES
    assert (
        split[split.ids.index("ann/000")].audio.tobytes() == noise("another", 0.04).audio.tobytes()
    )
    assert left_over(corpus.data_dir) == []


def test_two_processes_at_once_make_one_corpus(tmp_path):
    corpus = folder(tmp_path)
    script = """
        import sys, time
        from pathlib import Path
        from sat_jax.audio import container
        from sat_jax.audio.dataset import open_split, prepare
        from sat_jax.config import Corpus
        root, write_dataset = Path(sys.argv[1]), container.write_dataset
        def write_slowly(*arguments):
            print("writing")
            time.sleep(1)
            write_dataset(*arguments)
        container.write_dataset = write_slowly
        path = prepare(Corpus(kind="folder", path=root / "wav", data_dir=root / "data", workers=1))
        split = open_split(path, "all")
        assert len(split[len(split) - 1].audio) == 480
        print(split.fingerprint)
    """
    children = [run_child(script, tmp_path) for _ in range(2)]
    ends = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], ends
    lines = [line for out, _ in ends for line in out.splitlines()]
    assert lines.count("writing") == 1
    assert len({out.splitlines()[-1] for out, _ in ends}) == 1
    assert visible(corpus.data_dir) == [directory_of(corpus).name]
    assert left_over(corpus.data_dir) == []


def test_without_locks_the_last_one_in_discards_its_copy(tmp_path, monkeypatch):
    corpus = folder(tmp_path, 3)
    first = prepare(dataclasses.replace(corpus, data_dir=tmp_path / "other"), quiet)

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "no locks")

    def overtaken(*arguments):
        shutil.copytree(first, directory_of(corpus))  # another process, a moment earlier
        write_dataset(*arguments)

    write_dataset = container.write_dataset
    monkeypatch.setattr(dataset.fcntl, "flock", refuse)
    monkeypatch.setattr(container, "write_dataset", overtaken)
    directory = prepare(corpus, quiet)
    assert visible(corpus.data_dir) == [directory.name]
    assert left_over(corpus.data_dir) == []
    assert len(open_split(directory, "all")[0].audio) == 480


def break_some(tmp_path):
    """Two kinds of faults, in the first and in the last part."""
    first, second, *_, last = sorted((tmp_path / "wav").rglob("*.wav"))
    first.write_bytes(b"")
    soundfile.write(second, noise("s").audio[:100], RATE)
    last.write_bytes(b"")


def test_the_first_bad_item_ends_the_run(tmp_path):
    corpus = folder(tmp_path, 6)
    break_some(tmp_path)
    with pytest.raises(InputError, match=r"000\.wav: the file is empty.*--corpus\.skip-bad") as e:
        prepare(corpus, quiet)
    assert "\n" not in str(e.value)
    assert visible(corpus.data_dir) == []


def test_bad_items_are_skipped_counted_and_stored(tmp_path):
    corpus = folder(tmp_path, skip_bad=True)
    break_some(tmp_path)
    told = []
    directory = prepare(corpus, told.append)
    assert len(open_split(directory, "all")) == FILES - 3
    skipped = json.loads((directory / "corpus.json").read_text())["skipped"]
    assert {reason: entry["count"] for reason, entry in skipped.items()} == {
        "empty audio": 2,
        "audio shorter than one window": 1,
    }
    assert any(line.startswith("skipped 2: empty audio") and "000.wav" in line for line in told)


def test_a_bad_item_in_a_pool_ends_the_run(tmp_path):
    corpus = folder(tmp_path, workers=2)
    break_some(tmp_path)
    with pytest.raises(InputError, match=r"000\.wav: the file is empty"):
        prepare(corpus, quiet)
    assert visible(corpus.data_dir) == []


def test_nothing_but_bad_items_is_an_error_all_the_same(tmp_path):
    corpus = folder(tmp_path, 3, skip_bad=True)
    break_some(tmp_path)
    with pytest.raises(InputError, match="all 3 utterances of .* are bad"):
        prepare(corpus, quiet)
    assert visible(corpus.data_dir) == []


def test_conversions_are_told_once_per_corpus(tmp_path):
    for i in range(5):
        stereo = np.stack([noise(str(i)).audio] * 2, axis=1)
        (tmp_path / "wav").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "wav" / f"{i}.wav", stereo, 8000)
    told = []
    directory = prepare(folder(tmp_path), told.append)
    assert told[:2] == [
        "5 recordings were 8000 Hz and were resampled to 16000 Hz",
        "5 recordings were of 2 channels and were mixed down to one",
    ]
    assert json.loads((directory / "corpus.json").read_text())["notes"]
    assert len(told) == 3
    shutil.rmtree(tmp_path / "data")
    for i in range(4):
        (tmp_path / "wav" / f"{i}.wav").unlink()
    prepare(folder(tmp_path), told.append)
    assert told[3] == "1 recording was 8000 Hz and was resampled to 16000 Hz"


def test_impossible_splits_end_before_anything_is_read(tmp_path, monkeypatch):
    seen = count_reads(monkeypatch, "folder")
    with pytest.raises(InputError, match="at least 3 speakers and this corpus has 2"):
        prepare(folder(tmp_path, split="speaker"), quiet)
    with pytest.raises(InputError, match="no subsets of its own"):
        prepare(folder(tmp_path, split="official"), quiet)
    assert seen == []


def test_a_corpus_of_two_can_be_analysed_but_not_split(tmp_path):
    directory = prepare(folder(tmp_path, 2), quiet)
    assert len(open_split(directory, "all")) == 2
    with pytest.raises(InputError, match=r"the valid split is empty \(2 utterances"):
        open_split(directory, "valid")


def test_wrong_names_of_splits_and_directories_are_named(talker, tmp_path):
    with pytest.raises(InputError, match="give one of train, valid, test, all"):
        open_split(talker[1], "dev")
    with pytest.raises(InputError, match="is not a prepared corpus"):
        open_split(tmp_path, "all")


FULL = """
    import resource, sys
    from pathlib import Path
    from sat_jax.audio.dataset import prepare
    from sat_jax.config import Corpus
    from sat_jax.errors import InputError
    root, most = Path(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    try:
        prepare(Corpus(kind="folder", path=root / "wav", data_dir=root / "data", workers=1))
    except InputError as error:
        print(error)
"""


@pytest.mark.parametrize(("most", "finished"), [(30_000, 0), (72_000, 2)])
def test_no_room_ends_in_one_line_and_leaves_nothing_half_written(tmp_path, most, finished):
    """A limit on file sizes stands in for a full disk: the same calls fail, for another reason.

    The first limit stops a part, the second one the shard that is made of two parts.
    """
    corpus = folder(tmp_path)
    out, error = run_child(FULL, tmp_path, most).communicate()
    assert out.count("\n") == 1, error
    assert out.startswith(f"corpus.data-dir {corpus.data_dir}: a file may not grow any more")
    assert visible(corpus.data_dir) == []
    assert len(list(corpus.data_dir.glob(".*.parts-*/*.json"))) == finished
    assert not list(corpus.data_dir.glob(".*.new-*"))
    assert not list(corpus.data_dir.glob(".*/*.tmp"))
    assert len(open_split(prepare(corpus, quiet), "all")) == FILES


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EDQUOT, "the quota is used up"),
    ],
)
@pytest.mark.parametrize("call", ["mkdir", "replace"])
def test_a_full_or_unwritable_disk_is_named(tmp_path, monkeypatch, code, told, call):
    corpus = folder(tmp_path, 3)

    def fail(path, *arguments, **options):
        if tmp_path / "data" in (Path(path), *Path(path).parents):
            raise OSError(code, os.strerror(code), str(path))
        return original(path, *arguments, **options)

    original = getattr(os, call)
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(InputError, match=f"corpus.data-dir .*{told}.*--corpus.data-dir"):
        prepare(corpus, quiet)
    monkeypatch.undo()
    assert not corpus.data_dir.exists() or visible(corpus.data_dir) == []


def test_a_data_dir_that_is_a_file_is_named(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match="this path is a file"):
        prepare(folder(tmp_path, 3), quiet)
    with pytest.raises(InputError, match="a part of this path is a file"):
        prepare(folder(tmp_path, 3, data_dir=tmp_path / "data" / "x"), quiet)


def test_every_kind_has_a_reader_of_its_fields():
    fields = {field.name for field in dataclasses.fields(Corpus)}
    for reader in corpora.CORPORA.values():
        assert set(reader.fields) <= fields
