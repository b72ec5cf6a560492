"""A refined model is the masked one with fewer parameters, and a run like any other."""

import csv
import dataclasses
import functools
import itertools
import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from test_end_to_end import python
from test_model import F, R, make

from sat_jax import mesh
from sat_jax.analysis.orderings import REVERSED
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
    Talker,
)
from sat_jax.config_check import check
from sat_jax.config_json import (
    decode,
    differences,
    encode,
    read_config,
    read_run,
    require_same,
    write_config,
)
from sat_jax.errors import InputError
from sat_jax.model.banded import BLOCK, banded_context, block_shape
from sat_jax.model.cost import forward_flops, parameter_count
from sat_jax.model.mockingjay import init_params
from sat_jax.model.pruned import refine_params
from sat_jax.study import ablate, ablate_plan, refine
from sat_jax.trace.capture import capture
from sat_jax.trace.load import load_model

B, T = 3, 70
LENGTHS = np.array([T, 41, 1])
SHAPE = {"layers": 3, "max_positions": 128}
KEPT = ((1, 3), (), (0, 1, 2))
SPANS = {
    "none": (),
    "one": ((3, 3), (), (3, 3, 3)),
    "mixed": ((0, T + 5), (), (17, -1, 5)),
}


def batch():
    x = jax.random.normal(jax.random.key(1), (B, T, R * F))
    return x, jnp.arange(T) < LENGTHS[:, None]


def pair(kept=KEPT, spans=(), softmax="row", **changes):
    """The masked model with its gates and spans, and the refined one: (module, params) each."""
    module, params = make(**SHAPE, **changes)
    config = dataclasses.replace(module.config, span_softmax=softmax)
    small = dataclasses.replace(config, kept=kept, spans=spans)
    gate, span = refine.cut_of(small)
    return (
        (module.clone(config=config), params, {"gate": gate, "span": span}),
        (module.clone(config=small), refine_params(params, config, small), {}),
    )


@functools.cache
def runner(module):
    """The compiled forward pass of a module, shared by tests."""
    return jax.jit(lambda params, x, valid, cut: module.apply({"params": params}, x, valid, **cut))


def outputs(module, params, cut):
    x, valid = batch()
    return np.where(valid[:, :, None], runner(module)(params, x, valid, cut), 0)


@pytest.mark.parametrize(
    ("softmax", "spans", "pre_ln"),
    [
        ("row", "none", True),
        ("row", "one", False),
        ("row", "mixed", True),
        ("band", "one", True),
        ("band", "mixed", False),
    ],
)
def test_the_refined_model_is_the_masked_one(softmax, spans, pre_ln):
    masked, small = pair(KEPT, SPANS[spans], softmax, pre_ln=pre_ln)
    expected = outputs(*masked)
    np.testing.assert_allclose(outputs(*small), expected, atol=1e-5)
    assert np.abs(outputs(masked[0], masked[1], {}) - expected).max() > 0.01


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_any_heads_may_go(share):
    gates = np.random.default_rng(5).random((3, 4)) < share
    kept = tuple(tuple(np.flatnonzero(row).tolist()) for row in gates)
    masked, small = pair(kept)
    np.testing.assert_array_equal(masked[2]["gate"], gates)
    np.testing.assert_allclose(outputs(*small), outputs(*masked), atol=1e-5)


@pytest.mark.parametrize("softmax", ["row", "band"])
def test_gradients_are_those_of_the_heads_that_are_left(softmax):
    masked, small = pair(KEPT, SPANS["mixed"], softmax)
    x, valid = batch()

    def gradients(module, params, cut):
        def loss(params):
            out = module.apply({"params": params}, x, valid, **cut)
            return (jnp.where(valid[:, :, None], out, 0.0) ** 2).mean()

        return jax.jit(jax.grad(loss))(params)

    expected = refine_params(gradients(*masked), masked[0].config, small[0].config)
    found = gradients(*small)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), found, expected)
    assert np.abs(found["encoder"]["layer_2"]["attention"]["streams"]["kernel"]).max() > 1e-4


