"""The similarity study: one run with its control, and two runs whose positions lie differently."""

import csv
import sys

import numpy as np
import pytest

from sat_jax.analysis.bootstrap import interval_around
from sat_jax.commands import analyze, convert
from sat_jax.config import Similarity
from sat_jax.errors import InputError
from sat_jax.figures.similarity import SAME_DEPTHS, depth_caption, maps, same_depths
from sat_jax.grid import Grid
from sat_jax.records.similarity import LayerName, SimilarityMap, same_depth
from sat_jax.study.similarity.layers import compare_layers
from sat_jax.study.similarity.states import nearest, shared_positions
from sat_jax.study.similarity.study import heard

EXPERIMENT = '''"""A small HuBERT."""
from sat_jax.config import Config, Convolutions, Model, NoObjective

FRONT = Convolutions(channels=(8,) * 7, position_groups=2)
MODEL = Model("hubert", FRONT, layers=1, heads=2, width=8, ffn=16, layer_norm_eps=1e-5)
CONFIG = Config(name="small", model=MODEL, objective=NoObjective())
'''
FEW = ("--similarity.utterances", "6", "--similarity.map-utterances", "3", "--no-pdf")


def call(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    module.main()


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def joint(tiny_run, tmp_path_factory):
    """The tiny run and a random HuBERT, compared: (directory, what was said)."""
    root = tmp_path_factory.mktemp("similar")
    (root / "experiments").mkdir()
    (root / "experiments" / "small.py").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        call(patch, convert, "--random", "small", "--out", root / "small")
        some = (tiny_run.path, root / "small", "--only", "similarity", *FEW, "--out", root / "out")
        call(patch, analyze, *some)
    return root / "out"


def test_two_runs_of_other_frame_rates_are_compared_on_the_coarser_grid(joint):
    report = (joint / "report.html").read_text()
    assert "Positions lie 20 ms, 30 ms apart: all were compared every 30 ms" in report
    assert "Heads of small were left out, as their maps have other positions" in report
    rows = rows_of(joint / "analysis" / "similarity.csv")
    layers = {(row["model"], int(row["layer"])) for row in rows if row["measure"] == "cka"}
    assert ("small", 1) in layers and ("small", 0) in layers
    for row in rows:
        same = (row["model"], row["layer"]) == (row["other_model"], row["other_layer"])
        value = float(row["value"])
        assert -1 <= value <= 1 + 1e-6
        if same and row["measure"] != "attn_pearson":
            assert value == pytest.approx(1, abs=2e-3), row
        low, high = float(row["value_low"]), float(row["value_high"])
        assert low <= value <= high
    symmetric = {
        tuple(row[name] for name in ("model", "layer", "other_model", "other_layer")): row["value"]
        for row in rows
        if row["measure"] == "svcca"
    }
    for (model, layer, other, own), value in symmetric.items():
        assert float(symmetric[other, own, model, layer]) == pytest.approx(float(value), abs=1e-9)


def test_neurons_are_ranked_over_the_other_models(joint):
    rows = rows_of(joint / "analysis" / "neurons.csv")
    assert {row["model"] for row in rows} >= {"small"}
    for row in rows:
        assert 0 <= float(row["mincorr"]) <= float(row["maxcorr"]) <= 1 + 1e-6
        assert int(row["neurons"]) > 0


def test_figures_lie_beside_their_tables(joint):
    for stem in ("similarity_layers", "similarity_heads", "similarity_neurons_layers"):
        assert (joint / "figures" / f"{stem}.png").stat().st_size > 5000
        assert (joint / "figures" / f"{stem}.csv").exists()


def test_positions_go_to_the_nearest_centre():
    coarse, fine = Grid(480, 720, 3), Grid(160, 400)
    found = nearest(coarse, fine, 4)
    assert found.tolist() == [1, 4, 7, 10]
    for position, near in enumerate(found):
        assert coarse.centre(position) == fine.centre(int(near))
    assert nearest(coarse, coarse, 3).tolist() == [0, 1, 2]
    assert shared_positions(Grid(320, 400), Grid(480, 720, 3), 2000) == 5
    assert shared_positions(coarse, fine, 2000) == 3


def test_memory_that_is_too_small_costs_intervals_and_passes_but_no_numbers(tiny_run):
    from sat_jax.config import Analysis
    from sat_jax.study.loaded_run import open_run

    loaded = open_run(tiny_run.path, Analysis(max_utterances=6))
    models = [heard(loaded.model, 0)]

    def compared(**settings):
        settings = Similarity(utterances=6, draws=2, shards=3, **settings)
        split, devices = loaded.corpus.split, loaded.passes.devices
        return compare_layers(models, split, settings, 0, 8, devices)

    whole, _, notes = compared()
    # Three states: each with itself in the first pass, then two of their three pairs, then one.
    tight, _, said = compared(memory_mib=2 * 8 * loaded.model.spec.width**2 / 2**20)
    assert len(notes) == 1 and not np.isnan(whole[0].low).any()
    assert any("Without intervals" in note for note in said)
    assert any("Taken in 3 passes" in note for note in said)
    assert np.isnan(tight[0].low).all()
    for one, other in zip(whole, tight, strict=True):
        np.testing.assert_allclose(one.value, other.value, atol=1e-5)


def test_pairs_of_one_depth_are_found():
    layers = tuple(LayerName("a", i) for i in range(3)) + tuple(LayerName("b", i) for i in range(2))
    none = np.zeros((5, 5))
    assert same_depth(SimilarityMap("cka", layers, none, none, none), "a", "b") == ([0, 1], [3, 4])


def test_an_interval_lies_about_its_value_though_draws_are_higher():
    rng = np.random.default_rng(0)
    scatter = rng.normal(0, 0.01, 20000)
    low, high = interval_around(np.array(0.5), 0.6 + scatter)
    assert (float(low), float(high)) == pytest.approx((0.4804, 0.5196), abs=5e-4)
    low, high = interval_around(
        np.array([1.0, 0.99, 0.01]), np.array([[1.0, 0.9, 0.0], [1, 1, 0.2]])
    )
    np.testing.assert_array_equal([low[0], high[0], high[1], low[2]], [1, 1, 1, 0])
    # Measures that are not bounded stay as they are.
    low, high = interval_around(np.array([-3.0]), np.array([[-4.0], [-2.0]]))
    np.testing.assert_allclose([low[0], high[0]], [-3.95, -2.05])


@pytest.mark.parametrize(("models", "pairs"), [("abc", 3), ("abcde", 10)])
def test_pairs_that_are_not_drawn_are_counted(models, pairs):
    layers = tuple(LayerName(f"toy_{model}", i) for model in models for i in range(3))
    value = np.eye(len(layers))
    found = SimilarityMap("cka", layers, value, value, value)
    figure = same_depths([found])
    assert len(figure.axes[0].lines) == len(figure.texts) == min(pairs, 7)
    places = [tuple(text.get_position()) for text in figure.texts]
    assert len({x for x, _ in places}) > 1 and len(set(places)) == len(places)
    ends = "The first 7 of 10 pairs; similarity.csv has all."
    assert depth_caption(found) == (SAME_DEPTHS if pairs <= 7 else f"{SAME_DEPTHS} {ends}")


def test_numbers_of_layers_do_not_run_into_each_other():
    layers = tuple(LayerName(model, i) for model in "abcdef" for i in range(7))
    value = np.eye(len(layers))
    axes = maps([SimilarityMap("cka", layers, value, value, value)]).axes[0]
    at, labels = axes.get_xticks(), [text.get_text() for text in axes.get_xticklabels()]
    assert np.diff(at).min() >= 2
    assert labels == [str(layers[int(i)].layer) for i in at] and labels[:4] == ["0", "2", "4", "0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--similarity.shards", "0"), "similarity.shards is 0: give at least 1"),
        (("--similarity.draws", "-1"), "similarity.draws is -1: give at least 0"),
    ],
)
def test_settings_that_mean_nothing_are_one_line(tiny_run, monkeypatch, tmp_path, change, message):
    some = (tiny_run.path, "--only", "similarity", "--out", tmp_path, *change)
    with pytest.raises(InputError, match=message):
        call(monkeypatch, analyze, *some)


def test_two_runs_of_one_name_are_refused(tiny_run, monkeypatch, tmp_path):
    some = (tiny_run.path, tiny_run.path, "--only", "similarity", "--out", tmp_path)
    with pytest.raises(InputError, match="two runs are called alike"):
        call(monkeypatch, analyze, *some)
