"""Preparing: whole or absent, resumed after a hard kill, one line for every disk and bad item."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import soundfile
from trees import FILES, RATE, ROOT, count_reads, folder, noise, quiet, run_child

from sat_jax.audio import container, disk
from sat_jax.audio.dataset import directory_of, prepare
from sat_jax.audio.prepared import open_split
from sat_jax.errors import InputError


def visible(data_dir):
    return sorted(p.name for p in data_dir.iterdir() if not p.name.startswith("."))


def left_over(data_dir):
    return [p.name for p in data_dir.iterdir() if p.name.startswith(".") and p.suffix != ".lock"]


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
        from sat_jax.audio.dataset import prepare
        from sat_jax.audio.prepared import open_split
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
    monkeypatch.setattr(disk.fcntl, "flock", refuse)
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


def test_audio_that_is_not_read_is_told_before_the_reading(tmp_path):
    corpus = folder(tmp_path, 3)
    (tmp_path / "wav" / "a.amr").write_bytes(b"")
    told = []
    prepare(corpus, told.append)
    assert told[0].startswith("1 audio file is in a format that is not read (.amr; first: ")


def test_impossible_splits_end_before_anything_is_read(tmp_path, monkeypatch):
    seen = count_reads(monkeypatch, "folder")
    with pytest.raises(InputError, match="at least 3 speakers and this corpus has 2"):
        prepare(folder(tmp_path, split="speaker"), quiet)
    with pytest.raises(InputError, match="no subsets of its own"):
        prepare(folder(tmp_path, split="official"), quiet)
    assert seen == []


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
