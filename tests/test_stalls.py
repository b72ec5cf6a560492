"""A read that never comes back is named, and given up; one that comes back is not."""

import os
import signal
import subprocess
import sys
import time

from trees import quiet

from sat_jax.audio.dataset import prepare
from sat_jax.audio.prepared import open_split
from sat_jax.config import Corpus, Talker

FAST = "from sat_jax import stalls; stalls.TICK, stalls.SAID_AFTER, stalls.GIVEN_UP_AFTER = "


def ended(program):
    """Status and lines on stderr of a program in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    return result.returncode, result.stderr.splitlines()


def test_a_file_that_never_answers_is_named_and_given_up(tmp_path):
    """Opening a pipe that nobody writes to waits, as a disk that hangs does."""
    talker = Talker(speakers=3, utterances=4)
    prepared = prepare(Corpus(talker=talker, data_dir=tmp_path, workers=1), quiet)
    (shard,) = prepared.rglob("*.array_record*")
    shard.unlink()
    os.mkfifo(shard)
    name = f"{prepared}: utterance {open_split(prepared, 'train').ids[1]}"
    program = (
        f"{FAST} 0.01, 10, 80\n"
        "from sat_jax.audio.prepared import open_split\n"
        f"open_split({str(prepared)!r}, 'train')[1]"
    )
    said = [f"still waiting for {name} after {s} s: does its disk answer?" for s in (0.1, 0.2, 0.4)]
    given_up = (
        f"error: {name} did not come in 0.8 s: its disk does not answer; start the same command "
        "again when it does"
    )
    assert ended(program) == (1, [*said, given_up])


def test_a_recording_that_never_answers_is_named(tmp_path):
    path = tmp_path / "a.flac"
    os.mkfifo(path)
    program = (
        f"{FAST} 0.01, 10, 20\n"
        "import threading\n"
        "from pathlib import Path\n"
        "from sat_jax.audio.item import Item, read_item\n"
        f"item = Item('a', 'a', '', Path({str(path)!r}), None, '', None)\n"
        "threading.Thread(target=read_item, args=(item, None), daemon=True).start()\n"
        "import time; time.sleep(1)"
    )
    status, said = ended(program)
    assert said[0] == f"still waiting for recording {path} after 0.1 s: does its disk answer?"
    assert status == 0


def test_many_short_reads_are_no_long_one():
    program = (
        f"{FAST} 0.01, 50, 50\n"
        "import time\n"
        "for _ in range(50):\n"
        "    with stalls.reading('a'): time.sleep(0.02)"
    )
    assert ended(program) == (0, [])


def test_of_several_reads_the_oldest_is_named_and_the_next_one_in_its_turn():
    program = (
        f"{FAST} 0.01, 20, 10_000\n"
        "import sys, time\n"
        "said = []\n"
        "stalls._say = said.append\n"
        "def wait(lines):\n"
        "    while len(said) < lines: time.sleep(0.001)\n"
        "with stalls.reading('b'):\n"
        "    with stalls.reading('a'): wait(1)\n"
        "with stalls.reading('c'): wait(2)\n"
        "print(*said, sep='\\n', file=sys.stderr)"
    )
    lines = [f"still waiting for {what} after 0.2 s: does its disk answer?" for what in "bc"]
    assert ended(program) == (0, lines)


def test_what_may_take_its_time_is_not_given_up_but_a_read_beside_it_is():
    program = (
        f"{FAST} 0.01, 10, 30\n"
        "import time\n"
        "with stalls.waiting_for('a'):\n"
        "    time.sleep(1)\n"
        "    with stalls.reading('b'): time.sleep(60)"
    )
    status, said = ended(program)
    assert status == 1 and all("waiting for a after" in line for line in said[:-1])
    assert len(said) > 3 and "error: b did not come in 0.3 s" in said[-1]


def test_time_in_which_the_process_is_stopped_does_not_count():
    program = (
        f"{FAST} 0.02, 100, 200\n"
        "with stalls.reading('a'):\n"
        "    print('begun', flush=True)\n"
        "    input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
        text=True,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate("\n", timeout=60)
    assert (process.returncode, error) == (0, "")
