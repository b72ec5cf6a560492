"""A pruned model is exported as a run like any other: its config, its orderings, its files."""

import csv
import dataclasses
import json
import sys
import types

import jax
import numpy as np
import pytest
from head_tables import write_head_table
from scripts import python

from sat_jax import mesh
from sat_jax.audio import dataset
from sat_jax.config import (
    Analysis,
    Batches,
    Config,
    Corpus,
    Export,
    Loop,
    Mesh,
    Model,
    StackedFrames,
    Talker,
)
from sat_jax.config.check import check
from sat_jax.config.json import (
    decode,
    differences,
    encode,
    read_config,
    read_run,
    require_same,
    write_config,
)
from sat_jax.errors import InputError
from sat_jax.model.build import build_model, init_params, spec_of
from sat_jax.model.prune import prune_params
from sat_jax.records.ablation import REVERSED
from sat_jax.study import export
from sat_jax.study.ablate import study as ablate
from sat_jax.sweep import plan as ablate_plan
from sat_jax.trace.load import load_model


def pruned_config(**changes):
    pruned, spans = ((1, 2), (0, 1, 2, 3)), ((5, None), ())
    model = Model(layers=2, heads=4, width=16, pruned_heads=pruned, spans=spans, **changes)
    return Config(model=model)


def test_the_config_survives_json(tmp_path):
    config = pruned_config(span_softmax="band")
    check(config)
    write_config(tmp_path / "config.json", config)
    assert read_config(tmp_path / "config.json") == config
    assert encode(config)["model"]["pruned_heads"] == [[1, 2], [0, 1, 2, 3]]
    field = "pruned_heads"
    wrong = ((3, "give a list"), ([1], rf"{field}\[0\]"), ([["a"]], rf"{field}\[0\]\[0\]"))
    for value, message in wrong:
        with pytest.raises(InputError, match=message):
            decode(Config, {"model": {field: value}})


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"pruned_heads": ((0,),)}, "model.pruned-heads.*model.layers = 2"),
        ({"pruned_heads": ((0, 4), ())}, "pruned-heads.*layer 1.*model.heads - 1 = 3"),
        ({"pruned_heads": ((), (1, 0))}, "pruned-heads.*layer 2.*rising"),
        ({"pruned_heads": ((1, 1), ())}, "pruned-heads.*rising"),
        ({"spans": ((1, 2),)}, "model.spans.*model.layers = 2"),
        ({"spans": ((1,), ())}, "model.spans.*layer 1, which has 2 heads"),
        ({"spans": ((1, -2), ())}, "model.spans.*null .* for no limit"),
        ({"scan_layers": True}, "leave --model.scan-layers away"),
    ],
)
def test_impossible_prunings_name_field_and_cure(changes, cure):
    config = pruned_config()
    with pytest.raises(InputError, match=cure):
        check(dataclasses.replace(config, model=dataclasses.replace(config.model, **changes)))


def test_a_mesh_has_to_divide_the_heads_that_are_not_pruned():
    config = dataclasses.replace(pruned_config(), mesh=Mesh(model=2))
    check(config)
    odd = dataclasses.replace(config.model, pruned_heads=((0,), ()), spans=())
    with pytest.raises(InputError, match="leave --mesh.model at 1"):
        check(dataclasses.replace(config, model=odd))


def test_an_exported_run_may_learn_anything_until_it_does():
    whole = pruned_config()
    old = dataclasses.replace(whole, loop=dataclasses.replace(whole.loop, steps=9, first=9))
    longer = dataclasses.replace(old, loop=dataclasses.replace(old.loop, steps=20), seed=3)
    assert differences(old, longer) == []
    other = dataclasses.replace(old, model=dataclasses.replace(old.model, pruned_heads=()))
    assert differences(old, other) == ["model.pruned_heads: [[1, 2], [0, 1, 2, 3]] -> []"]
    assert differences(longer, old) == ["seed: 3 -> 0", "loop.steps: 20 -> 9"]
    with pytest.raises(InputError, match="loop.first is 9"):
        check(dataclasses.replace(old, loop=dataclasses.replace(old.loop, steps=8)))


def test_a_run_directory_goes_on_with_its_own_experiment_only(tmp_path):
    stored = tmp_path / "config.json"
    config = dataclasses.replace(pruned_config(), run_dir=tmp_path)
    old = dataclasses.replace(config, loop=dataclasses.replace(config.loop, steps=9, first=9))
    with pytest.raises(InputError, match="was not made by export.py"):
        require_same(stored, old)
    require_same(stored, config)
    write_config(stored, old)
    with pytest.raises(InputError, match="loop.steps is 9, the step at which"):
        require_same(stored, old)
    require_same(stored, dataclasses.replace(old, loop=dataclasses.replace(old.loop, steps=10)))
    with pytest.raises(InputError, match="loop.first: 9 -> 0"):
        require_same(stored, dataclasses.replace(old, loop=config.loop))
    # Trained on, it may be made longer and not shorter.
    begun = dataclasses.replace(old, loop=dataclasses.replace(old.loop, steps=20))
    write_config(stored, begun)
    longer = dataclasses.replace(begun, loop=dataclasses.replace(old.loop, steps=30))
    assert require_same(stored, longer) == begun
    with pytest.raises(InputError, match="loop.steps: 20 -> 15"):
        require_same(stored, dataclasses.replace(old, loop=dataclasses.replace(old.loop, steps=15)))
    write_config(stored, old)
    assert read_run(tmp_path) == old