def test_a_gate_goes_by_the_number_that_a_head_had():
    masked, small = pair()
    gate = np.ones((3, 4), np.float32)
    gate[0, 3] = gate[0, 0] = 0.0
    both = {"gate": masked[2]["gate"] * gate, "span": 4}
    expected = outputs(masked[0], masked[1], both)
    found = outputs(small[0], small[1], {"gate": gate, "span": 4})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    alive = np.where(masked[2]["gate"] == 0, 0.0, 1.0)
    np.testing.assert_array_equal(
        outputs(small[0], small[1], {"gate": alive}), outputs(small[0], small[1], {})
    )


@pytest.mark.parametrize("softmax", ["row", "band"])
def test_captured_maps_keep_their_places(softmax):
    masked, small = pair(KEPT, SPANS["mixed"], softmax)
    x, valid = batch()

    def traced(module, params, cut):
        return jax.jit(lambda p: capture(module, p, x, valid, **cut))(params)

    expected, found = traced(*masked), traced(*small)
    seen = np.asarray(valid)[:, :, None]
    for layer, (ours, theirs) in enumerate(zip(found.probs, expected.probs, strict=True)):
        assert ours.shape == (B, 4, T, T)
        for head in range(4):
            if head in KEPT[layer]:
                np.testing.assert_allclose(
                    np.where(seen, ours[:, head], 0), np.where(seen, theirs[:, head], 0), atol=1e-6
                )
            else:
                assert np.isnan(ours[:, head]).all()
    assert (np.asarray(found.probs[0])[1, 1, :, 41:] == 0).all()
    beyond = np.abs(np.subtract.outer(np.arange(T), np.arange(T))) > 17
    assert (np.asarray(found.probs[2])[0, 0][beyond] == 0).all() == (softmax == "band")
    for ours, theirs in zip(found.hidden, expected.hidden, strict=True):
        np.testing.assert_allclose(np.where(seen, ours, 0), np.where(seen, theirs, 0), atol=1e-5)


def banded_oracle(query, key, value, valid, spans):
    """Loops over queries; padded queries are left at 0."""
    context = np.zeros(query.shape)
    b, h, t, k = query.shape
    for row, head, q in itertools.product(range(b), range(h), range(t)):
        if valid[row, q]:
            span = spans[head] if spans[head] >= 0 else t
            near = [s for s in range(t) if abs(s - q) <= span and valid[row, s]]
            logits = key[row, head, near] @ query[row, head, q] / np.sqrt(k)
            weight = np.exp(logits - logits.max())
            context[row, head, q] = weight @ value[row, head, near] / weight.sum()
    return context


