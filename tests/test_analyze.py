"""analyze.py as a user runs it: every study of a run, of other corpora, of several runs."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
import trees
from ablation_runs import LEAN
from explorer_pages import codes_on_page, read_page
from scripts import STEPS, python, records

from sat_jax.errors import InputError
from sat_jax.explorer.pack import codes_of
from sat_jax.study import compared
from sat_jax.trace.store import load_sample

pytestmark = pytest.mark.commands

QUICK = ["--ablate.train-utterances", "16", "--ablate.probe-steps", "20", "--draws", "200"]
QUICK += ["--ablate.draws", "2", "--ablate.hidden", "8", "--ablate.max-frames", "96"]
QUICK += ["--ablate.mlp-utterances", "16", "--ablate.mlp-steps", "20", "--ablate.probe-seeds", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_run):
    return shutil.copytree(tiny_run.path, tmp_path_factory.mktemp("runs") / "reference")


@pytest.fixture(scope="module")
def analysed(run):
    few = [*QUICK, "--ablate.tasks", "reconstruction", "phone"]
    result = python(sys.executable, "analyze.py", str(run), *LEAN, *few)
    assert result.returncode == 0, result.stderr
    return run


def heads_of(directory):
    with (directory / "analysis" / "heads.csv").open() as file:
        return list(csv.DictReader(file))


def test_analysis_of_the_run(analysed):
    run = analysed
    both = ("gallery", "all_heads", "rank_intervals", "all_phone_maps", "focus_chart")
    stems = {f"{stem}{end}" for stem in both for end in ("", "_untrained")}
    stems |= {"head_distribution", "head_scatter", "cumulative_diagonality"}
    stems |= {"phone_maps", "phone_maps_elsewhere", "verticality_concentration", "segment_shares"}
    stems |= {"segmentation_example", "precision_recall", "segmentation_heads"}
    stems |= {"task_curves", "compared_curves", "area_chart", "rank_scatter", "rank_correlations"}
    stems |= {"leave_one_out"}
    stems |= {"probes_by_layer", "embedding", "before_after", "similarity_layers"}
    stems |= {"similarity_heads", "similarity_neurons_layers", "similarity_depth"}
    assert {p.stem for p in (run / "figures").iterdir()} == stems
    for stem in stems:
        for suffix, size in (("png", 10_000), ("pdf", 5_000), ("csv", 100)):
            assert (run / "figures" / f"{stem}.{suffix}").stat().st_size > size, (stem, suffix)
    assert (run / "report.html").stat().st_size > 100_000
    assert len(list((run / "trace").glob("*.npz"))) == 2
    rows = heads_of(run)
    assert list(rows[0])[:5] == [
        *("layer", "head", "globalness", "globalness_low", "globalness_high")
    ]
    assert [(r["layer"], r["head"]) for r in rows] == [
        (str(layer), str(head)) for layer in (1, 2) for head in (1, 2, 3, 4)
    ]
    assert {r["category"] for r in rows} <= {"global", "vertical", "diagonal"}
    for row in rows:
        for name in ("globalness", "verticality", "diagonality", "mean_offset", "mass_within_5"):
            low, value, high = (float(row[f"{name}{end}"]) for end in ("_low", "", "_high"))
            assert low <= value <= high
    assert sorted(int(r["rank_globalness"]) for r in rows) == list(range(1, 9))


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_phones_of_the_run(analysed):
    concentrations = table(analysed / "analysis" / "phone_concentration.csv")
    assert len(concentrations) == 8 * 39
    known = [r for r in concentrations if r["concentration"] != "nan"]
    assert len(known) > 8 * 30
    assert all(float(r["concentration"]) >= -1 for r in known)
    for row in table(analysed / "analysis" / "phone_shares.csv"):
        assert 0 < float(row["silence_low"]) <= float(row["silence"]) <= float(row["silence_high"])
        assert 0 < float(row["own"]) < 1
    for row in table(analysed / "analysis" / "operations.csv"):
        assert not row["layer"] or float(row["effect_low"]) <= float(row["effect_high"])


def test_segmentation_of_the_run(analysed):
    rows = table(analysed / "analysis" / "segmentation.csv")
    assert [r["features"].split()[0] for r in rows] == ["MFCC", "log-mel", "hidden", "head"] * 2
    for row in rows:
        assert float(row["r_low"]) <= float(row["r"]) <= float(row["r_high"])
    # Ten times the boundaries of the talker, and a feature that is known to find them.
    assert float(rows[0]["r"]) > float(rows[0]["evenly_spaced_r"]) + 10
    heads = table(analysed / "figures" / "segmentation_heads.csv")
    best = max((r for r in heads[:8]), key=lambda r: float(r["r_tuning"]))
    assert rows[3]["features"] == f"head L{best['layer']} H{best['head']}"
    assert rows[3]["r"] == best["r"]
    report = (analysed / "report.html").read_text()
    assert "the best of 8 on the tuning utterances" in report


def test_explorer_of_the_run(analysed):
    data, blobs = read_page(analysed / "explorer.html")
    assert [model["key"] for model in data["models"]] == ["trained", "untrained"]
    assert not data["models"][0]["missing"]
    sample = load_sample(next((analysed / "trace").glob("*[0-9].npz")))
    assert data["utterances"][0]["id"] == sample.id
    codes = codes_on_page(data, blobs, 0, 0)
    exact = codes_of(sample.maps.reshape(codes.shape).astype(np.float32))
    assert np.abs(codes.astype(int) - exact).max() <= 1
    kept = {(r["layer"], r["head"]): r for r in heads_of(analysed)}
    *metrics, cost = data["models"][0]["metrics"]
    alone = table(analysed / "figures" / "leave_one_out.csv")
    assert (cost["name"], len(alone)) == ("reconstruction-cost", 8)
    for row in alone:
        value = cost["values"][int(row["layer"]) - 1][int(row["head"]) - 1]
        assert value == pytest.approx(float(row["change"]), abs=1e-6)
    for metric in metrics:
        for (layer, head), row in kept.items():
            value = metric["values"][int(layer) - 1][int(head) - 1]
            assert value == pytest.approx(float(row[metric["name"]]), rel=1e-6)
    report = (analysed / "report.html").read_text()
    assert report.index('href="explorer.html"') < report.index("<h2>")
    assert "explorer.html#head=2.3" in report


def test_one_study_anew_leaves_the_others(analysed):
    before = (analysed / "analysis" / "segmentation.csv").stat().st_mtime_ns
    few = ["--max-utterances", "3", "--draws", "200", "--no-pdf", *LEAN]
    result = python(sys.executable, "analyze.py", str(analysed), "--only", "phones", *few)
    assert result.returncode == 0, result.stderr
    assert "phones related on 3 utterances" in result.stdout
    assert "heads measured" not in result.stdout
    assert (analysed / "analysis" / "segmentation.csv").stat().st_mtime_ns == before
    report = (analysed / "report.html").read_text()
    assert report.index("Heads across layers</h2>") < report.index("Phone relation maps</h2>")
    assert "Phone boundaries" in report


def test_runs_side_by_side(analysed):
    other = analysed.parent / "longer_spans"
    shutil.copytree(analysed, other)
    config = json.loads((other / "config.json").read_text())
    config["name"], config["objective"]["c_num"] = "longer_spans", 6
    (other / "config.json").write_text(json.dumps(config))
    compared.study([analysed, other], [analysed, other])
    out = analysed.parent / "reference-longer_spans"
    rows = table(out / "figures" / "mask_lengths.csv")
    assert [(r["run"], r["c_num"]) for r in rows] == [("toy", "3"), ("longer_spans", "6")]
    for row in rows:
        shares = [float(row[name]) for name in ("global", "vertical", "diagonal")]
        assert sum(shares) == pytest.approx(1)
        assert float(row["best_head_low"]) <= float(row["best_head_high"])
    best = table(analysed / "analysis" / "segmentation.csv")[3]
    assert rows[0]["best_head"] == best["r"]
    first, second = table(out / "runs.csv")
    assert (first["run"], second["run"]) == ("reference", "longer_spans")
    assert (first["objective"], first["steps"]) == ("masked_reconstruction", str(STEPS))
    last = [r for r in records(analysed) if "valid_loss" in r][-1]
    assert float(first["loss"]) == pytest.approx(last["valid_loss"], rel=1e-6)
    assert float(first["baseline"]) == pytest.approx(last["valid_mean_frame"], rel=1e-6)
    kinds = [row["category"] for row in heads_of(analysed)]
    assert int(float(first["diagonal_heads"])) == kinds.count("diagonal")
    assert first["r_best_head"] == best["r"]
    rest = table(analysed / "analysis" / "segmentation.csv")
    assert [first["r_mfcc"], first["r_best_layer"]] == [rest[0]["r"], rest[2]["r"]]
    assert (out / "figures" / "mask_lengths.png").stat().st_size > 10_000
    losses = table(out / "figures" / "learning.csv")
    smooth = [r for r in records(analysed) if "smooth_loss" in r]
    assert float(losses[0]["share"]) == pytest.approx(
        smooth[0]["smooth_loss"] / smooth[0]["mean_frame"], rel=1e-6
    )
    assert (out / "figures" / "learning.png").stat().st_size > 10_000
    assert "Mask length" in (out / "report.html").read_text()
    (other / "analysis" / "segmentation.csv").unlink()
    with pytest.raises(InputError, match=r"segmentation\.csv: is missing.*segments study"):
        compared.study([analysed, other], [analysed, other])
    both = python(sys.executable, "analyze.py", "a", "b", "--out", str(out))
    assert both.returncode == 2
    assert "leave --out away" in both.stderr


def test_speech_without_labels_has_heads_and_says_what_it_lacks(run, tmp_path):
    tree = tmp_path / "plain"
    trees.write_folder(tree, trees.speak(speakers=2, utterances=2), textgrids=False)
    result = python(
        *(sys.executable, "analyze.py", str(run), "--no-pdf", "--split", "all"),
        *("--corpus.kind", "folder"),
        *("--corpus.path", str(tree), "--corpus.data-dir", str(tmp_path / "data"), *QUICK),
    )
    assert result.returncode == 0, result.stderr
    assert "phones: the corpus has no phone labels" in result.stdout
    assert "segments: the corpus has no phone labels" in result.stdout
    assert "ablate: phone is left out, as the corpus has no phone labels" in result.stdout
    assert (run / "on-plain" / "figures" / "gallery.png").exists()
    assert not (run / "on-plain" / "figures" / "phone_maps.png").exists()
    sections = json.loads((run / "on-plain" / "analysis" / "sections" / "phones.json").read_text())
    assert sections == []


def test_analysis_of_another_corpus(run, tmp_path):
    tree = tmp_path / "tree"
    trees.write_timit(tree, trees.speak(speakers=2, utterances=2))
    result = python(
        *(sys.executable, "analyze.py", str(run), "--no-pdf", "--split", "all"),
        *("--corpus.kind", "timit"),
        *("--corpus.path", str(tree), "--corpus.data-dir", str(tmp_path / "data")),
        *("--max-utterances", "3"),
        *("--only", "segments", "--draws", "50", *LEAN),
    )
    assert result.returncode == 0, result.stderr
    assert (run / "on-tree" / "report.html").exists()
    assert "heads measured on 3 utterances" in result.stdout
    assert "tested on 3" in result.stdout
    assert table(run / "on-tree" / "analysis" / "segmentation.csv")[0]["features"] == "MFCC"
