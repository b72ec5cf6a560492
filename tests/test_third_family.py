"""One door for every model: a family that only this test knows goes through every study."""

import csv
import dataclasses
import json
import sys

import jax
import numpy as np
import pytest
from explorer_pages import codes_on_page, read_page
from meshes import mesh_of

from sat_jax import mesh
from sat_jax.audio import dataset
from sat_jax.commands import analyze, export
from sat_jax.config import (
    Ablation,
    Analysis,
    Batches,
    Config,
    Corpus,
    Loop,
    Mesh,
    Model,
    NoObjective,
    Talker,
)
from sat_jax.config.attention import ATTENTIONS
from sat_jax.config.json import read_run
from sat_jax.config.kinds import KINDS
from sat_jax.config.model import FRONTENDS
from sat_jax.explorer.pack import codes_of
from sat_jax.model.attention.self_attention import ATTENTION
from sat_jax.model.build import MODELS, build_model, init_params, spec_of
from sat_jax.model.prune import prune_params
from sat_jax.study.export import edit_of, write_run
from sat_jax.trace.store import load_sample
from tests.third_family import Biased, BiasedQueryKey, ThirdFamily, Waveform

pytestmark = pytest.mark.commands

PROBES = {
    "train_utterances": 12,
    "mlp_utterances": 12,
    "mlp_steps": 20,
    "valid_utterances": 4,
    "test_utterances": 6,
    "draws": 1,
    "tasks": ("reconstruction", "phone"),
}


@pytest.fixture(scope="module")
def known():
    """The family's lines in the dicts, which is all that the package is told of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "third", lambda config: ThirdFamily(config.model))
        patch.setitem(FRONTENDS, "waveform", Waveform)
        patch.setitem(ATTENTIONS, "biased", Biased)
        patch.setitem(ATTENTION, Biased, BiasedQueryKey)
        # Two devices are several; eight would be given more rows than there are utterances.
        patch.setattr(jax, "device_count", lambda: 2)
        patch.setattr(mesh, "build_mesh", lambda *_: mesh_of(2))
        yield patch


@pytest.fixture(scope="module")
def run(known, tmp_path_factory):
    """A run directory as a converter of somebody else's checkpoint would make it."""
    root = tmp_path_factory.mktemp("third")
    config = Config(
        name="third",
        run_dir=root / "run",
        corpus=Corpus(talker=Talker(4, 10), data_dir=root / "data", valid_share=0.2),
        model=Model(
            kind="third",
            frontend=Waveform(),
            attention=Biased(),
            layers=3,
            heads=4,
            width=16,
            ffn=32,
            pre_ln=True,
            init_std=None,
        ),
        objective=NoObjective(),
        batches=Batches(max_frames=150),
        loop=Loop(steps=1),
    )
    dataset.prepare(config.corpus, lambda _: None)
    model = build_model(config)
    start = jax.jit(lambda seed: init_params(jax.random.key(seed), model))
    devices = mesh.build_mesh(Mesh(), jax.device_count())
    write_run(config, {0: start(0), 1: start(1)}, {}, {}, devices)
    return config.directory


@pytest.fixture(scope="module")
def analysed(run):
    """Every study of it."""
    small = Ablation(preset="coarse", probe_steps=20, hidden=8, probe_seeds=1, **PROBES)
    lean = {"pdf": False, "draws": 20, "batch_size": 2, "buckets": 1, "tune_utterances": 2}
    options = Analysis(**lean, ablate=small)
    analyze.analyse(run, analyze.with_preset(options))
    return run


def rows(run, name):
    with (run / "analysis" / name).open() as file:
        return list(csv.DictReader(file))


def test_its_config_is_one_of_ours(run):
    stored = json.loads((run / "config.json").read_text())["model"]
    assert stored["frontend"] == {"kind": "waveform"}
    assert stored["attention"] == {"kind": "biased", "sharpness": 2.0}
    config = read_run(run)
    assert (type(config.model.frontend), type(config.objective)) == (Waveform, NoObjective)
    assert all(kinds for kinds in KINDS.values())
    spec = spec_of(config)
    assert (spec.grid.stride, spec.longest, spec.target_width, spec.trained_for) == (
        320,
        512,
        0,
        "",
    )


