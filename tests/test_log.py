"""Logs of a run that goes on, alarms, and the table of heads."""

import collections
import csv
import json

import numpy as np
import pytest

from sat_jax.errors import InputError
from sat_jax.figures.heads import HeadTable
from sat_jax.figures.tables import write_heads
from sat_jax.pretrain import log, watch
from sat_jax.pretrain.step import StepMetrics
from sat_jax.study.head_sections import training_summary


def metrics(loss=1.0, finite=True):
    return StepMetrics(loss, np.array([loss, 0.8]), 2.0, finite)


def test_a_resumed_log_takes_back_what_lies_ahead(tmp_path):
    lines = [json.dumps({"step": step, "loss": step / 10}) for step in range(1, 6)]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(lines) + '\n{"step": 6, "lo')
    assert [r["step"] for r in log.read_metrics(path)] == [1, 2, 3, 4, 5]
    sinks = log.open_sinks(tmp_path, 3)
    log.write_metrics(sinks, 4, {"loss": 0.1 + 0.2})
    bar = log.open_bar(10, 3)
    log.close(sinks, bar)
    assert [r["step"] for r in log.read_metrics(path)] == [1, 2, 3, 4]
    assert log.read_metrics(path)[-1]["loss"] == 0.1 + 0.2


def test_a_window_counts_speech_time_and_waiting():
    window = log.Window(began=0.0, first=10)
    for _ in range(5):
        window = window.add(waited=0.25, speech=8.0)
    numbers = window.numbers(15, metrics(0.7), rate=0.1)
    assert numbers["loss"] == pytest.approx(0.7)
    assert numbers["mean_frame"] == pytest.approx(0.8)
    assert numbers["hours_per_hour"] / numbers["steps_per_second"] == pytest.approx(8.0)
    assert numbers["wait_share"] / numbers["steps_per_second"] == pytest.approx(0.25)


def test_progress_without_a_terminal_is_twenty_lines(capsys):
    bar = log.open_bar(1000, 0)
    numbers = log.Window(0.0, 0).add(0.0, 1.0).numbers(1, metrics(), 0.1)
    for step in range(10, 1001, 10):
        log.show(bar, step - 10, step, numbers)
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


def test_the_alarm_rings_only_where_the_mean_frame_is_as_good():
    good, bad = ({"smooth_loss": loss, "mean_frame": 0.8} for loss in (0.7, 0.8))
    assert watch.no_better_than_mean(500, 300, good) == ""
    said = watch.no_better_than_mean(500, 300, bad)
    assert "ALARM at step 500" in said
    assert "0.800" in said
    assert watch.no_better_than_mean(299, 300, bad) == ""
    # The running mean still remembers the first steps.
    assert watch.no_better_than_mean(50, 10, bad) == ""


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
        [{"step": 0, **record}, {"step": 2, "loss": 1.0}, {"step": 4, **record}]
    )
    for part in ("after 4 steps: 0.500", "mean frame 0.800", "gaps 0.400"):
        assert part in said
    assert training_summary([{"step": 1, "loss": 2.0}]) == ""
