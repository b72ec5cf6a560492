"""The full preset of the ablation study, as a user runs it."""

import json
import shutil
import sys

import numpy as np
import pytest
from ablation_runs import TASKS, H, L, number, options, place, table
from scripts import python

from sat_jax.sweep import plan as plans
from sat_jax.sweep.orderings import points_of

pytestmark = pytest.mark.commands


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_run):
    return shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("runs") / "reference")


@pytest.fixture(scope="module")
def full(run):
    """Results of the full preset, and what was said."""
    result = python(
        sys.executable, "analyze.py", str(place(run)), "--no-pdf", *options(preset="full")
    )
    assert result.returncode == 0, result.stderr
    return run, result.stdout


def test_full_leaves_tables_figures_and_sections(full):
    run, said = full
    stems = ["task_curves", "reversed_curves", "compared_curves", "area_chart", "rank_scatter"]
    stems += ["rank_correlations", "leave_one_out", "span_curves", "span_grid"]
    stems += ["probes_by_layer", "probe_budget", "mlp_curves"]
    for stem in stems:
        for suffix, size in (("png", 10_000), ("csv", 100)):
            assert (run / "figures" / f"{stem}.{suffix}").stat().st_size > size, (stem, suffix)
    names = [
        f"ablation{end}{kind}" for end in ("", "_untrained", "_mlp") for kind in (".csv", ".npz")
    ]
    for name in (*names, "ablation_areas.csv"):
        assert (run / "analysis" / name).stat().st_size > 1000
    stored = sorted(p.name for p in (run / "analysis" / "leaves").glob("*/*"))
    assert stored == ["00000-0.npz", "00000-0.npz", "leaves.npz"]
    report = (run / "report.html").read_text()
    headings = ["What the input and every layer hold"]
    headings += ["What remains when heads are pruned", "Which order is cheapest"]
    headings.append("One head, or far keys, taken away")
    places = [report.index(f"{heading}</h2>") for heading in headings]
    assert places == sorted(places)
    for name in names:
        assert name in report
    sections = json.loads((run / "analysis" / "sections" / "ablate.json").read_text())
    assert [section[0] for section in sections] == headings
    assert "12 utterances to learn from, 4 to stop by, 4 to test on" in said
    assert "Traceback" not in said


def test_intervals_hold_their_values(full):
    rows = table(full[0] / "analysis" / "ablation.csv")
    assert {row["task"] for row in rows} == set(TASKS)
    measures = {(row["task"] == "reconstruction", row["measure"]) for row in rows}
    assert measures == {(True, "l1"), (False, "accuracy"), (False, "macro_f1")}
    assert {row["probes"] for row in rows if row["task"] != "reconstruction"} == {"anew", "frozen"}
    for row in rows:
        low, value, high = (number(row, f"value{end}") for end in ("_low", "", "_high"))
        assert low <= high
        # Macro-F1 leaves classes out of some draws, so its draws lie elsewhere than its value.
        assert row["measure"] == "macro_f1" or low - 1e-6 <= value <= high + 1e-6
        assert row["measure"] == "l1" or 0 <= low <= high <= 100
    for row in table(full[0] / "analysis" / "ablation_areas.csv"):
        assert number(row, "area_low") <= number(row, "area") <= number(row, "area_high")
        assert 0 <= int(row["removable"]) <= L * H


def test_what_is_the_same_setting_has_the_same_value(full):
    same = {}
    for row in table(full[0] / "analysis" / "ablation.csv"):
        about = row["task"], row["probes"], row["measure"]
        if row["pruned"] == "0" and row["span"] == "full":
            same.setdefault(("intact", *about), []).append(row)
        if row["pruned"] == str(L * H):
            # Spans of heads that are gone mean nothing, but maps that replace are limited too.
            same.setdefault((row["kind"], *about), []).append(row)
    assert len(same) == 3 * (1 + 2 * 3 * 2)
    for rows in same.values():
        assert len(rows) > 3
        for end in ("", "_low", "_high"):
            assert len({row[f"value{end}"] for row in rows}) == 1
    studies = {row["study"] for row in same["intact", "reconstruction", "", "l1"]}
    assert studies == {"order", "span", "grid", "single"}


def test_every_point_of_every_ordering_is_there(full):
    rows = table(full[0] / "analysis" / "ablation.csv")
    rows = [r for r in rows if r["study"] == "order" and r["task"] == "reconstruction"]
    plain = ["globalness", "verticality", "diagonality", "weight", "layer", "gradient"]
    plain.append("leave-one-out")
    names = {name + end for name in plain for end in ("", " reversed")} | {"random"}
    assert {row["ordering"] for row in rows} == names
    for name in names:
        for draw in range(2 if name == "random" else 1):
            pruned = [
                int(row["pruned"])
                for row in rows
                if (row["ordering"], row["draw"], row["kind"]) == (name, str(draw), "zero")
            ]
            assert pruned == list(range(L * H + 1))


def test_heads_go_in_the_order_of_their_values(full):
    run, _ = full
    metrics = np.load(run / "analysis" / "heads.npz")
    arrays = np.load(run / "analysis" / "ablation.npz")
    for name, sign in (("globalness", -1), ("weight", 1)):
        expected = np.argsort(sign * metrics[f"metrics/{name}"].ravel(), kind="stable")
        np.testing.assert_array_equal(order_of(arrays, name), expected)
        np.testing.assert_array_equal(order_of(arrays, f"{name} reversed"), expected[::-1])
    single = [row for row in table(run / "figures" / "leave_one_out.csv") if "recon" in row["task"]]
    assert len(single) == L * H
    change = [number(row, "change") for row in single]
    np.testing.assert_array_equal(order_of(arrays, "leave-one-out"), np.argsort(change))


