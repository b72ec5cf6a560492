"""A model without some heads in every study: what is left is measured, nothing is made up."""

import csv
import dataclasses
import warnings
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import trees
from meshes import mesh_of

from sat_jax import files
from sat_jax.analysis.head_mask import nothing_pruned
from sat_jax.analysis.head_types import CATEGORY_OF, categories
from sat_jax.analysis.operations import named_operations
from sat_jax.analysis.phone_summary import summarise_phones
from sat_jax.analysis.segment_score import score
from sat_jax.audio import dataset
from sat_jax.audio.prepared import open_split
from sat_jax.audio.utterance import Utterance
from sat_jax.config import Analysis, Config, Features, Model
from sat_jax.errors import InputError
from sat_jax.figures import report
from sat_jax.model.build import build_model, init_params, spec_of
from sat_jax.study import heads as heads_study
from sat_jax.study import phones as phones_study
from sat_jax.study.corpus import AnalysedCorpus
from sat_jax.study.head_mask import pruned_sentence
from sat_jax.study.loaded_model import Checkpoint, LoadedModel, open_model
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.passes import Passes, edges_of
from sat_jax.study.segments import study as segments_study
from sat_jax.trace import example, reduce

KEPT = ((0, 2, 3), (), (1, 3))
LEFT = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
ONE = ((), (), (2,))
CONFIG = Config(
    features=Features(mels=20, mfccs=5),
    model=Model(layers=3, heads=4, width=16, ffn=24, dropout=0.0, init_std=None),
)
STUDIES = {"heads": heads_study, "phones": phones_study, "segments": segments_study}


def utterance(number):
    """Noise of its own loudness for each of ten phones."""
    rng = np.random.default_rng(number)
    edges = np.linspace(0, 16_000, 11).astype(int) + np.r_[0, rng.integers(-300, 300, 9), 0]
    labels = rng.permutation(np.r_[0, 0, rng.integers(1, 7, 8)])
    while (np.diff(labels) == 0).any():
        labels = rng.permutation(labels)
    loud = np.repeat(500.0 * (1 + labels), np.diff(edges))
    audio = (loud * rng.normal(size=16_000)).clip(-32_000, 32_000).astype(np.int16)
    rows = np.stack([edges[:-1], edges[1:], labels], axis=1).astype(np.int32)
    return Utterance(f"u{number}", f"s{number % 2}", "", audio, rows)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """An intact, untrained model and eight utterances."""
    root = tmp_path_factory.mktemp("gone")
    trees.write_folder(root / "wav", [utterance(number) for number in range(8)])
    corpus = trees.folder(root)
    split = open_split(dataset.prepare(corpus, trees.quiet), "all")
    module, spec = build_model(CONFIG), spec_of(CONFIG)
    params = [
        jax.jit(lambda key: init_params(key, module))(jax.random.key(seed)) for seed in range(2)
    ]
    devices = mesh_of(1)
    checkpoints = (
        Checkpoint("trained", "", params[0]),
        Checkpoint("untrained", "_untrained", params[1]),
    )
    trace_fn = reduce.make_trace_fn(module, devices)
    edges = edges_of(spec, split, None, 1)
    return LoadedRun(
        directory=root / "run",
        out=root / "intact",
        config=CONFIG,
        analysis=Analysis(draws=20),
        model=LoadedModel("intact", spec, module, checkpoints),
        corpus=AnalysedCorpus(split, None),
        passes=Passes(spec.grid, edges, 8, devices, trace_fn),
        say=trees.quiet,
    )


def without(loaded, kept, name):
    """The same loaded, without the maps of pruned heads: all others are bit for bit equal."""
    pruned = tuple(tuple(h for h in range(4) if h not in heads) for heads in kept)
    config = dataclasses.replace(
        CONFIG, model=dataclasses.replace(CONFIG.model, pruned_heads=pruned)
    )
    spec = spec_of(config)
    trace_fn = jax.jit(lambda *given: blind(loaded.passes.trace_fn(*given), spec.head_mask))
    return loaded._replace(
        config=config,
        model=loaded.model._replace(spec=spec),
        passes=loaded.passes._replace(trace_fn=trace_fn),
        out=loaded.out.parent / name,
    )