@pytest.mark.parametrize(
    ("length", "spans"),
    [
        (1, (0, 3)),
        (7, (2, 2)),
        (16, (0, 0)),
        (17, (0, 1)),
        (33, (1, 8)),
        (48, (5, 5)),
        (63, (15, 16)),
        (64, (20, -1)),
        (65, (31, 21)),
        (100, (17, 400)),
    ],
)
def test_banded_attention_is_the_softmax_over_the_band(length, spans):
    rng = np.random.default_rng(length)
    query, key, value = rng.normal(size=(3, 2, 2, length, 4))
    valid = np.arange(length) < np.array([[length], [length // 2 + 1]])
    run = jax.jit(functools.partial(banded_context, spans=spans))
    found = np.asarray(run(*(jnp.asarray(a, jnp.float32) for a in (query, key, value)), valid))
    expected = banded_oracle(query, key, value, valid, spans)
    np.testing.assert_allclose(np.where(valid[:, None, :, None], found, 0), expected, atol=1e-5)
    nowhere = run(*(jnp.asarray(a, jnp.float32) for a in (query, key, value)), valid & False)
    assert np.isfinite(nowhere).all()


def test_blocks_hold_the_span():
    assert block_shape(112, 3) == (BLOCK, BLOCK + 6)
    assert block_shape(112, 20) == (20, 60)
    assert block_shape(50, 20) == block_shape(50, -1) == block_shape(50, 49) == (50, 50)


def test_dropout_within_the_band():
    query = jnp.zeros((1, 2, 600, 4))
    arguments = (query, query, jnp.ones_like(query), jnp.ones((1, 600), bool), (4, 9))
    run = jax.jit(lambda key: banded_context(*arguments, key, 0.5))
    dropped = np.asarray(run(jax.random.key(0)))
    assert dropped.mean() == pytest.approx(1.0, abs=0.05)
    # The mean of n values that are 0 or 2 has the variance 1 / n.
    assert dropped.var((2, 3))[0] == pytest.approx([1 / 9, 1 / 19], rel=0.3)


def largest_array(softmax, length):
    """Elements of the largest array anywhere in a training step of the model."""
    module, params = pair(KEPT, SPANS["one"], softmax, dropout=0.1)[1][:2]
    module = module.clone(config=dataclasses.replace(module.config, max_positions=length))
    x, valid = jnp.zeros((1, length, R * F)), jnp.ones((1, length), bool)

    def loss(params):
        return module.apply({"params": params}, x, valid, key=jax.random.key(0)).sum()

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))
            for inner in jaxprs_in_params(equation.params):
                yield from sizes(inner)

    return max(sizes(jax.make_jaxpr(jax.grad(loss))(params).jaxpr))


def test_a_band_costs_as_much_as_its_length():
    short, long = (largest_array("band", length) for length in (1024, 2048))
    assert long <= 2 * short < 1024**2 / 4
    assert largest_array("row", 1024) >= 1024**2


def test_parameters_are_fewer_by_what_a_head_has():
    (_, params, _), (small, cut, _) = pair()
    width, head = 16, 4
    each = 3 * (width + 1) * head + head * width
    assert parameter_count(params) - parameter_count(cut) == 7 * each
    assert set(cut["encoder"]["layer_1"]["attention"]) == {"out"}
    shapes = jax.eval_shape(lambda key: init_params(key, small, R * F), jax.random.key(0))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, cut)


def test_operations_are_counted():
    model = Model(layers=2, heads=2, width=8, ffn=16)
    ends, t = 8 * (6 + 8 + 12), 100
    layer = 8 * 24 + 8 * 8 + 2 * 8 * 16
    assert forward_flops(model, t, 6, 12) == 2 * t * (ends + 2 * layer + 2 * 2 * t * 8)
    one = dataclasses.replace(model, kept=((1,), ()), spans=((3,), ()))
    head = 8 * 12 + 4 * 8
    assert forward_flops(one, t, 6, 12) == 2 * t * (ends + head + 4 * 8 * 16 + 2 * t * 4)
    band = dataclasses.replace(one, span_softmax="band")
    saved = 2 * 2 * 4 * (t * t - 7 * BLOCK * (BLOCK + 6))
    assert forward_flops(one, t, 6, 12) - forward_flops(band, t, 6, 12) == saved


def refined_config(**changes):
    model = Model(layers=2, heads=4, width=16, kept=((0, 3), ()), spans=((5, -1), ()), **changes)
    return Config(model=model)


def test_the_config_survives_json(tmp_path):
    config = refined_config(span_softmax="band")
    check(config)
    write_config(tmp_path / "config.json", config)
    assert read_config(tmp_path / "config.json") == config
    assert encode(config)["model"]["kept"] == [[0, 3], []]
    for value, message in ((3, "give a list"), ([1], r"kept\[0\]"), ([["a"]], r"kept\[0\]\[0\]")):
        with pytest.raises(InputError, match=message):
            decode(Config, {"model": {"kept": value}})


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"kept": ((0,),)}, "model.kept.*model.layers = 2"),
        ({"kept": ((0, 4), ())}, "model.kept.*layer 1.*model.heads - 1 = 3"),
        ({"kept": ((), (1, 0))}, "model.kept.*layer 2.*rising"),
        ({"kept": ((1, 1), ())}, "model.kept.*rising"),
        ({"spans": ((1, 2),)}, "model.spans.*model.layers = 2"),
        ({"spans": ((1,), ())}, "model.spans.*layer 1, which has 2 heads"),
        ({"spans": ((1, -2), ())}, "model.spans.*-1 for no limit"),
        ({"scan_layers": True}, "leave --model.scan-layers away"),
    ],
)
def test_impossible_refinements_name_field_and_cure(changes, cure):
    config = refined_config()
    with pytest.raises(InputError, match=cure):
        check(dataclasses.replace(config, model=dataclasses.replace(config.model, **changes)))


