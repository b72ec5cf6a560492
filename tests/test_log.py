"""Logs of a run that goes on, alarms, and the table of heads."""

import collections
import csv
import json
import time

import numpy as np
import pytest

from sat_jax.config import AdamW, Config, Loop, MaskedReconstruction
from sat_jax.errors import InputError
from sat_jax.figures.tables import write_heads
from sat_jax.pretrain import log, speed, terminal, watch
from sat_jax.pretrain.objectives.reconstruction import Reconstruction
from sat_jax.pretrain.objectives.table import objective_of
from sat_jax.pretrain.step import StepMetrics
from sat_jax.records.heads import HeadTable
from sat_jax.study.head_sections import training_summary


def metrics(loss=1.0, finite=True):
    losses = Reconstruction(loss, 0.8, 0.5, 10)
    return StepMetrics(losses, np.array([loss, 0.8]), 2.0, {"input": 1.5}, finite)


def numbers_of(window, done, found):
    return log.numbers_of(found, "mean_frame", 0.1) | window.numbers(done)


def test_a_resumed_log_takes_back_what_lies_ahead(tmp_path):
    lines = [json.dumps({"step": step, "loss": step / 10}) for step in range(1, 6)]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(lines) + '\n{"step": 6, "lo')
    assert [r["step"] for r in log.read_metrics(path)] == [1, 2, 3, 4, 5]
    sinks = log.open_sinks(tmp_path, 3)
    log.write_metrics(sinks, 4, {"loss": 0.1 + 0.2})
    log.close_sinks(sinks)
    assert [r["step"] for r in log.read_metrics(path)] == [1, 2, 3, 4]
    assert log.read_metrics(path)[-1]["loss"] == 0.1 + 0.2


def test_a_window_counts_speech_time_and_waiting():
    window = speed.Window(began=time.perf_counter() - 5.0, first=10)
    for _ in range(5):
        window = window.add(waited=0.25, devices=0.5, speech=8.0, utterances=4, flops=2e12)
    numbers = numbers_of(window, 15, metrics(0.7))
    assert numbers["loss"] == pytest.approx(0.7)
    assert numbers["mean_frame"] == pytest.approx(0.8)
    assert numbers["interpolation"] == 0.5
    assert numbers["grad_norm/input"] == 1.5
    assert "count" not in numbers
    assert numbers["steps_per_second"] == pytest.approx(1.0, rel=0.05)
    assert numbers["utterances_per_second"] == pytest.approx(4.0, rel=0.05)
    assert numbers["hours_per_hour"] / numbers["steps_per_second"] == pytest.approx(8.0)
    assert numbers["wait_share"] / numbers["steps_per_second"] == pytest.approx(0.25)
    assert numbers["device_share"] / numbers["wait_share"] == pytest.approx(2.0)
    shares = [numbers[f"{name}_share"] for name in ("wait", "host", "device")]
    assert sum(shares) == pytest.approx(1.0)
    assert numbers["tflops_per_second"] == pytest.approx(2.0, rel=0.05)
    assert "mfu" not in numbers
    assert window.numbers(15, peak=4e12)["mfu"] == pytest.approx(0.5, rel=0.05)


def written(path, *lines):
    path.write_bytes(b"".join(lines))
    return path


LINES = [json.dumps({"step": step, "loss": step / 10}).encode() + b"\n" for step in range(6)]


