"""attention.py: its jobs, what it refuses, how it goes on, what it writes about several seeds."""

import csv
import json
import subprocess
import sys

import pytest
from trees import ROOT

from sat_jax.commands.attention import Job, jobs_of, place, share_of
from sat_jax.config.attention import FREE
from sat_jax.config.study import AttentionStudy
from sat_jax.errors import InputError
from sat_jax.study.probed_runs import compare_algorithms


def test_there_is_a_job_for_every_algorithm_and_seed_seed_by_seed(tmp_path):
    jobs = jobs_of(AttentionStudy(out=tmp_path, seeds=2))
    assert len(jobs) == 2 * len(FREE) == len({job.directory for job in jobs})
    assert [job.seed for job in jobs] == [0] * len(FREE) + [1] * len(FREE)
    assert sorted(jobs, key=place)[:2] == [
        Job("qk", 0, tmp_path / "qk_s0"),
        Job("qk", 1, tmp_path / "qk_s1"),
    ]


def test_shares_deal_out_every_job_once(tmp_path):
    jobs = jobs_of(AttentionStudy(out=tmp_path, seeds=2))
    dealt = []
    for text in ("1/3", "2/3", "3/3"):
        first, of = share_of(text)
        dealt += jobs[first - 1 :: of]
    assert sorted(dealt) == sorted(jobs)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/2/3", "a/b", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(InputError, match="give for instance 1/2"):
        share_of(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--algorithms", "qq"), "algorithms has 'qq': give some of qk, q, sparse_strided"),
        (("--experiment", "toi"), "experiment is 'toi': give one of audio_albert"),
        (("--seeds", "0"), "seeds is 0: give at least 1"),
        (("--steps", "-1"), "steps is -1"),
    ],
)
def test_what_cannot_be_compared_is_one_line(arguments, message, tmp_path):
    command = [sys.executable, "attention.py", *arguments, "--out", str(tmp_path / "a")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "a").exists()


def probed(path, accuracy, loss):
    """A run directory with what the comparison reads."""
    (path / "analysis").mkdir(parents=True)
    names = [
        "model",
        "layer",
        "task",
        "probe",
        "accuracy",
        "low",
        "high",
        "chance",
        "log_mel_r2",
        "utterances",
        "steps",
    ]
    lines = [
        ("log-mel", "", "phone", "linear", 50, 49, 51, 10, 1, 9, 8),
        ("toy untrained", 2, "phone", "linear", 45, 44, 46, 10, 0.9, 9, 8),
        ("toy (step 9)", 2, "phone", "linear", accuracy, accuracy - 1, accuracy + 1, 10, 0.8, 9, 8),
    ]
    with open(path / "analysis" / "probes.csv", "w", newline="") as file:
        csv.writer(file).writerows([names, *lines])
    (path / "manifest.json").write_text("{}")
    record = {"step": 9, "valid_loss": loss, "valid_interpolation": 0.5, "valid_mean_frame": 0.8}
    (path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    return path


def test_seeds_are_averaged_and_every_run_is_a_row(tmp_path):
    runs = [
        ("qk", probed(tmp_path / "qk_s0", 60, 0.4)),
        ("qk", probed(tmp_path / "qk_s1", 64, 0.6)),
        ("q", probed(tmp_path / "q_s0", 58, 0.45)),
    ]
    compare_algorithms(runs, tmp_path / "out")
    with open(tmp_path / "out" / "algorithms.csv") as file:
        means = {(row["algorithm"], row["measure"]): row for row in csv.DictReader(file)}
    phone = means["qk", "phone"]
    assert [float(phone[name]) for name in ("mean", "lowest", "highest")] == [62, 60, 64]
    assert phone["seeds"] == "2"
    assert float(means["qk", "masked_l1"]["mean"]) == 0.5
    assert float(means["q", "straight_line"]["mean"]) == 0.5
    with open(tmp_path / "out" / "probes.csv") as file:
        models = [row["model"] for row in csv.DictReader(file)]
    assert models == ["log-mel", "toy untrained", "qk_s0", "qk_s1", "q_s0"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Means over seeds" in page


def test_a_run_that_was_not_probed_is_named(tmp_path):
    with pytest.raises(InputError, match=r"bare/analysis/probes\.csv: is missing; analyze\.py"):
        compare_algorithms([("qk", tmp_path / "bare")], tmp_path / "out")
