"""The lines at the head of a report say what the studies' tables say, and nothing where none is."""

import numpy as np
import pytest
from head_tables import head_table

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.figures.report import Finding, Section, write_report
from sat_jax.records.ablation import Ablation, Curve, Task
from sat_jax.records.heads import RANKED, arrays_of
from sat_jax.study.ablate.rows import CURVES, keep_curves, kept_curves
from sat_jax.study.findings import findings_of

SHAPE = (2, 3)


def curve(ordering, values):
    pruned, values = np.array([0, 3, 6]), np.array(values)
    return Curve(ordering, pruned, values, values - 0.5, values + 0.5, 0.0, 0.0, 0.0, 0)


def made_up_ablation():
    tasks = (
        Task(
            "reconstruction",
            "L1",
            True,
            np.nan,
            (curve("globalness", [1.0, 1.005, 2.0]), curve("weight", [1.0, 1.5, 2.0])),
        ),
        Task(
            "phone",
            "phone accuracy (%)",
            False,
            10.0,
            (curve("globalness", [60.0, 50.0, 20.0]), curve("weight", [60.0, 59.0, 20.0])),
        ),
    )
    return Ablation("made up", "", "", 6, 9, 1, 0, tasks)


ORDERS = {"globalness": np.array([5, 4, 3, 2, 1, 0]), "weight": np.arange(6)}


@pytest.fixture
def results(tmp_path):
    analysis = tmp_path / "analysis"
    values = {name: np.arange(6.0).reshape(SHAPE) + number for number, name in enumerate(RANKED)}
    values["diagonality"] = -values["diagonality"]
    for end in ("", "_untrained"):
        files.write_arrays(analysis / f"heads{end}.npz", **arrays_of(head_table(values)))
    rows = [
        {"model": "m", "features": "MFCC", "r": 70, "r_low": 69, "r_high": 71},
        {"model": "m", "features": "head L2 H1", "r": 65.04, "r_low": 64, "r_high": 66},
    ]
    rows = [{**row, "evenly_spaced_r": 50} for row in rows]
    files.write_table(analysis / "segmentation.csv", rows)
    keep_curves(analysis / CURVES, made_up_ablation(), ORDERS, SHAPE)
    return tmp_path


def test_heads_boundaries_and_pruning_are_told_with_their_numbers(results):
    found = {finding.heading: finding for finding in findings_of(results, "")}
    kinds = found["Heads across layers"].text
    assert "of 6 heads by their highest metric rank: 2 global (30 % [20, 40])" in kinds
    extremes = found["The top heads of each kind"]
    assert extremes.heads == ((2, 3), (2, 3), (1, 1))
    assert (
        "diagonal head is L1 H1 (diagonality \N{MINUS SIGN}2.000 [\N{MINUS SIGN}2.000"
        in extremes.text
    )
    boundaries = found["Phone boundaries: which features find them"]
    assert boundaries.heads == ((2, 1),)
    assert "65.0 [64.0, 66.0], MFCC 70.0 [69.0, 71.0]" in boundaries.text
    assert "boundaries 50.0" in boundaries.text
    pruning = found["Which order is cheapest"].text
    assert "numbers tested: 0, 3, 6: reconstruction 3 (in the order of globalness)" in pruning
    assert "phone 0." in pruning
    assert "L1 1.000 \N{RIGHTWARDS ARROW} 1.005 [0.505, 1.505] (globalness)" in pruning
    assert "phone accuracy (%) 60.0 \N{RIGHTWARDS ARROW} 59.0 [58.5, 59.5] (weight)" in pruning


def test_curves_and_turns_come_back_as_they_were_kept(results):
    kept = kept_curves(results / "analysis" / CURVES)
    assert kept["orders"]["globalness"] == [[6, 5, 4], [3, 2, 1]]
    assert kept["alone"] == []
    assert kept["tasks"][0]["chance"] is None and kept["tasks"][1]["chance"] == 10.0
    assert kept["tasks"][1]["curves"][1]["value"] == [60.0, 59.0, 20.0]
    (results / "analysis" / CURVES).write_text("{")
    with pytest.raises(InputError, match=r"ablation_curves\.json: is not what .* --only ablate"):
        kept_curves(results / "analysis" / CURVES)


def test_a_study_that_was_not_made_says_nothing(tmp_path):
    assert findings_of(tmp_path, "") == []
    only = findings_of(tmp_path, "Masked L1: 0.4.")
    assert [finding.text for finding in only] == ["Masked L1: 0.4."]


def test_findings_begin_the_report_and_their_heads_open_in_the_explorer(tmp_path):
    found = [Finding("A <b> head.", "Second", ((4, 5),)), Finding("No section.")]
    sections = [Section("First"), Section("Second", definition="What <i>is</i> measured.")]
    page = write_report(tmp_path / "r.html", "t", sections, {}, found, "explorer.html").read_text()
    assert page.index("A &lt;b&gt; head.") < page.index("<h2>First")
    assert '<a href="explorer.html#head=4.5">L4 H5</a> <a href="#s2">how</a>' in page
    assert "<details><summary>What is measured, and how</summary>" in page
    assert "What &lt;i&gt;is&lt;/i&gt; measured." in page
    without = write_report(tmp_path / "r.html", "t", sections, {}, found).read_text()
    assert "explorer" not in without


def test_heads_of_tables_and_figures_are_links(tmp_path):
    from matplotlib.figure import Figure

    from sat_jax.figures import style
    from sat_jax.figures.report import Picture, Table

    rows = [{"layer": 1, "head": 2, "r": 0.5}, {"layer": 3, "head": 1, "r": 0.7}]
    png, _ = style.save(Figure(figsize=(1, 1)), tmp_path / "figures", "some")
    control, _ = style.save(Figure(figsize=(1, 2)), tmp_path / "figures", "some_untrained")
    files.write_table(tmp_path / "figures" / "some.csv", rows)
    table = files.write_table(tmp_path / "t.csv", rows)
    section = Section(
        "S", pictures=[Picture(png, "c", "alt", control, "other")], tables=[Table("All.", table)]
    )
    page = write_report(tmp_path / "r.html", "t", [section], {}, (), "explorer.html").read_text()
    link = '<a href="explorer.html#head=3.1">'
    assert f"{link}L3 H1</a>" in page and f"{link}1</a>" in page
    assert page.count('<img alt="') == 2 and page.count(" hidden>") == 1
    assert '<button class="switch" aria-pressed="false">' in page