@pytest.mark.parametrize(
    ("lines", "steps", "damaged"),
    [
        ([*LINES], [0, 1, 2, 3, 4, 5], []),
        ([], [], []),
        # A crash cut the last line short, or only its end of line.
        ([*LINES[:2], LINES[2][:9]], [0, 1], []),
        ([*LINES[:2], LINES[2][:-1]], [0, 1, 2], []),
        # Zeros, as a file system leaves them after a power failure: at the end, and gone on from.
        ([*LINES[:2], bytes(50)], [0, 1], [3]),
        ([LINES[0], bytes(50), LINES[1]], [0, 1], [2]),
        # Broken lines inside: nonsense, half a line that was gone on from, another kind of value.
        ([LINES[0], b"xx\n", LINES[1]], [0, 1], [2]),
        ([LINES[0], LINES[3][:12], LINES[1]], [0, 1], [2]),
        ([LINES[0], LINES[3][:12] + b"\n", LINES[1]], [0, 1], [2]),
        ([LINES[0], b"\xff\xfe\n", b"[1]\n", b'{"loss": 1}\n', LINES[1]], [0, 1], [2, 3, 4]),
        # What restarts of older versions left: step 0 more than once.
        ([LINES[0], LINES[0], LINES[0], LINES[1]], [0, 1], []),
    ],
)
def test_metrics_are_read_as_far_as_they_can_be(tmp_path, lines, steps, damaged):
    path = written(tmp_path / "metrics.jsonl", *lines)
    records, found = log.parse_metrics(path)
    assert [record["step"] for record in records] == steps
    assert all(record["loss"] == record["step"] / 10 for record in records)
    assert found == damaged
    said = []
    log.close_sinks(log.open_sinks(tmp_path, 5, said.append))
    kept = [line for line in LINES if json.loads(line)["step"] in steps]
    assert path.read_bytes() == b"".join(kept)
    assert bool(damaged) == any("damaged in line" in line for line in said)


def test_a_run_that_begins_again_at_step_0_has_its_first_record_once(tmp_path):
    for _ in range(3):
        sinks = log.open_sinks(tmp_path, 0)
        log.write_metrics(sinks, 0, {"valid_loss": 1.0})
        log.write_metrics(sinks, 1, {"loss": 0.9})
        log.close_sinks(sinks)
    path = tmp_path / "metrics.jsonl"
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1]


def test_records_that_are_gone_are_said(tmp_path):
    said = []
    log.close_sinks(log.open_sinks(tmp_path, 100, said.append))
    assert "the records of the 100 steps that are done are missing" in said[0]


@pytest.mark.parametrize("text", ["", '{"data": {}, "sess', "[]", '{"sessions": 3}', "\0\0", "é"])
def test_a_manifest_that_cannot_be_read_is_kept_aside(tmp_path, text):
    path, said = tmp_path / "manifest.json", []
    path.write_text(text, encoding="latin-1")
    for _ in range(2):
        log.write_manifest(tmp_path, {"directory": "data"}, ["cpu:0"], said.append)
    assert len(json.loads(path.read_text())["sessions"]) == 2
    assert (tmp_path / "manifest.broken.json").read_text(encoding="latin-1") == text
    assert said == [f"{path}: cannot be read; kept as manifest.broken.json, and a new one begins"]


def test_a_longer_run_says_what_the_learning_rate_does():
    optim = AdamW(peak_lr=1.0, warmup_share=0.1)
    said = watch.longer(optim, Loop(steps=200), before=100, start=100)
    for part in ("loop.steps was 100 and is 200", "from 0.0111 at step 100 to 0.556 at step 101"):
        assert part in said
    for loop, before, start in ((Loop(steps=100), 100, 50), (Loop(steps=200), 100, 0)):
        assert watch.longer(optim, loop, before, start) == ""
    # An exported run begins its schedule at the step at which it was exported.
    exported = Loop(steps=300, first=100)
    assert "from 0.0111 at step 200" in watch.longer(optim, exported, 200, 200)
    assert watch.longer(optim, exported, 100, 100) == ""


def test_progress_without_a_terminal_is_twenty_lines(capsys):
    numbers = numbers_of(speed.Window(0.0, 0).add(0.0, 0.0, 1.0, 1, 0.0), 1, metrics())
    with terminal.open_terminal() as screen:
        terminal.open_bar(screen, 1000, 0)
        for step in range(10, 1001, 10):
            terminal.show(screen, step - 10, step, numbers)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 20
    assert said[-1].startswith("step 1000/1000")
    for part in ("steps/s", "h/h", "loss 1.0000", "ETA 00:00:00"):
        assert part in said[-1]