def test_heads_are_measured_on_its_own_positions(analysed):
    table = rows(analysed, "heads.csv")
    assert len(table) == 12
    assert {row["category"] for row in table} <= {"global", "vertical", "diagonal"}
    sample = next((analysed / "trace").glob("*[0-9].npz"))
    with np.load(sample) as stored:
        layers, heads, queries, keys = stored["maps"].shape
        assert (layers, heads) == (3, 4)
        assert queries == keys == (len(stored["audio"]) - 400) // 320 + 1
    report = (analysed / "report.html").read_text()
    assert "a position every 20 ms" in report
    assert "Masked L1" not in report


def test_the_explorer_shows_its_maps_every_20_ms(analysed):
    data, blobs = read_page(analysed / "explorer.html")
    model = data["models"][0]
    assert (model["seconds"], model["start"]) == (0.02, 0.0125)
    assert model["ablation"]["tasks"][0]["name"] == "phone"
    sample = load_sample(next((analysed / "trace").glob("*[0-9].npz")))
    codes = codes_on_page(data, blobs, 0, 0)
    exact = codes_of(sample.maps.reshape(codes.shape).astype(np.float32))
    assert np.abs(codes.astype(int) - exact).max() <= 1
    times = np.concatenate([head for row in data["maps"][0]["boundaries"] for head in row])
    steps = (times - 0.0125) / 0.01
    np.testing.assert_allclose(steps, np.round(steps), atol=0.011)


def test_phones_are_related_and_boundaries_found_every_20_ms(analysed):
    assert len(rows(analysed, "phone_shares.csv")) == 12
    found = {row["features"].split()[0] for row in rows(analysed, "segmentation.csv")}
    assert found == {"MFCC", "log-mel", "hidden", "head"}
    with (analysed / "figures" / "segmentation_example.csv").open() as file:
        times = [float(r["seconds"]) for r in csv.DictReader(file) if "of the rows" in r["panel"]]
    # A boundary stands at the centre of a position or between two: 12.5 ms and every 10 ms.
    assert times
    steps = (np.array(times) - 0.0125) / 0.01
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)


def test_its_heads_are_pruned_and_reconstruction_is_left_out_in_words(analysed):
    tasks = {row["task"] for row in rows(analysed, "ablation.csv")}
    assert "phone" in tasks
    assert "reconstruction" not in tasks


def test_it_is_exported_as_the_masked_model(analysed, monkeypatch, capsys):
    out = analysed.parent / "small"
    arguments = [str(analysed), "--heads", "5", "--by", "verticality", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["export.py", *arguments])
    export.main()
    said = capsys.readouterr().out
    assert "7 of 12 heads stay" in said
    assert "L1 of the reconstruction" not in said
    config = read_run(out)
    assert sum(map(len, config.model.pruned_heads)) == 5
    spec = spec_of(config)
    assert spec.head_mask.sum() == 7


def test_side_and_heads_stay_together_when_heads_go(known, run):
    config = read_run(run)
    model = build_model(config)
    params = init_params(jax.random.key(3), model)
    audio = np.random.default_rng(0).integers(-3000, 3000, (2, 9000)).astype(np.int16)
    inputs, valid = model.prepare(audio, np.array([9000, 5000]))

    small = dataclasses.replace(config.model, pruned_heads=((0,), (0, 1, 2, 3), (1, 2)))
    pruned = prune_params(params, config.model, small)
    ours = model.clone(config=small).apply({"params": pruned}, inputs, valid)
    masked = model.apply({"params": params}, inputs, valid, edit_of(small))
    np.testing.assert_allclose(
        np.where(valid[..., None], ours, 0), np.where(valid[..., None], masked, 0), atol=1e-5
    )