def blind(trace, left):
    maps = zip(trace.probs, left, strict=True)
    return trace._replace(
        probs=tuple(each[:, np.flatnonzero(row)] if row.any() else None for each, row in maps)
    )


def studied(loaded, patch):
    """Every study of a loaded, its figures made, not painted; sections of each, and warnings."""
    left, whole = loaded.model.spec.head_mask, example.in_place
    capture = example.capture
    patch.setattr(example, "capture", lambda *given: blind(capture(*given), left))
    patch.setattr(example, "in_place", lambda probs, _: whole(probs, loaded.config.model))
    loaded = loaded._replace(save_figure=save)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sections = {name: study.study(loaded) for name, study in STUDIES.items()}
    numpy_said = [str(w.message) for w in said if issubclass(w.category, RuntimeWarning)]
    return SimpleNamespace(loaded=loaded, sections=sections, warnings=numpy_said)


def save(figure, directory, stem, pdf):
    """Leaves a trace of a figure; painting is tested below, on records."""
    assert figure.axes
    files.write_whole(directory / f"{stem}.png", b"")


@pytest.fixture(scope="module")
def intact(loaded):
    """What the trained model is found to do with all of its heads, without tables and figures."""
    one = loaded.model._replace(checkpoints=loaded.model.checkpoints[:1])
    loaded = loaded._replace(model=one)
    ((summary, curves),), trained = heads_study.measure(loaded), loaded.model.checkpoints[0]
    attention, names = phones_study.measure(loaded, trained), loaded.corpus.split.phone_names
    segment = segments_study.segmenter(segments_study.model_source(loaded), loaded)
    speech = segments_study.open_speech(loaded)
    return SimpleNamespace(
        summary=summary,
        curves=curves["mean"],
        phones=summarise_phones(
            attention, names.index("sil"), loaded.analysis.draws, head_mask=np.ones((3, 4), bool)
        ),
        names=names,
        found=segments_study.find(loaded, "trained", segment, trained.params, speech),
    )


@pytest.fixture(scope="module")
def refined(loaded):
    with pytest.MonkeyPatch.context() as patch:
        return studied(without(loaded, KEPT, "refined"), patch)


def rows_of(result, name):
    with (result.loaded.out / name).open() as file:
        return list(csv.DictReader(file))


def by_head(rows, left):
    """Rows of the heads in `left`, and of those that are gone."""
    there = [bool(left[place(row)]) for row in rows]
    pairs = list(zip(rows, there, strict=True))
    return [row for row, is_left in pairs if is_left], [
        row for row, is_left in pairs if not is_left
    ]


def place(row):
    return int(row["layer"]) - 1, int(row["head"]) - 1


def cell(value):
    """A number as tables have it."""
    return f"{value:.7g}"


def assert_empty(rows, named):
    assert rows
    for row in rows:
        assert {k for k, v in row.items() if v} <= named, row
        assert row.get("category", "pruned") == "pruned"


def test_heads_that_are_left_have_the_metrics_of_the_intact_model(intact, refined):
    left, gone = by_head(rows_of(refined, "analysis/heads.csv"), LEFT)
    assert len(left) == 5
    for row in left:
        for name, values in intact.summary.metrics.items():
            ends = {
                "": values,
                "_low": intact.summary.low[name],
                "_high": intact.summary.high[name],
            }
            for end, each in ends.items():
                assert row[f"{name}{end}"] == cell(each[place(row)])
    for name in ("globalness", "verticality", "diagonality", "weight"):
        order = np.argsort(-intact.summary.metrics[name][LEFT], kind="stable")
        assert [int(left[i][f"rank_{name}"]) for i in order] == [1, 2, 3, 4, 5]
    values = np.stack([intact.summary.metrics[name][LEFT] for name in CATEGORY_OF])
    of = np.array(list(CATEGORY_OF.values()))[categories(jax.numpy.asarray(values))]
    assert [row["category"] for row in left] == of.tolist()
    assert_empty(gone, {"layer", "head", "category", "utterances"})
    for end in ("", "_untrained"):
        shares = [float(row["share"]) for row in rows_of(refined, f"analysis/categories{end}.csv")]
        assert sum(shares) == pytest.approx(1)