def test_steps_in_flight_are_settled_in_order():
    pending = collections.deque((n, np.array([0]), metrics(float(n))) for n in range(1, 6))
    assert watch.settle(pending, 2, ["a"]).loss == 3.0
    assert [number for number, *_ in pending] == [4, 5]
    assert watch.settle(pending, 2, ["a"]) is None


def test_a_broken_step_names_itself_and_its_utterances():
    good, bad = metrics(), metrics(float("nan"), finite=False)
    pending = collections.deque([(7, np.array([0, 1]), good), (8, np.array([2, -1, 0]), bad)])
    with pytest.raises(InputError, match="step 8: loss nan, .*utterances c, a: listen"):
        watch.settle(pending, 0, ["a", "b", "c"])


CONFIG = Config(objective=MaskedReconstruction())


def alarm(done, warmup, numbers):
    return watch.alarm_of(done, warmup, numbers, objective_of(CONFIG.objective), CONFIG)


def test_the_alarm_rings_only_where_the_mean_frame_is_as_good():
    good, bad = ({"smooth_loss": loss, "mean_frame": 0.8} for loss in (0.7, 0.8))
    assert alarm(500, 300, good) == ""
    said = alarm(500, 300, bad)
    assert "ALARM at step 500" in said
    assert "0.800" in said
    assert alarm(299, 300, bad) == ""
    # The running mean still remembers the first steps.
    assert alarm(50, 10, bad) == ""


def test_heads_as_csv(tmp_path):
    rng = np.random.default_rng(0)
    values = {k: rng.normal(size=(2, 3)) for k in ("globalness", "verticality", "diagonality")}
    values["weight"] = rng.random((2, 3))
    ranks = {name: np.arange(1, 7).reshape(2, 3) for name in values}
    table = HeadTable(
        name="m",
        metrics=values,
        low={k: v - 1 for k, v in values.items()},
        high={k: v + 1 for k, v in values.items()},
        ranks=ranks,
        rank_low=ranks,
        rank_high=ranks,
        category=np.array([["global", "vertical", "diagonal"]] * 2),
        category_share=np.full((2, 3), 0.5),
        utterances=9,
        shares={},
    )
    path = write_heads(tmp_path / "analysis" / "heads.csv", table)
    rows = list(csv.DictReader(path.open()))
    assert [(row["layer"], row["head"]) for row in rows][3] == ("2", "1")
    for index, row in enumerate(rows):
        at = divmod(index, 3)
        assert float(row["verticality_low"]) == pytest.approx(values["verticality"][at] - 1)
        assert int(row["rank_weight"]) == index + 1
        assert row["category"] == table.category[at]
        assert row["utterances"] == "9"
    broken = table._replace(metrics={**values, "weight": np.full((2, 3), np.nan)})
    with pytest.raises(InputError, match="not finite"):
        write_heads(path, broken)


def test_training_summary_names_both_baselines():
    record = {"valid_loss": 0.5, "valid_mean_frame": 0.8, "valid_interpolation": 0.4}
    said = training_summary(
        [{"step": 0, **record}, {"step": 2, "loss": 1.0}, {"step": 4, **record}], "talker-12"
    )
    # Whatever is analysed beside it, the number is that of the corpus that was trained on.
    assert "validation split of talker-12, which the model was trained on" in said
    for part in ("after 4 steps: 0.500", "mean frame 0.800", "gaps 0.400"):
        assert part in said
    assert training_summary([{"step": 1, "loss": 2.0}], "x") == ""


def test_tera_is_summed_up_with_its_masked_frames_beside_the_straight_line():
    first = {"step": 0, "valid_loss": 1.1, "valid_mean_frame": 0.8}
    last = {"step": 9, "valid_loss": 0.5, "valid_mean_frame": 0.8, "valid_time": 0.6}
    said = training_summary([first, {**last, "valid_interpolation": 0.55}], "talker")
    assert "after 9 steps: 0.500; untrained 1.100, predicting the mean frame 0.800" in said
    assert "On masked frames alone 0.600, where straight lines across the gaps have 0.550" in said
