"""What layers hold: R2 of another representation, smaller budgets, and the figures of both."""

import numpy as np
import pytest

from sat_jax.analysis.linear_map import explained_variance
from sat_jax.analysis.probe import Budget, Examples
from sat_jax.errors import InputError
from sat_jax.figures.probes import BudgetPoint, ProbedLayer, budget_curves, layer_curves
from sat_jax.study.ablate.layers import LINEAR, as_linear, fewer_steps, fewer_utterances
from sat_jax.study.ablate.tasks import ProbeTask


def test_explained_variance_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 5)) * [1, 10, 0.1, 3, 1] + 2
    features[:, 4] = 7
    targets = features @ rng.normal(size=(5, 3)) + rng.normal(size=(300, 3)) + 4
    train, test = np.arange(200), np.arange(200, 300)
    design = np.concatenate([features, np.ones((300, 1))], 1)
    solution = np.linalg.lstsq(design[train], targets[train], rcond=None)[0]
    wrong = targets[test] - design[test] @ solution
    total = targets[test] - targets[train].mean(0)
    expected = 1 - (wrong**2).sum() / (total**2).sum()
    assert 0.5 < expected < 0.99
    arrays = features.astype(np.float32), targets.astype(np.float32)
    assert float(explained_variance(*arrays, train, test, 1e-7)) == pytest.approx(
        expected, abs=1e-4
    )
    unrelated = rng.normal(size=(300, 5)).astype(np.float32)
    assert abs(float(explained_variance(unrelated, arrays[1], train, test))) < 0.1


def task_by_hand():
    rows = np.arange(12, dtype=np.int32)
    some = Examples(rows, rows[:, None])
    budget = Budget(8, 100, 4, 0.1, 25, 8, 100, None)
    return ProbeTask("phone", 12, budget, some, some, some, rows, rows, False)


def test_smaller_budgets_change_what_they_say_and_nothing_else():
    class Speech:
        utterance = np.repeat(np.arange(6), 2)

    task = task_by_hand()
    half = fewer_utterances(Speech, task, 2)
    assert half.train.rows.tolist() == [0, 1, 4, 5, 8, 9]
    assert half.train.labels.ravel().tolist() == half.train.rows.tolist()
    assert half._replace(train=task.train) == task
    short = fewer_steps(task, 4)
    assert (short.budget.steps, short.budget.every) == (25, 25)
    assert short._replace(budget=task.budget) == task
    assert fewer_steps(task, 1000).budget.steps == 1
    linear = as_linear(task)
    assert linear.name == "phone" + LINEAR
    assert linear.budget == task.budget._replace(hidden=0, steps=50, every=25)


def layers_by_hand():
    known = {"task": "phone", "chance": 10.0, "log_mel_r2": 0.5, "utterances": 8, "steps": 4}
    return [
        ProbedLayer(model, layer, probe=probe, accuracy=60 - i, low=58 - i, high=62 - i, **known)
        for i, probe in enumerate(("linear", "hidden layer"))
        for model, layer in [("log-mel", None), ("toy", 0), ("toy", 1), ("toy untrained", 0),
                             ("toy untrained", 1), ("all heads pruned", 1)]
    ]  # fmt: skip


def test_layers_stand_beside_log_mel():
    figure = layer_curves(layers_by_hand())
    phone, share = figure.axes
    assert phone.get_ylabel() == "phone accuracy (%)"
    levels = [line.get_ydata()[0] for line in phone.lines if len(set(line.get_ydata())) == 1]
    assert {10.0, 59.0, 60.0} <= set(levels)
    assert share.get_ylabel().startswith("R²")
    assert [line.get_xdata().tolist() for line in share.lines] == [[0, 1], [0, 1], [1]]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"log-mel (input)", "toy", "toy untrained", "all heads pruned"} <= set(names)
    with pytest.raises(InputError, match="nothing was probed"):
        layer_curves([])


def test_budgets_vary_one_thing_at_a_time():
    points = [
        BudgetPoint("log-mel", None, "phone", utterances, steps, 50 + utterances + steps)
        for utterances, steps in ((2, 8), (4, 8), (8, 2), (8, 4), (8, 8))
    ]
    left, right = budget_curves(points).axes
    assert left.lines[0].get_xydata().tolist() == [[2, 60], [4, 62], [8, 66]]
    assert right.lines[0].get_xydata().tolist() == [[2, 60], [4, 62], [8, 66]]
    with pytest.raises(InputError, match="no budget was measured"):
        budget_curves([])