def order_of(arrays, name):
    """The order in which heads go, read from the gates."""
    mine = (arrays["row_ordering"] == name) & (arrays["row_study"] == "order")
    mine &= arrays["row_kind"] == "zero"
    gates = arrays["gate"][mine][np.argsort(arrays["row_pruned"][mine])].reshape(L * H + 1, -1)
    return (gates[:-1] - gates[1:]).argmax(1)


def test_values_are_those_of_the_arrays(full):
    run, _ = full
    arrays = np.load(run / "analysis" / "ablation.npz")
    rows = table(run / "analysis" / "ablation.csv")
    l1 = [number(row) for row in rows if row["measure"] == "l1"]
    np.testing.assert_allclose(arrays["reconstruction"].mean(1), l1, rtol=1e-5)
    assert arrays["reconstruction"].shape == (len(l1), 4)
    right = [r for r in rows if (r["task"], r["probes"]) == ("speaker-utterance", "anew")]
    right = [number(row) for row in right if row["measure"] == "accuracy"]
    hits = arrays["speaker_utterance_anew_hits"]
    np.testing.assert_allclose(100 * hits.mean((1, 2)), right, rtol=1e-5)


def test_layers_and_budgets_are_probed(full):
    run, _ = full
    rows = table(run / "analysis" / "probes_by_layer.csv")
    models = list(dict.fromkeys(row["model"] for row in rows))
    assert models[::3] == ["log-mel", "all heads pruned"]
    assert models[2] == models[1].split(" (")[0] + " untrained"
    for task in ("phone", "speaker frame"):
        for probe in ("linear", "hidden layer"):
            mine = [r for r in rows if (r["task"], r["probe"]) == (task, probe)]
            layers = {m: [r["layer"] for r in mine if r["model"] == m] for m in models}
            whole = [str(layer) for layer in range(L + 1)]
            assert list(layers.values()) == [[""], whole, whole, [str(L)]]
            steps = {int(row["steps"]) for row in mine}
            assert steps == {8 if probe == "hidden layer" else 4}
    assert {row["utterances"] for row in rows} == {"16"}
    for row in rows:
        assert number(row, "low") - 1e-6 <= number(row, "accuracy") <= number(row, "high") + 1e-6
    # The log-mel spectrogram follows from itself; from states that it went into less well.
    shares = {(row["model"], row["layer"]): number(row, "log_mel_r2") for row in rows}
    assert shares["log-mel", ""] > 0.99
    assert all(share < 1 for place, share in shares.items() if place[1])
    budgets = table(run / "analysis" / "probe_budget.csv")
    found = [(int(b["utterances"]), int(b["steps"])) for b in budgets if b["model"] == "log-mel"]
    assert sorted(found) == [(4, 8), (8, 8), (16, 2), (16, 4), (16, 8)]
    whole = [b for b in budgets if (b["utterances"], b["steps"]) == ("16", "8")]
    deep = [r for r in rows if (r["task"], r["probe"]) == ("phone", "hidden layer")]
    last = {(r["model"], r["layer"]): r["accuracy"] for r in deep}
    assert len(whole) == 2
    for row in whole:
        assert row["accuracy"] == last[row["model"], row["layer"]]
    assert (
        "Probes of layers learned from 16 utterances in at most 8"
        in (run / "report.html").read_text()
    )


def test_probes_with_a_hidden_layer_stand_at_seven_points(full):
    rows = table(full[0] / "analysis" / "ablation_mlp.csv")
    assert {row["ordering"] for row in rows} == set(plans.METRICS)
    assert {row["task"] for row in rows} == set(TASKS[1:])
    kind = {"ordering": "weight", "task": "phone", "probes": "anew", "measure": "accuracy"}
    pruned = [int(row["pruned"]) for row in rows if kind.items() <= row.items()]
    assert pruned == points_of(L * H, True).tolist()
    areas = table(full[0] / "analysis" / "ablation_areas.csv")
    assert {row["probes"] for row in areas} == {
        *(f"{name} ({kind})" for name in ("probes trained anew", "frozen probes")
          for kind in ("linear", "hidden layer")),
    }  # fmt: skip


def test_areas_are_those_of_the_curves(full):
    run, _ = full
    areas = table(run / "figures" / "area_chart.csv")
    curves = table(run / "figures" / "reversed_curves.csv")
    assert len(areas) == 4 * 15
    for row in areas:
        mine = [c for c in curves if all(c[k] == row[k] for k in ("task", "ordering"))]
        if not mine:
            continue
        values = np.array([number(point) for point in mine])
        expected = ((values[1:] + values[:-1]) / 2).mean()
        assert number(row, "area") == pytest.approx(expected, rel=1e-5)
        assert (number(row, "intact"), number(row, "last")) == (values[0], values[-1])


def test_correlations_of_rankings(full):
    rows = table(full[0] / "figures" / "rank_correlations.csv")
    found = {(row["ordering"], row["other"]): number(row, "spearman") for row in rows}
    assert len(found) == 7 * 7
    for (first, second), value in found.items():
        assert value == pytest.approx(found[second, first])
        assert abs(value) <= 1 + 1e-9
        assert first != second or value == pytest.approx(1)
    ranks = table(full[0] / "figures" / "rank_scatter.csv")
    both = [[int(row[f"goes_by_{name}"]) for row in ranks] for name in ("globalness", "weight")]
    assert found["globalness", "weight"] == pytest.approx(np.corrcoef(both)[0, 1], abs=1e-6)