def test_a_mesh_has_to_divide_the_heads_that_are_left():
    config = dataclasses.replace(refined_config(), mesh=Mesh(model=2))
    check(config)
    odd = dataclasses.replace(config.model, kept=((0,), ()), spans=())
    with pytest.raises(InputError, match="leave --mesh.model at 1"):
        check(dataclasses.replace(config, model=odd))


def test_an_exported_run_may_learn_anything_until_it_does():
    whole = refined_config()
    old = dataclasses.replace(whole, loop=dataclasses.replace(whole.loop, steps=9, first=9))
    longer = dataclasses.replace(old, loop=dataclasses.replace(old.loop, steps=20), seed=3)
    assert differences(old, longer) == []
    other = dataclasses.replace(old, model=dataclasses.replace(old.model, kept=()))
    assert differences(old, other) == ["model.kept: [[0, 3], []] -> []"]
    assert differences(longer, old) == ["seed: 3 -> 0", "loop.steps: 20 -> 9"]
    with pytest.raises(InputError, match="loop.first is 9"):
        check(dataclasses.replace(old, loop=dataclasses.replace(old.loop, steps=8)))


def test_a_run_directory_goes_on_with_its_own_experiment_only(tmp_path):
    stored = tmp_path / "config.json"
    config = dataclasses.replace(refined_config(), run_dir=tmp_path)
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


def test_a_model_that_was_cut_is_not_swept():
    said = []
    subject = types.SimpleNamespace(
        run="run", config=refined_config(), analysis=Analysis(), say=said.append
    )
    assert ablate.study(subject) == []
    assert "needs a whole model" in said[0]
    subject.analysis = Analysis(only=("ablate",))
    with pytest.raises(InputError, match="give the run that it was made from"):
        ablate.study(subject)


MODEL = Model(layers=2, heads=4, width=16, ffn=24)
GLOBALNESS = [[3.0, 1.0, 2.0, 0.5], [4.0, 0.1, 0.2, 5.0]]


def write_heads(run, values):
    """A heads.csv with the columns that an ordering needs; NaN is a head that is gone."""
    (run / "analysis").mkdir(parents=True, exist_ok=True)
    with (run / "analysis" / "heads.csv").open("w", newline="") as file:
        names = ("globalness", "verticality", "diagonality", "weight")
        table = csv.writer(file)
        table.writerow(["layer", "head", "category", *names])
        for layer, row in enumerate(values, 1):
            for head, value in enumerate(row, 1):
                gone = np.isnan(value)
                cells = [""] * 4 if gone else [value] * 4
                table.writerow([layer, head, "gone" if gone else "global", *cells])


def test_heads_go_in_the_order_of_the_table_or_of_a_file(tmp_path):
    write_heads(tmp_path, GLOBALNESS)
    asked = Export(tmp_path / "out", heads=3)

    def first(model=MODEL, **changes):
        return refine.heads_to_go(tmp_path, model, dataclasses.replace(asked, **changes)).tolist()

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
    gone = dataclasses.replace(MODEL, kept=((0, 1, 2), (1, 3)))
    write_heads(tmp_path, [[3.0, 1.0, 2.0, np.nan], [np.nan, 0.1, np.nan, 5.0]])
    assert first(gone) == [7, 0, 2]
    assert first(gone, by="weight reversed", heads=5) == [7, 0, 2, 1, 5]
    with pytest.raises(InputError, match="5 of the 5 heads that are left"):
        first(gone, heads=6)
    with pytest.raises(InputError, match="other heads are gone there"):
        first()


