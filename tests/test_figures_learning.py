"""Runs side by side: their losses beside their baselines, and probes on their layers."""

import json

import numpy as np
import pytest
from legible import assert_legible
from segment_tables import LONG

from sat_jax.config import Config, Contrastive
from sat_jax.config.json import write_config
from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.learning import MOST, learning
from sat_jax.records.probes import ProbedLayer
from sat_jax.records.runs import LearningCurve
from sat_jax.study.learning import curve_of, learning_of


def curve(name, start):
    step = np.arange(10, 200, 10)
    return LearningCurve(name, "guessing", step, start * np.exp(-step / 100))


def probe(model, layer, kind, accuracy):
    ends = (accuracy - 2, accuracy + 1)
    return ProbedLayer(model, layer, "phone", kind, accuracy, *ends, 11.0, 0.5, 100, 600)


def probes(names):
    kinds = ("linear", "hidden layer")
    rows = []
    for number, name in enumerate(names):
        rows += [probe(name, None, kind, 56.0) for kind in kinds]
        rows += [probe(name, at, kind, 50.0 + number + at) for at in (0, 2, 6) for kind in kinds]
    return rows


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d", "e", "f", LONG]])
def test_runs_are_drawn_at_their_values_and_legible(names, monkeypatch):
    curves = [curve(name, 1.0 + number / 10) for number, name in enumerate(names)]
    figure = learning(curves, probes(names))
    losses, linear, hidden = figure.axes
    for line, each, colour in zip(losses.lines, curves, style.SERIES, strict=False):
        np.testing.assert_array_equal(line.get_ydata(), each.share)
        assert line.get_color() == colour
    for axes in (linear, hidden):
        found = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert [line.get_ydata()[0] for line in found] == [50.0 + n for n in range(len(names))]
        low, high = axes.get_ylim()
        assert low < 48 and high > 57 + len(names) - 1
    texts = assert_legible(figure, monkeypatch)
    assert "a (beside guessing)" in texts


def test_log_mel_is_drawn_for_each_run_where_it_differs():
    curves = [curve("a", 1.0), curve("b", 2.0)]

    def flat(rows):
        lines = [line for line in learning(curves, rows).axes[1].lines if line.get_ls() != "None"]
        level = [line for line in lines if len(set(line.get_ydata())) == 1]
        return [(line.get_color(), line.get_ydata()[0]) for line in level]

    rows = probes(["a", "b"])
    assert flat(rows) == [("#000000", 56.0)]
    title = learning(curves, rows).axes[1].get_title()
    assert title.startswith("phones, linear probe\nblack line: log-mel; chance ")
    other = [
        row._replace(accuracy=61.0, chance=9.0) if row.model == "b" and row.layer is None else row
        for row in rows
    ]
    assert flat(other) == [(style.SERIES[0], 56.0), (style.SERIES[1], 61.0)]
    title = learning(curves, other).axes[1].get_title()
    assert title == "phones, linear probe\ndashed: log-mel; chance 9 to 11 %"


def test_without_probes_there_is_the_loss_alone():
    assert len(learning([curve("a", 1.0), curve("b", 2.0)], []).axes) == 1


@pytest.mark.parametrize("count", [1, MOST + 1])
def test_other_numbers_of_runs_are_refused(count):
    with pytest.raises(InputError, match=f"{count} were given, expected 2 to {MOST}"):
        learning([curve(str(number), 1.0) for number in range(count)], [])


def trained(run, objective, lines):
    run.mkdir()
    write_config(run / "config.json", Config(objective=objective))
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_share_is_that_of_the_runs_own_baseline(tmp_path):
    lines = [
        {"step": 10, "loss": 9.0, "smooth_loss": 3.0, "guessing": 4.0},
        {"step": 10, "valid_loss": 3.3},
        {"step": 20, "loss": 9.0, "smooth_loss": 1.0, "guessing": 4.0},
    ]
    found = curve_of("mine", trained(tmp_path / "a", Contrastive(), lines))
    assert (found.run, found.baseline, found.step.tolist()) == ("mine", "guessing", [10, 20])
    assert found.share.tolist() == [0.75, 0.25]


def test_runs_that_were_not_trained_here_are_left_out_and_counted(tmp_path):
    line = {"step": 10, "smooth_loss": 3.0, "guessing": 4.0}
    runs = [
        trained(tmp_path / name, Contrastive(), lines)
        for name, lines in {"a": [line], "b": [line], "made_elsewhere": []}.items()
    ]
    names = [run.name for run in runs]
    (section,) = learning_of(names, runs, runs, tmp_path / "side")
    assert section.text == (
        "2 of 3 runs are drawn: the first 7 at most, and none that was not trained here. No probes "
        "are drawn: the ablate study has made none of a."
    )
    assert len(section.tables) == 1 and section.pictures[0].png.exists()
    assert learning_of(names[1:], runs[1:], runs[1:], tmp_path / "none") == []