def test_a_pruned_model_is_not_swept():
    said = []
    model = types.SimpleNamespace(spec=spec_of(pruned_config()))
    loaded = types.SimpleNamespace(
        directory="run", model=model, analysis=Analysis(), say=said.append
    )
    assert ablate.study(loaded) == []
    assert "needs a whole model" in said[0]
    loaded.analysis = Analysis(only=("ablate",))
    with pytest.raises(InputError, match="give the run that it was made from"):
        ablate.study(loaded)


MODEL = Model(layers=2, heads=4, width=16, ffn=24)
GLOBALNESS = [[3.0, 1.0, 2.0, 0.5], [4.0, 0.1, 0.2, 5.0]]


def write_heads(run, values):
    """The table of the heads study, every metric with the same values; NaN is a pruned head."""
    names = ("globalness", "verticality", "diagonality", "weight")
    write_head_table(run / "analysis" / "heads.npz", dict.fromkeys(names, values))


def test_heads_go_in_the_order_of_the_table_or_of_a_file(tmp_path):
    write_heads(tmp_path, GLOBALNESS)
    options, replace = Export(tmp_path / "out", heads=3), dataclasses.replace

    def first(model=MODEL, **changes):
        spec = spec_of(Config(model=model))
        return export.heads_to_prune(tmp_path, spec, replace(options, **changes)).tolist()

    assert first() == [7, 4, 0]
    assert first(by="globalness reversed") == [5, 6, 3]
    assert first(by="weight") == [5, 6, 3]
    assert first(heads=0) == []
    (tmp_path / "order.csv").write_text("layer,head\n2,1\n1,4\n")
    assert first(order=tmp_path / "order.csv", heads=2) == [4, 3]
    with pytest.raises(InputError, match="heads is 3, and the ordering has 2"):
        first(order=tmp_path / "order.csv")
    (tmp_path / "order.csv").write_text("layer,head\n3,1\n")
    with pytest.raises(InputError, match="order .*line 2: there is no layer 3"):
        first(order=tmp_path / "order.csv")
    gone = dataclasses.replace(MODEL, pruned_heads=((3,), (0, 2)))
    write_heads(tmp_path, [[3.0, 1.0, 2.0, np.nan], [np.nan, 0.1, np.nan, 5.0]])
    assert first(gone) == [7, 0, 2]
    assert first(gone, by="weight reversed", heads=5) == [7, 0, 2, 1, 5]
    with pytest.raises(InputError, match="5 of the 5 heads that are not pruned"):
        first(gone, heads=6)
    with pytest.raises(InputError, match="other heads are pruned there"):
        first()


def test_every_ordering_of_the_ablation_study_can_be_asked_for():
    hints = Export.__dataclass_fields__["by"].type.__args__
    assert set(hints) == {name + end for name in ablate_plan.METRICS for end in ("", REVERSED)}


def test_prunings_add_up():
    asked = Export("out", heads=3, span=5)
    once = export.pruned_model(MODEL, np.array([0, 3, 6]), asked)
    assert once.unpruned_heads == ((1, 2), (0, 1, 3))
    assert once.spans == ((5, 5), (5, 5, 5))
    more = export.pruned_model(once, np.array([1]), dataclasses.replace(asked, span=None))
    assert more.unpruned_heads == ((2,), (0, 1, 3))
    assert more.spans == ((5,), (5, 5, 5))
    assert export.pruned_model(more, np.arange(0), dataclasses.replace(asked, span=9)).spans[0] == (
        5,
    )
    nothing = export.pruned_model(MODEL, np.arange(8), dataclasses.replace(asked, span=None))
    assert nothing.unpruned_heads == ((), ())
    with pytest.raises(InputError, match="give --softmax row"):
        export.pruned_model(once, np.arange(0), dataclasses.replace(asked, softmax="band"))


@pytest.mark.parametrize("difference", [2e-5, np.nan])
def test_a_difference_stops_the_export(difference):
    same = export.Compared(9e-6, 1.0, 0.0, 0.0, 0.0, 1)
    export.require_equal(same)
    with pytest.raises(InputError, match="nothing was written"):
        export.require_equal(same._replace(difference=difference))


