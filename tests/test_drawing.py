"""Figures drawn by a process of their own: the same files, failures said, no process left."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.study.drawing import Drawing
from sat_jax.study.sections import keep_sections, kept_sections


def figure_of(seed=0):
    with style.applied():
        figure = Figure(figsize=(2, 2))
        axes = style.place(figure, 0.3, 0.3, 1.5, 1.5)
        axes.plot(np.random.default_rng(seed).normal(size=20), label="ŋ $ 1")
        axes.legend()
    return figure


PIPE = {"stdout": subprocess.PIPE, "text": True, "check": False}


def draw(figure, directory, meanwhile=lambda: None, then=(print,)):
    """One figure, and what happens while it is drawn."""
    with Drawing() as drawing:
        drawing.save(figure, directory, "one", False)
        drawing.finish_study(*then)
        drawing.save(figure, directory, "two", False)
        meanwhile()


def test_files_are_those_of_save_and_sections_come_after_them(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    style.save(figure_of(), here, "one")
    with Drawing() as drawing:
        drawing.save(figure_of(), there, "one")
        drawing.save(figure_of(1), there, "two", False)
        assert not there.exists(), "nothing is drawn before its study is finished"
        drawing.finish_study(keep_sections, tmp_path, "heads", [])
        drawing.save(figure_of(2), there, "three", False)
        drawing.finish_study(keep_sections, tmp_path, "phones", [])
    assert {path.name for path in there.iterdir()} == {"one.png", "one.pdf", "two.png", "three.png"}
    for name in ("one.png", "one.pdf"):
        assert (there / name).read_bytes() == (here / name).read_bytes()
    assert kept_sections(tmp_path, "heads") == [] == kept_sections(tmp_path, "phones")
    assert (tmp_path / "analysis" / "sections" / "phones.json").exists()


def test_what_cannot_be_written_is_said_and_its_study_is_not_kept(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        draw(figure_of(), tmp_path / "file", then=(keep_sections, tmp_path, "heads", []))
    assert not (tmp_path / "analysis").exists()


def test_a_figure_that_cannot_be_drawn_shows_its_traceback(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)could not be drawn.*style.py.*in save"):
        draw(None, tmp_path)


def test_studies_finished_before_one_failed_are_kept(tmp_path):
    with pytest.raises(ZeroDivisionError):
        draw(figure_of(), tmp_path, lambda: 1 / 0, (keep_sections, tmp_path, "heads", []))
    assert (tmp_path / "one.png").exists()
    assert not (tmp_path / "two.png").exists()
    assert (tmp_path / "analysis" / "sections" / "heads.json").exists()


def test_a_drawing_process_that_is_killed_is_named(tmp_path):
    def kill():
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(InputError, match="process that draws them was ended from outside"):
        draw(figure_of(), tmp_path, kill, (time.sleep, 60))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_the_process_that_measures(tmp_path, number):
    script = tmp_path / "measures.py"
    script.write_text(
        "import signal, time\n"
        "from sat_jax.study.drawing import Drawing\n"
        "if __name__ == '__main__':\n"
        # Started in the background of a shell, a process ignores it, and so do its own.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    with Drawing() as drawing:\n"
        "        drawing.finish_study(time.sleep, 60)\n"
        "        print('given', flush=True)\n"
        "        time.sleep(60)\n"
    )
    root = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout.readline() == b"given\n"
    time.sleep(1)
    os.kill(process.pid, number)
    process.wait(10)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _group(process.pid):
        time.sleep(0.1)
    assert not _group(process.pid)


def _group(number):
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-g", str(number)], **PIPE)
    return [line for line in listed.stdout.splitlines() if " Z" not in line]