def test_curves_of_a_layer_are_those_of_its_heads_that_are_left(intact, refined):
    rows = rows_of(refined, "figures/cumulative_diagonality.csv")
    for row in (row for row in rows if row["model"] == "trained"):
        layer, radius = int(row["layer"]) - 1, int(row["radius"])
        there = LEFT[layer]
        shares = intact.curves[layer, :, radius]
        for head in range(4):
            assert row[f"head_{head + 1}"] == (cell(shares[head]) if there[head] else "")
        if not there.any():
            assert row["share"] == row["share_low"] == row["share_high"] == ""
        else:
            assert float(row["share"]) == pytest.approx(shares[there].mean(), rel=1e-5)
            assert float(row["share_low"]) <= float(row["share_high"])


def test_heads_that_are_left_do_with_phones_what_they_did(intact, refined):
    summary, names = intact.phones, intact.names
    left, gone = by_head(rows_of(refined, "analysis/phone_concentration.csv"), LEFT)
    for row in left:
        phone = names.index(row["phone"])
        for name, values in zip(("", "_low", "_high"), summary.concentration, strict=True):
            assert row[f"concentration{name}"] == cell(values[place(row)][phone])
    assert_empty(gone, {"layer", "head", "phone"})
    left, gone = by_head(rows_of(refined, "figures/all_phone_maps.csv"), LEFT)
    for row in left[:: len(left) // 50]:
        pair = names.index(row["query"]), names.index(row["key"])
        assert row["relation"] == cell(summary.relation[place(row)][pair])
    assert_empty(gone, {"layer", "head", "query", "key"})
    left, gone = by_head(rows_of(refined, "analysis/phone_shares.csv"), LEFT)
    for row in left:
        assert row["own"] == cell(summary.own.value[place(row)])
        assert row["silence_high"] == cell(summary.silence.high[place(row)])
    assert_empty(gone, {"layer", "head", "category"})
    _, gone = by_head(rows_of(refined, "figures/verticality_concentration.csv"), LEFT)
    assert_empty(gone, {"layer", "head", "category"})
    wanted = [op for op in named_operations(summary, names) if LEFT[op.layer, op.head]]
    found = [row for row in rows_of(refined, "analysis/operations.csv") if row["layer"]]
    assert [(*place(row), row["operation"], row["effect"]) for row in found] == [
        (op.layer, op.head, op.name, cell(op.effect)) for op in wanted
    ]
    with np.load(refined.loaded.out / "analysis" / "phone_maps.npz") as file:
        assert np.isnan(file["relation"][~LEFT]).all()
        np.testing.assert_array_equal(file["relation"][LEFT], summary.relation[LEFT])


def test_boundaries_are_found_by_heads_that_are_left(intact, refined):
    rows = rows_of(refined, "figures/segmentation_heads.csv")
    rows = [row for row in rows if row["model"] == "trained"]
    left, gone = by_head([row for row in rows if row["head"] != "0"], LEFT)
    tuned = intact.found.tuned.r[:12].reshape(3, 4)
    assert [row["r_tuning"] for row in left] == [cell(r) for r in tuned[LEFT]]
    assert_empty(gone, {"model", "layer", "head", "category"})
    hits, predicted = intact.found.found.sum(0).T
    known = int(rows_of(refined, "analysis/segmentation.csv")[0]["boundaries"])
    r = score(hits, predicted, known)["r"]
    assert [row["r"] for row in left] == [cell(each) for each in r[:12].reshape(3, 4)[LEFT]]
    assert [row["r"] for row in rows if row["head"] == "0"] == [cell(each) for each in r[12:]]
    best = max(left, key=lambda row: float(row["r_tuning"]))
    row = rows_of(refined, "analysis/segmentation.csv")[3]
    assert row["features"] == f"head L{best['layer']} H{best['head']}"
    assert (row["r"], row["r_low"], row["tried"]) == (best["r"], best["r_low"], "5")
    drawn = {row["panel"] for row in rows_of(refined, "figures/segmentation_example.csv")}
    assert f"similarity of the rows of L{best['layer']} H{best['head']}" in drawn


def test_nothing_is_said_of_numpy_and_blank_places_are_explained(refined):
    assert refined.warnings == []
    pictures = [p for part in refined.sections.values() for s in part for p in s.pictures]
    assert all(picture.png.exists() for picture in pictures)
    explained = {p.png.stem for p in pictures if report.PRUNED_PLACES in p.caption}
    wanted = {"all_heads", "head_distribution", "cumulative_diagonality", "all_phone_maps"}
    assert explained == wanted | {"focus_chart", "segment_shares", "segmentation_heads"}
    assert "7 of 12 heads were pruned" in refined.sections["heads"][0].text
    assert pruned_sentence(nothing_pruned((3, 4))) == ""


def test_a_table_of_other_heads_is_refused(refined, loaded):
    other = without(loaded, ONE, "refined")
    with pytest.raises(
        InputError, match=r"heads\.npz: other heads are pruned there .* --only heads"
    ):
        heads_study.kept_heads(other, "")
    kept = heads_study.kept_heads(refined.loaded, "")
    np.testing.assert_array_equal(kept.category != "pruned", LEFT)
    np.testing.assert_array_equal(np.isfinite(kept.metrics["weight"]), LEFT)
    smaller = loaded.model.spec._replace(layers=2)
    with pytest.raises(InputError, match="is of 3 x 4 heads, the model has 2 x 4; make it anew"):
        heads_study.read_heads(refined.loaded.out / "analysis" / "heads.npz", smaller)


def test_a_table_is_handed_on_as_it_is_and_nothing_else_is_taken_for_one(refined, tmp_path):
    path = refined.loaded.out / "analysis" / "heads.npz"
    kept = heads_study.read_heads(path, refined.loaded.model.spec)
    rows = rows_of(refined, "analysis/heads.csv")
    for row in rows:
        if LEFT[place(row)]:
            assert row["globalness"] == cell(kept.metrics["globalness"][place(row)])
            assert row["rank_weight_low"] == cell(kept.rank_low["weight"][place(row)])
    assert (kept.name, kept.utterances) == ("trained", int(rows[0]["utterances"]))
    shares = rows_of(refined, "analysis/categories.csv")
    assert [row["share"] for row in shares] == [cell(kept.shares[r["category"]][0]) for r in shares]
    arrays = dict(np.load(path))
    for name, change in {
        "objects": arrays | {"utterances": np.array([{}], object)},
        "empty": {},
        "other": arrays | {"stranger": np.zeros(3)},
        "short": arrays | {"metrics/weight": np.zeros((2, 2))},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **change)
        with pytest.raises(InputError, match=rf"{name}\.npz: .* make it anew with analyze.py"):
            heads_study.read_heads(tmp_path / f"{name}.npz", refined.loaded.model.spec)
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("text", "missing"):
        with pytest.raises(InputError, match=rf"{name}\.npz: .* make it anew with analyze.py"):
            heads_study.read_heads(tmp_path / f"{name}.npz", refined.loaded.model.spec)


def test_a_model_without_any_head_has_nothing_to_see(tmp_path):
    everything = ((0, 1, 2, 3),) * 3
    model = dataclasses.replace(CONFIG.model, pruned_heads=everything)
    with pytest.raises(InputError, match="all of its heads are pruned"):
        open_model(tmp_path, dataclasses.replace(CONFIG, model=model), None, None)
    np.testing.assert_array_equal(spec_of(CONFIG).head_mask, np.ones((3, 4), bool))
    assert pruned_sentence(np.array([[True, False]])).startswith("1 of 2 head was pruned")


def test_a_diverged_model_stops_the_study(loaded):
    gone = without(loaded, KEPT, "diverged")
    broken = LEFT.copy()
    broken[0, 2] = False

    def diverged(*given):
        trace = loaded.passes.trace_fn(*given)
        maps = zip(trace.probs, broken, strict=True)
        blank = (jax.numpy.where(row[:, None, None], each, np.nan) for each, row in maps)
        return blind(trace._replace(probs=tuple(blank)), LEFT)

    passes = gone.passes._replace(trace_fn=jax.jit(diverged))
    with pytest.raises(InputError, match="layer 1, head 3: the checkpoint has diverged"):
        heads_study.measure(gone._replace(passes=passes))
