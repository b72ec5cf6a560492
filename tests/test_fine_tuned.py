"""convert.py and train.py as a user runs them: a head for letters, trained on transcripts."""

import json
import shutil
import sys

import pytest
from scripts import TINY, python, records

pytestmark = pytest.mark.commands


def test_a_converted_model_learns_letters_from_transcripts(tiny_run, tmp_path):
    run = tmp_path / "letters"
    made = python(
        *(sys.executable, "convert.py", "--random", "toy_hubert", "--out", str(run)),
        *("--letters", "english"),
    )
    assert made.returncode == 0, made.stderr
    corpus = TINY[: TINY.index("--model.layers")]
    how = ["--objective", "ctc", "--batches.size", "4", "--batches.buckets", "1"]
    how += ["--loop.steps", "9", "--loop.log-every", "1", "--loop.valid-batches", "1"]
    how += [*corpus, "--corpus.data-dir", str(tiny_run.data)]

    copy = shutil.copytree(run, tmp_path / "copy")
    short = python(sys.executable, "train.py", str(copy), *how, "--batches.max-frames", "30")
    assert short.returncode == 2
    said = "batches.max-frames is 30, and every utterance of the train split is longer"
    assert said in short.stderr

    command = [sys.executable, "train.py", str(run), *how]
    trained = python(*command, "--batches.max-frames", "1500", "--optim.warmup-share", "0.1")
    assert trained.returncode == 0, trained.stderr
    assert "error_rate" in trained.stdout
    numbers = [record for record in records(run) if "loss" in record]
    assert numbers[-1]["loss"] < numbers[0]["loss"]
    assert records(run)[-1]["valid_error_rate"] > 0
    back = python(sys.executable, "convert.py", str(run), "--back", str(tmp_path / "back"))
    assert back.returncode == 0, back.stderr
    letters = json.loads((tmp_path / "back" / "vocab.json").read_text())
    assert letters["|"] == 4 and letters["<pad>"] == 0