def records(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run as train.py leaves it, of models that are not trained, and the heads study's table."""
    corpus = Corpus(
        talker=Talker(speakers=4, utterances=6),
        valid_share=0.2,
        test_share=0.2,
        data_dir=tmp_path_factory.mktemp("data"),
    )
    dataset.prepare(corpus, lambda _: None)
    directory = tmp_path_factory.mktemp("runs") / "whole"
    config = Config(
        run_dir=directory,
        corpus=corpus,
        model=Model(
            layers=2,
            heads=4,
            width=32,
            ffn=64,
            frontend=StackedFrames(max_positions=64),
            init_std=None,
        ),
        batches=Batches(size=4, max_frames=96, buckets=1),
        loop=Loop(steps=6, log_every=1, valid_batches=1),
    )
    module = build_model(config)
    start = jax.jit(lambda seed: init_params(jax.random.key(seed), module))
    devices = mesh.build_mesh(Mesh(), 8)
    line = {"valid_loss": 1.0, "valid_mean_frame": 1.0, "valid_interpolation": 1.0}
    export.write_run(config, {0: start(0), 6: start(1)}, {0: line, 6: line}, {}, devices)
    write_heads(directory, GLOBALNESS)
    return directory


def exported(run, out, *more):
    return python(sys.executable, "export.py", str(run), "--out", str(out), *more)


@pytest.mark.commands
def test_an_export_is_a_run(run):
    out = run.parent / "small"
    asked = ["--heads", "5", "--by", "globalness", "--span", "3", "--softmax", "band"]
    result = exported(run, out, *asked)
    assert result.returncode == 0, result.stderr
    said = result.stdout
    assert "step 6: 3 of 8 heads stay, by layer 1 2; spans 3 (band)" in said
    assert "softmax runs over all keys" in said
    config, small = read_config(run / "config.json"), read_config(out / "config.json")
    assert small.model.unpruned_heads == ((3,), (1, 2))
    assert small.model.spans == ((3,), (3, 3))
    start, last = records(out)
    assert (start["step"], last["step"]) == (0, 6)
    assert last["difference"] < 1e-5 < 1e-2 < last["paper"]
    assert last["parameters_before"] - last["parameters_after"] == 5 * (3 * 33 * 8 + 8 * 32)
    assert last["flops_after"] < last["flops_before"]
    assert last["seconds_after"] > 0
    assert last["before"] != last["after"]
    assert 0 < last["valid_loss"] != start["valid_loss"] > 0
    devices = mesh.build_mesh(Mesh(), 8)
    trees = {}
    for path, each in ((run, config), (out, small)):
        module = build_model(each)
        for number in (0, None):
            found, _, params = load_model(path / "ckpt", number, module, devices)
            trees[path, found] = params
    for number in (0, 6):
        pruned = prune_params(trees[run, number], config.model, small.model)
        jax.tree.map(np.testing.assert_array_equal, trees[out, number], pruned)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["data"]["exported_from"] == f"{run}, step 6"
    assert not list(out.parent.glob(".small*"))

    again = exported(run, out, *asked)
    assert again.returncode == 2
    assert f"{out} exists: give another --out" in again.stderr

    longer = ["--loop.steps", "10", "--optim.peak-lr", "1e-3"]
    result = python(sys.executable, "train.py", str(out), *longer)
    assert result.returncode == 0, result.stderr
    assert "going on from step 6 of 10 with a fresh optimiser" in result.stdout
    learned = [r for r in records(out) if "loss" in r]
    assert [r["step"] for r in learned] == [7, 8, 9, 10]
    assert learned[0]["smooth_loss"] == learned[0]["loss"]
    rates = [r["learning_rate"] for r in learned]
    assert rates[0] == pytest.approx(1e-3)
    assert rates == sorted(rates, reverse=True)
    assert all(0 < r["grad_norm"] < np.inf for r in learned)

    few = ["--only", "heads", "--max-utterances", "4", "--draws", "20", "--no-pdf"]
    result = python(sys.executable, "analyze.py", str(out), *few)
    assert result.returncode == 0, result.stderr
    with (out / "analysis" / "heads.csv").open() as file:
        categories = [row["category"] for row in csv.DictReader(file)]
    assert [category == "pruned" for category in categories] == [True] * 3 + [False] + [
        *(True, False, False, True)
    ]


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ([], "nothing to prune: give --heads, --span or both"),
        (["--heads", "-1"], "heads is -1: give the number of heads to prune"),
        (["--span", "-1"], "span is -1: give positions from 0"),
        (["--heads", "1", "--softmax", "band"], "softmax band needs a span"),
        (["--heads", "1"], "config.json: not found; give a run directory"),
    ],
)
def test_an_export_that_cannot_be_is_one_line(arguments, cure, tmp_path):
    result = exported(tmp_path / "none", tmp_path / "out", *arguments)
    assert result.returncode == 2
    assert cure in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
