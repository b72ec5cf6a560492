"""convert.py: folders become runs and go back, and what is wrong with them is said."""

import json
import pickle
import sys

import jax
import numpy as np
import pytest
from full_disk import files_up_to
from made_up_weights import audio_of, tensor_of
from safetensors.numpy import load_file
from test_raw_audio import DESCRIBED, folder_of, tensors_of

import sat_jax
from sat_jax.commands import convert
from sat_jax.config.json import read_run
from sat_jax.errors import InputError

VARIANT = "hubert_ctc"
EXPERIMENT = '''"""A small WavLM."""
from sat_jax.config import Config, Convolutions, GatedBias, Model, NoObjective

FRONT = Convolutions(channels=(8,) * 7, position_groups=2)
MODEL = Model("wavlm", FRONT, GatedBias(), 1, 2, 8, 16, layer_norm_eps=1e-5)
CONFIG = Config(name="small", model=MODEL, objective=NoObjective())
'''


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert.py", *map(str, arguments)])
    convert.main()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A fine-tuned HuBERT as transformers writes it."""
    folder = folder_of(VARIANT, tmp_path_factory.mktemp("hub") / "hubert")
    letters = {letter: number for number, letter in enumerate(["<pad>", "|", "E"])}
    (folder / "vocab.json").write_text(json.dumps(letters))
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true}')
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """The same as a run."""
    out = tmp_path_factory.mktemp("runs") / "hubert"
    with pytest.MonkeyPatch.context() as patch:
        call(patch, folder, "--out", out)
    return out


def test_a_folder_becomes_a_run_that_says_what_it_is(run):
    config = read_run(run)
    assert (config.name, config.model.kind, config.model.layers) == ("hubert", "hubert", 3)
    assert config.model.letters[:4] == ("<pad>", "|", "E", "3") and len(config.model.letters) == 32
    assert config.model.frontend.normalize_audio
    assert config.loop.first == config.loop.steps
    model = sat_jax.load(run)
    assert model.checkpoints[0].name == "hubert"
    assert model.spec.trained_for == "masked prediction of units"
    maps = sat_jax.trace_audio(model, list(audio_of(4000, 2)))
    control = sat_jax.trace_audio(model, list(audio_of(4000, 2)), model.checkpoints[1].params)
    assert np.abs(np.asarray(maps.output) - np.asarray(control.output)).max() > 0.1


def test_a_folder_opens_without_a_run(folder, run):
    ours, there = sat_jax.load(folder), sat_jax.load(run)
    assert ours.spec.layers == there.spec.layers
    jax.tree.map(np.testing.assert_array_equal, ours.params, there.params)


def test_a_run_is_compared_with_its_output_at_conversion(run, monkeypatch, capsys):
    call(monkeypatch, run, "--check")
    assert "largest |difference| to the output at its conversion" in capsys.readouterr().out


def test_a_run_goes_back_to_the_same_tensors(run, monkeypatch, tmp_path):
    call(monkeypatch, run, "--back", tmp_path / "back")
    written, given = load_file(tmp_path / "back" / "model.safetensors"), tensors_of(VARIANT)
    assert written.keys() == given.keys()
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, given[name])
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert config["architectures"] == ["HubertForCTC"] and config["vocab_size"] == 32
    settings = json.loads((tmp_path / "back" / "preprocessor_config.json").read_text())
    assert settings["do_normalize"] is True
    assert json.loads((tmp_path / "back" / "vocab.json").read_text())["E"] == 2
    with pytest.raises(InputError, match="which exists: give a new directory"):
        call(monkeypatch, run, "--back", tmp_path / "back")


def test_going_back_without_room_leaves_nothing_in_the_way(run, monkeypatch, tmp_path):
    with files_up_to(1000), pytest.raises(InputError, match="the same command goes on"):
        call(monkeypatch, run, "--back", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    call(monkeypatch, run, "--back", tmp_path / "back")
    assert [path.name for path in tmp_path.iterdir()] == ["back"]
    assert load_file(tmp_path / "back" / "model.safetensors").keys() == tensors_of(VARIANT).keys()


def test_random_parameters_and_a_head_for_phones(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "small.py").write_text(EXPERIMENT)
    call(monkeypatch, "--random", "small", "--out", "runs/small", "--letters", "phones")
    assert "wavlm, 1 layers of 2 heads" in capsys.readouterr().out
    model = sat_jax.load("runs/small")
    assert read_run(tmp_path / "runs" / "small").model.letters[:3] == ("<pad>", "sil", "iy")
    assert model.params["letter_head"]["kernel"].shape == (8, 40)


def changed(folder, tmp_path, tensors=None, **config):
    """A copy of the folder with other tensors or other lines of config.json."""
    described = {**DESCRIBED[VARIANT], "config": {**DESCRIBED[VARIANT]["config"], **config}}
    copy = folder_of(VARIANT, tmp_path / "copy", tensors)
    (copy / "config.json").write_text(json.dumps(described["config"]))
    return copy


def without(name):
    return {key: tensor for key, tensor in tensors_of(VARIANT).items() if key != name}


KEY = "hubert.encoder.layers.1.attention.q_proj.weight"
FAULTS = {
    "a missing key": (
        {"tensors": without(KEY)},
        "lacks: encoder.layers.1.attention.q_proj.weight; check that the config belongs",
    ),
    "an extra key": (
        {"tensors": tensors_of(VARIANT) | {"hubert.encoder.extra.weight": np.ones(3, np.float32)}},
        "has, and this model does not: encoder.extra.weight;",
    ),
    "another shape": (
        {"tensors": tensors_of(VARIANT) | {KEY: tensor_of(KEY, (24, 48))}},
        "model.safetensors: .*q_proj.weight has the shape .24, 48., which does not fit",
    ),
    "a wrong architecture": ({"model_type": "bert"}, "model_type is 'bert': expected one of wav2"),
    "another activation": (
        {"hidden_act": "relu"},
        "config.json: hidden_act is 'relu': expected gelu$",
    ),
    "more layers": ({"num_hidden_layers": 4}, "lacks: encoder.layers.3"),
    "adapters": (
        {"add_adapter": True},
        "config.json: the model has adapters, which are not supported",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named(fault, folder, tmp_path):
    changes, message = FAULTS[fault]
    with pytest.raises(InputError, match=message.replace("|", r"\|")):
        sat_jax.load(changed(folder, tmp_path, **changes))


def test_what_pretraining_left_behind_is_passed_over_and_said(tmp_path):
    from sat_jax.model.convert.foreign import open_foreign

    more = {"quantizer.codevectors": np.ones((1, 4), np.float32)}
    tensors = {k: v for k, v in tensors_of("wav2vec2").items() if k != "masked_spec_embed"} | more
    foreign = open_foreign(folder_of("wav2vec2", tmp_path / "w", tensors))
    assert foreign.said == [
        "masked_spec_embed is not in the file: needed only to train with masks",
        "not needed: 1 tensors of the quantiser of pretraining",
    ]
    assert "mask_embedding" not in foreign.params


def test_broken_files_are_one_line_and_run_nothing(folder, tmp_path):
    cut = changed(folder, tmp_path)
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        sat_jax.load(cut)
    (cut / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no weights here: expected model.safetensors or pytorch"):
        sat_jax.load(cut)

    class Evil:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    (cut / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Evil()}))
    with pytest.raises(InputError, match="pytorch_model.bin: "):
        sat_jax.load(cut)
    assert not (tmp_path / "ran").exists()
    (cut / "config.json").write_text("{")
    with pytest.raises(InputError, match="config.json: not JSON"):
        sat_jax.load(cut)
    (cut / "config.json").unlink()
    with pytest.raises(InputError, match="config.json: not found: give the whole folder"):
        sat_jax.load(cut)


def test_a_name_on_the_hub_needs_a_network_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="facebook/hubert: no such folder, and to download it"):
        sat_jax.load("facebook/hubert")
    with pytest.raises(InputError, match="nowhere at all: not found: give a folder"):
        sat_jax.load("nowhere at all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"give a source \(a folder, a file, a name on the hub\), or --random NAME"),
        (["x", "--random", "y", "--check"], "give a source"),
        (["x"], "give one of --out RUN, --check and --back FOLDER"),
        (["--random", "nothing", "--out", "new"], "random is 'nothing': give one of audio_albert"),
    ],
)
def test_what_cannot_be_asked_is_one_line(arguments, message, monkeypatch):
    with pytest.raises(InputError, match=message):
        call(monkeypatch, *arguments)


def test_a_run_is_never_written_over(run, folder, monkeypatch):
    with pytest.raises(InputError, match="which holds a run: give a new directory"):
        call(monkeypatch, folder, "--out", run)


def test_files_of_other_programs_are_not_given_to_transformers(run, tmp_path):
    from sat_jax.study import parity

    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(InputError, match="model.pt: transformers opens folders of its own only"):
        parity.compare(tmp_path / "model.pt", read_run(run), {})
