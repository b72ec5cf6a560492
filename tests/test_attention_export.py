"""Input-independent attention out of a trained model: mean maps, patterns, and what is refused."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scripts import STEPS, python
from test_model import FEATURES, apply, batch, make

from sat_jax import mesh
from sat_jax.audio import dataset
from sat_jax.audio.prepared import open_split
from sat_jax.config import Batches, Config, Export, Mesh
from sat_jax.config.attention import ATTENTIONS
from sat_jax.config.check import check as check_config
from sat_jax.config.json import read_run
from sat_jax.errors import InputError
from sat_jax.model.attention.edit import HeadEdit
from sat_jax.model.attention.patterns import handcrafted
from sat_jax.model.build import build_model, spec_of
from sat_jax.study import attention_export as exporting
from sat_jax.trace.capture import capture
from sat_jax.trace.load import load_model

SIDE = 14


def configs(kind="syn_random", **changes):
    """A whole config with its parameters, and the one that `kind` replaces it by."""
    model, params = make(dropout=0.0, **changes)
    config = Config(model=model.config, features=FEATURES, batches=Batches(max_frames=3 * SIDE))
    options = Export(out="x", attention=kind)
    return config, params, exporting.with_attention(config, spec_of(config), options)


def test_a_model_with_replaced_maps_is_the_one_that_is_made():
    config, params, new = configs()
    logits = np.random.default_rng(0).normal(size=(2, 4, SIDE, SIDE)).astype(np.float32)
    made = exporting.replaced(params, config, new, logits)
    x, valid = batch()
    edit = exporting.edit_of(made, new)
    np.testing.assert_allclose(edit.maps, jax.nn.softmax(logits, -1), atol=1e-6)
    whole = jax.jit(build_model(config).apply)({"params": params}, x, valid, edit)
    ours = jax.jit(build_model(new).apply)({"params": made}, x, valid)
    np.testing.assert_allclose(ours[valid], whole[valid], atol=1e-5)
    assert not np.allclose(ours[valid], apply(build_model(config), params, x, valid)[valid])


def test_without_maps_the_algorithm_begins_as_it_does():
    config, params, new = configs("syn_handcrafted")
    made = exporting.replaced(params, config, new, None)
    maps = exporting.edit_of(made, new).maps
    assert maps.shape == (2, 4, SIDE, SIDE)
    assert 0.5 * np.abs(maps - handcrafted(SIDE)[:4]).sum(-1).max() < 0.05


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ({"pruned_heads": ((1,), ())}, {}, "pruned heads or spans; give the run that it was made"),
        ({"attention": ATTENTIONS["syn_random"]()}, {}, "syn_random, whose maps do not come from"),
        ({"attention": ATTENTIONS["syn_dense"]()}, {}, "do not come from queries and keys"),
        ({"scan_layers": True}, {}, "the run has model.scan-layers"),
        ({"share_layers": True}, {}, "the run has model.share-layers"),
        ({}, {"heads": 2}, "replace the attention first, then prune"),
        ({}, {"span": 2}, "replace the attention first, then prune"),
    ],
)
def test_what_has_no_maps_is_one_line(model, options, message):
    config = Config(model=dataclasses.replace(Config().model, **model))
    with pytest.raises(InputError, match=message) as error:
        exporting.check(config, Export(out="x", attention="syn_random", **options))
    assert "\n" not in str(error.value)


CHANGES = [
    ({"kind": "sparse_fixed"}, {"heads": 3, "width": 30}, "model.heads is 3: give an even number"),
    ({"kind": "lsh_xbox", "keys": 0}, {}, "model.attention.keys is 0: give at least 1"),
    ({"kind": "routing", "rounds": 0}, {}, "model.attention.rounds is 0"),
    ({"kind": "syn_dense", "bottleneck": 0}, {}, "model.attention.bottleneck is 0"),
    ({"kind": "syn_random", "positions": 499}, {}, "positions is 499, .* give at least 500, or 0"),
    ({"kind": "q", "init_scale": 0.0}, {}, "model.attention.init-scale is 0.0"),
]


@pytest.mark.parametrize(("fields", "model", "message"), CHANGES)
def test_impossible_attention_is_one_line(fields, model, message):
    fields = dict(fields)
    attention = ATTENTIONS[fields.pop("kind")](**fields)
    config = Config(model=dataclasses.replace(Config().model, attention=attention, **model))
    with pytest.raises(InputError, match=message):
        check_config(config)


def test_learned_maps_are_as_long_as_training_crops_utterances():
    model = dataclasses.replace(Config().model, attention=ATTENTIONS["syn_random"]())
    config = Config(model=model, batches=Batches(max_frames=301))
    assert build_model(config).config.attention.positions == 100
    assert spec_of(config).longest == 100
    own = dataclasses.replace(model, attention=ATTENTIONS["syn_random"](positions=120))
    longer = dataclasses.replace(config, model=own)
    assert build_model(longer).config.attention.positions == 120
    assert spec_of(longer).longest == 100  # what training covers


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("maps") / "maps"
    where = ("--from-maps", "--map-utterances", "5", "--utterances", "3", "--out", str(out))
    result = python(sys.executable, "export.py", str(tiny_run.path), *where)
    assert result.returncode == 0, result.stderr
    return out, result.stdout


@pytest.mark.commands
def test_a_run_with_mean_maps_is_written_compared_and_goes_on_training(exported):
    out, said = exported
    assert "syn_random from mean maps of 5 utterances, 32 positions" in said
    assert "largest |difference| to the masked model" in said
    config = read_run(out)
    assert (config.model.attention.kind, config.model.attention.positions) == ("syn_random", 32)
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert records[1]["parameters_after"] != records[1]["parameters_before"]
    more = ("--loop.steps", "122", "--loop.log-every", "1")
    result = python(sys.executable, "train.py", str(out), *more)
    assert result.returncode == 0, result.stderr
    assert "done: 122 steps" in result.stdout


@pytest.mark.commands
def test_mean_maps_are_means_over_the_utterances_that_have_both_positions(tiny_run, exported):
    out, _ = exported
    config = read_run(tiny_run.path)
    devices = mesh.build_mesh(Mesh(), 8)
    module = build_model(config)
    _, _, params = load_model(tiny_run.path / "ckpt", None, module, devices)
    _, _, mine = load_model(out / "ckpt", STEPS, build_model(read_run(out)), devices)
    split = open_split(dataset.directory_of(config.corpus), "train")
    chosen = np.linspace(0, len(split) - 1, 5).round().astype(int)
    total, count = np.zeros((2, 4, 32, 32)), np.zeros((32, 32))
    for number in chosen:
        audio = jnp.asarray(split[number].audio[: module.grid.samples(32)])[None]
        inputs, valid = module.prepare(audio, jnp.array([audio.shape[1]]))
        t = inputs.shape[1]
        maps = capture(module, params, inputs, valid).probs
        total[..., :t, :t] += np.stack([np.asarray(m)[0] for m in maps])
        count[:t, :t] += 1
    mean = total / np.maximum(count, 1)
    mean /= np.maximum(mean.sum(-1, keepdims=True), 1e-12)
    found = exporting.edit_of(mine, read_run(out)).maps
    spread = exporting.FLOOR / 32
    np.testing.assert_allclose(found, mean * (1 - exporting.FLOOR) + spread, atol=2e-4)
    assert isinstance(exporting.edit_of(mine, read_run(out)), HeadEdit)
