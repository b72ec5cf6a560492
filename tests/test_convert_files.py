"""Files of s3prl and fairseq, written by hand: parameters come back, what does not fit is said."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import torch_files as files

from sat_jax.config import (
    Config,
    Convolutions,
    Features,
    MaskedReconstruction,
    Model,
    NoObjective,
    StackedFrames,
)
from sat_jax.errors import InputError
from sat_jax.model.build import build_model, init_params
from sat_jax.model.convert import fairseq, s3prl, tensor_names
from sat_jax.model.convert.foreign import open_foreign

MODEL = Model(frontend=StackedFrames(stack=1), layers=2, heads=2, width=8, ffn=12)
FEATURES = Features(recipe="s3prl", mels=20)
MEL = {"feat_type": "mel", "log": True, "delta": 0, "cmvn": True}
SETTINGS = {
    "transformer": {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "layer_norm_eps": "1e-12",
    },
    "task": {
        "sequence_length": 300,
        "mask_proportion": 0.15,
        "mask_consecutive_min": 7,
        "mask_consecutive_max": 7,
    },
    "audio": {"target_level": -25, "n_mels": 20, "input": MEL},
}


def values(thing) -> bytes:
    """Plain settings as opcodes."""
    if isinstance(thing, dict):
        return files.mapped({key: values(each) for key, each in thing.items()})
    return b"\x88" if thing is True else b"\x89" if thing is False else files.plain(thing)


def random_params(config):
    model = build_model(config)
    shapes = jax.eval_shape(lambda: init_params(jax.random.key(0), model))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), shapes)


def write(path, settings, tensors):
    """A file of s3prl: tensors under their names, those of the head too."""
    data = {str(number): array for number, array in enumerate(tensors.values())}
    named = {name: files.whole(array, str(i)) for i, (name, array) in enumerate(tensors.items())}
    head = {n.removeprefix("SpecHead."): t for n, t in named.items() if n.startswith("SpecHead.")}
    encoder = {n: t for n, t in named.items() if not n.startswith("SpecHead.")}
    parts = {"Transformer": files.mapped(encoder), "SpecHead": files.mapped(head)}
    body = files.mapped(parts | {"Upstream_Config": values(settings), "Paras": files.plain(None)})
    return files.write_zip(path, body, data)


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_of_s3prl_gives_its_parameters_back(tmp_path, shared):
    model = dataclasses.replace(MODEL, share_layers=shared)
    params = random_params(Config(features=FEATURES, model=model))
    tensors = tensor_names.to_tensors(list(s3prl.places_of(model)), params)
    if shared:
        tensors |= {k.replace("layer.0.", "layer.1."): v for k, v in tensors.items()}
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): t for name, t in tensors.items()}
    settings = SETTINGS | {"transformer": SETTINGS["transformer"] | {"share_layer": shared}}
    foreign = open_foreign(write(tmp_path / "a.b.ckpt", settings, old))
    jax.tree.map(np.testing.assert_array_equal, foreign.params, params)
    config = foreign.config
    assert config.name == "a_b"
    assert config.features == FEATURES
    assert config.model == dataclasses.replace(model, frontend=config.model.frontend)
    assert config.objective == MaskedReconstruction(c_num=7)
    assert config.batches.max_frames == 300
    assert foreign.said[0] == "not needed: Paras"
    assert foreign.said[1].startswith("longer utterances than 300 frames are cut there; s3prl")
    unlimited = settings | {"task": {"sequence_length": 0}}
    foreign = open_foreign(write(tmp_path / "c.ckpt", unlimited, old))
    assert foreign.config.batches.max_frames == 3000
    assert foreign.said[1] == "longer utterances than 3000 frames are cut there"


def test_names_that_lack_or_are_too_many_are_listed(tmp_path):
    params = random_params(Config(features=FEATURES, model=MODEL))
    tensors = tensor_names.to_tensors(list(s3prl.places_of(MODEL)), params)
    less = {name: t for name, t in tensors.items() if name != "SpecHead.output.bias"}
    with pytest.raises(InputError, match=r"lacks: SpecHead\.output\.bias; give"):
        open_foreign(write(tmp_path / "x.ckpt", SETTINGS, less))
    more = tensors | {"encoder.extra": np.zeros(1, np.float32)}
    with pytest.raises(InputError, match=r"this model does not: encoder\.extra; give"):
        open_foreign(write(tmp_path / "x.ckpt", SETTINGS, more))
    nan = tensors | {"SpecHead.output.bias": np.full(20, np.nan, np.float32)}
    with pytest.raises(InputError, match="head/output/bias is not finite"):
        open_foreign(write(tmp_path / "x.ckpt", SETTINGS, nan))
    wide = tensors | {"SpecHead.output.bias": np.zeros(21, np.float32)}
    with pytest.raises(InputError, match=r"head/output/bias has the shape \(21,\)"):
        open_foreign(write(tmp_path / "x.ckpt", SETTINGS, wide))


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("transformer", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ("transformer", {"hidden_size": None}, "its settings are not those of s3prl"),
        ("audio", {"input": MEL | {"feat_type": "mfcc"}}, "type 'mfcc'"),
        ("audio", {"input": MEL | {"log": False}}, "log False"),
        ("audio", {"target": MEL | {"cmvn": False}}, "cmvn of input or target only"),
        ("audio", {"n_freq": 1025}, "n_freq is 1025"),
        ("audio", {"sample_rate": 8000}, "only models of 16 kHz"),
        ("audio", {"kaldi": {"feat_type": "mfcc"}}, "expected fbank"),
        ("audio", {"kaldi": {"fbank": {"dither": 1.0}}}, "not known here: dither"),
        ("audio", {"kaldi": {"fbank": {}}, "delta": {"win_length": 9}}, "win_length is 9"),
    ],
)
def test_settings_of_s3prl_that_are_not_supported_are_one_line(tmp_path, part, change, said):
    settings = SETTINGS | {part: SETTINGS[part] | change}
    with pytest.raises(InputError, match=said) as error:
        open_foreign(write(tmp_path / "x.ckpt", settings, {"a": np.zeros(1, np.float32)}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("task", "trained_for"),
    [
        ({"mask_frequency": 0.2}, "frames, frequency bands"),
        ({"noise_proportion": 0.1}, "frames, noise"),
        ({"mask_consecutive_max": 9}, "frames"),
        ({"loss": "MSE"}, "frames"),
        ({"mask_proportion": 0}, "unknown corruption"),
    ],
)
def test_other_objectives_are_named_and_not_taken_for_ours(task, trained_for):
    objective = s3prl.objective_of(SETTINGS["task"] | task, 1)
    assert isinstance(objective, NoObjective)
    assert f"({trained_for})" in objective.trained_for


def test_a_file_of_fairseq_gives_its_parameters_back(tmp_path):
    front = Convolutions(channels=(4, 4), kernels=(10, 3), strides=(5, 4), position_kernel=8)
    front = dataclasses.replace(front, position_groups=2, audio_eps=1e-5)
    base = Model(kind="hubert", frontend=front, layers=1, heads=2, width=8, ffn=12)
    model = dataclasses.replace(base, layer_norm_eps=1e-5)
    config = Config(model=model, objective=NoObjective())
    params = random_params(config)
    simple = {
        "feature_projection.projection": "post_extract_proj",
        "feature_projection.layer_norm": "layer_norm",
        "conv_layers.0.layer_norm": "conv_layers.0.2",
        "conv.weight": "0.weight",
        "masked_spec_embed": "mask_emb",
        "pos_conv_embed.conv.parametrizations.weight.original0": "pos_conv.0.weight_g",
        "pos_conv_embed.conv.parametrizations.weight.original1": "pos_conv.0.weight_v",
        "pos_conv_embed.conv.bias": "pos_conv.0.bias",
        "layers.0.layer_norm": "layers.0.self_attn_layer_norm",
        "layers.0.attention": "layers.0.self_attn",
        "feed_forward.intermediate_dense": "fc1",
        "feed_forward.output_dense": "fc2",
    }
    tensors = tensor_names.to_tensors(tensor_names.places_of(config), params)
    for old, new in simple.items():
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    tensors["label_embs_concat"] = np.zeros((3, 2), np.float32)
    data = {str(number): array for number, array in enumerate(tensors.values())}
    named = {name: files.whole(array, str(i)) for i, (name, array) in enumerate(tensors.items())}
    fields = {
        "encoder_layers": 1,
        "encoder_embed_dim": 8,
        "encoder_ffn_embed_dim": 12,
        "encoder_attention_heads": 2,
        "conv_feature_layers": "[(4, 10, 5), (4,3,4)]",
        "conv_pos": 8,
        "conv_pos_groups": 2,
    }
    body = files.mapped({"model": files.mapped(named), "cfg": values({"model": fields})})
    foreign = open_foreign(files.write_legacy(tmp_path / "x.pt", body, data))
    jax.tree.map(np.testing.assert_array_equal, foreign.params, params)
    assert foreign.config.model == model
    assert foreign.said == ["not needed: label_embs_concat (pretraining)"]


def test_convolutions_are_read_as_text_and_never_evaluated(tmp_path):
    def read(text):
        return fairseq.convolutions(text, tmp_path)

    base = [[512, 10, 5]] + [[512, 3, 2]] * 4 + [[512, 2, 2]] * 2
    assert read(fairseq.CONVOLUTIONS) == base
    assert read("[(512, 10, 5)] + [(512,3,2)] * 4 + [(512,2,2)] + [(512,2,2)]") == base
    assert read([[1, 2, 3]]) == [[1, 2, 3]]
    bad = ["", "[]", "1", "[(1, 2)]", "[(1, 2, -3)]", "[(1, 2, True)]", "2 * 3", "x", "[(1,2,3)]*x"]
    bad += [
        "[(1,2,3)] * 99999999999",
        "[(1,2,3)] ** 2",
        "print(1)",
        "[" * 1900,
        "\0",
        "(lambda: 1)()",
    ]
    bad += [
        "[(1, 1, 1)]" + " * 32" * 12,
        "[[[(1,1,1)] * 32] * 32] * 32",
        [[1, 2]],
        [[1, 2, "3"]],
        7,
    ]
    for text in bad:
        with pytest.raises(InputError, match="conv_feature_layers") as error:
            read(text)
        assert "\n" not in str(error.value)


def test_a_path_of_something_else_says_what_is_expected(tmp_path):
    (tmp_path / "x.txt").write_text("{}")
    with pytest.raises(InputError, match=r"expected a folder with config\.json, or a file \.bin"):
        open_foreign(tmp_path / "x.txt")
    path = files.write_zip(tmp_path / "x.pt", files.mapped({"w": files.plain(json.dumps(1))}), {})
    with pytest.raises(InputError, match="holds w: expected a checkpoint of s3prl"):
        open_foreign(path)
    path = files.write_zip(tmp_path / "x.pt", files.plain(3), {})
    with pytest.raises(InputError, match="holds no dictionary"):
        open_foreign(path)