def test_every_ordering_of_the_ablation_study_can_be_asked_for():
    hints = Export.__dataclass_fields__["by"].type.__args__
    assert set(hints) == {name + end for name in ablate_plan.METRICS for end in ("", REVERSED)}


def test_refinements_add_up():
    asked = Export("out", heads=3, span=5)
    once = refine.refined(MODEL, np.array([0, 3, 6]), asked)
    assert once.kept == ((1, 2), (0, 1, 3))
    assert once.spans == ((5, 5), (5, 5, 5))
    more = refine.refined(once, np.array([1]), dataclasses.replace(asked, span=None))
    assert more.kept == ((2,), (0, 1, 3))
    assert more.spans == ((5,), (5, 5, 5))
    assert refine.refined(more, np.arange(0), dataclasses.replace(asked, span=9)).spans[0] == (5,)
    assert refine.refined(MODEL, np.arange(8), dataclasses.replace(asked, span=None)).kept == (
        (),
        (),
    )
    with pytest.raises(InputError, match="give --softmax row"):
        refine.refined(once, np.arange(0), dataclasses.replace(asked, softmax="band"))


@pytest.mark.parametrize("difference", [2e-5, np.nan])
def test_a_difference_stops_the_export(difference):
    same = refine.Compared(9e-6, 1.0, 0.0, 0.0, 0.0, 1)
    refine.require_equal(same)
    with pytest.raises(InputError, match="nothing was written"):
        refine.require_equal(same._replace(difference=difference))


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
        model=Model(layers=2, heads=4, width=32, ffn=64, max_positions=64, init_std=None),
        batches=Batches(size=4, max_frames=96, buckets=1),
        loop=Loop(steps=6, log_every=1, valid_batches=1),
    )
    module, width = refine.module_of(config)
    start = jax.jit(lambda seed: init_params(jax.random.key(seed), module, width))
    devices = mesh.build_mesh(Mesh(), 8)
    line = {"valid_loss": 1.0, "valid_mean_frame": 1.0, "valid_interpolation": 1.0}
    refine.write_run(config, {0: start(0), 6: start(1)}, {0: line, 6: line}, {}, devices)
    write_heads(directory, GLOBALNESS)
    return directory


def exported(run, out, *more):
    return python(sys.executable, "export.py", str(run), "--out", str(out), *more)


def test_an_export_is_a_run(run):
    out = run.parent / "small"
    asked = ["--heads", "5", "--by", "globalness", "--span", "3", "--softmax", "band"]
    result = exported(run, out, *asked)
    assert result.returncode == 0, result.stderr
    said = result.stdout
    assert "step 6: 3 of 8 heads left, by layer 1 2; spans 3 (band)" in said
    assert "softmax runs over all keys" in said
    config, small = read_config(run / "config.json"), read_config(out / "config.json")
    assert small.model.kept == ((3,), (1, 2))
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
        module, width = refine.module_of(each)
        for number in (0, None):
            found, _, params = load_model(path / "ckpt", number, module, width, devices)
            trees[path, found] = params
    for number in (0, 6):
        cut = refine_params(trees[run, number], config.model, small.model)
        jax.tree.map(np.testing.assert_array_equal, trees[out, number], cut)
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

    few = ["--only", "heads", "--max-utterances", "4", "--draws", "20"]
    result = python(sys.executable, "analyze.py", str(out), *few)
    assert result.returncode == 0, result.stderr
    with (out / "analysis" / "heads.csv").open() as file:
        categories = [row["category"] for row in csv.DictReader(file)]
    assert [category == "gone" for category in categories] == [True] * 3 + [False] + [
        *(True, False, False, True)
    ]


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ([], "nothing to remove: give --heads, --span or both"),
        (["--heads", "-1"], "heads is -1: give the number of heads to remove"),
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
