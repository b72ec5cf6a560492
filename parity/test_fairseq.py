"""Checkpoints of fairseq and unilm: a model of transformers under their names gives its outputs."""

import sys
import types
from argparse import Namespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from signals import speech

from sat_jax.errors import InputError
from sat_jax.model.build import build_model
from sat_jax.model.convert.foreign import open_foreign
from sat_jax.trace.capture import capture

CLASSES = {
    "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
    "hubert": (transformers.HubertConfig, transformers.HubertModel),
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16, 16, 24),
    "conv_kernel": (10, 3, 2),
    "conv_stride": (5, 4, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "attn_implementation": "eager",
}
FIELDS = {
    "encoder_layers": 3,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "activation_fn": "gelu",
    "conv_feature_layers": "[(16, 10, 5)] + [(16,3,4)] * 1 + [(24, 2, 4)]",
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "dropout": 0.1,
    "encoder_layerdrop": 0.05,
}
FORMS = {
    "base": ({}, {"extractor_mode": "default", "layer_norm_first": False}),
    "large": (
        {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
        {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True},
    ),
}


def theirs_of(name: str, layer_normed: bool, batch_norm: bool = False) -> str:
    """fairseq's name of a tensor of transformers, written out piece by piece."""
    part = name.split(".")
    if name == "masked_spec_embed":
        return "mask_emb"
    if part[0] == "feature_extractor":
        at = {"conv": "0", "layer_norm": "2.1" if layer_normed else "2"}[part[3]]
        return f"feature_extractor.conv_layers.{part[2]}.{at}.{part[4]}"
    if part[0] == "feature_projection":
        return {"projection": "post_extract_proj", "layer_norm": "layer_norm"}[part[1]] + (
            "." + part[2]
        )
    if part[1] == "layer_norm":
        return name
    if part[1] == "pos_conv_embed":
        last = {"bias": "bias", "original0": "weight_g", "original1": "weight_v"}
        if part[2] == "batch_norm":
            return f"encoder.pos_conv.0.{part[3]}"
        if batch_norm:
            return f"encoder.pos_conv.1.{part[3]}"
        return f"encoder.pos_conv.0.{last[part[-1]]}"
    within = ".".join(part[3:])
    new = {
        "attention.gru_rel_pos_const": "self_attn.grep_a",
        "attention.gru_rel_pos_linear.weight": "self_attn.grep_linear.weight",
        "attention.gru_rel_pos_linear.bias": "self_attn.grep_linear.bias",
        "attention.rel_attn_embed.weight": "self_attn.relative_attention_bias.weight",
    }
    for kind in ("weight", "bias"):
        for which in ("q", "k", "v", "out"):
            new[f"attention.{which}_proj.{kind}"] = f"self_attn.{which}_proj.{kind}"
        new[f"layer_norm.{kind}"] = f"self_attn_layer_norm.{kind}"
        new[f"final_layer_norm.{kind}"] = f"final_layer_norm.{kind}"
        new[f"feed_forward.intermediate_dense.{kind}"] = f"fc1.{kind}"
        new[f"feed_forward.output_dense.{kind}"] = f"fc2.{kind}"
    return f"encoder.layers.{part[2]}.{new[within]}"


HEADS = {
    "wav2vec2": {"quantizer.vars": (1, 8, 4), "project_q.weight": (4, 4), "final_proj.bias": (4,)},
    "hubert": {"label_embs_concat": (10, 4), "final_proj.weight": (4, 32)},
    "wavlm": {},
}


def model_and_tensors(kind, form, **changes):
    """A model with random weights, and those under fairseq's names with pretraining's heads."""
    torch.manual_seed(3)
    config, model = CLASSES[kind]
    model = model(config(**SMALL, **FORMS[form][0], **changes)).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    how = form == "large", "conv_pos_batch_norm" in changes
    named = {theirs_of(name, *how): each for name, each in model.state_dict().items()}
    assert len(named) == len(model.state_dict())
    return model, named | {name: torch.randn(shape) for name, shape in HEADS[kind].items()}


class Node:
    """What omegaconf pickles: a node that knows its parent and holds its content."""


class DictConfig(Node):
    """A dict of nodes."""


def omegaconf_of(settings, parent=None):
    """Settings as nodes of a module `omegaconf` that will be gone when they are read."""
    node = Node() if not isinstance(settings, dict) else DictConfig()
    node.__dict__ |= {"_parent": parent, "_metadata": {"ref_type": int}}
    if isinstance(settings, dict):
        node._content = {key: omegaconf_of(each, node) for key, each in settings.items()}
    else:
        node._val = settings
    return node


def save(path, kind, tensors, form, how="cfg", normalize=True, **fields):
    """The file as fairseq writes it now (cfg) or wrote it (args, omegaconf), or unilm (flat)."""
    model = FIELDS | FORMS[form][1] | fields
    extra = {"extra_state": {"epoch": 3}, "optimizer_history": [{"optimizer_name": "FairseqAdam"}]}
    whole = {"model": {"_name": kind, **model}, "task": {"normalize": normalize}}
    if how == "cfg":
        held = {"args": None, "cfg": whole, **extra}
    elif how == "args":
        held = {"args": Namespace(arch=kind, normalize=normalize, **model), "cfg": None, **extra}
    elif how == "flat":
        held = {"cfg": {**model, "normalize": normalize}}
    else:
        held = {"cfg": omegaconf_of(whole)}
        sys.modules["omegaconf"] = module = types.ModuleType("omegaconf")
        for each in (Node, DictConfig):
            each.__module__ = "omegaconf"
            setattr(module, each.__name__, each)
    torch.save({**held, "model": tensors}, path)
    sys.modules.pop("omegaconf", None)
    return path


def compared(path, model, normalize):
    """Our reading of a file gives the hidden states of transformers, on one utterance."""
    foreign = open_foreign(path)
    module = build_model(foreign.config)
    audio = speech(4000, 5)
    inputs, valid = module.prepare(jnp.asarray(audio[None]), jnp.array([4000]))
    trace = jax.jit(lambda p, i, v: capture(module, p, i, v))(foreign.params, inputs, valid)
    wave = torch.tensor(audio / 32768, dtype=torch.float32)
    if normalize:
        wave = torch.nn.functional.layer_norm(wave, wave.shape)
    with torch.no_grad():
        out = model(wave[None], output_hidden_states=True)
    np.testing.assert_allclose(trace.hidden[0][0], out.hidden_states[0][0], atol=2e-5)
    np.testing.assert_allclose(trace.hidden[2][0], out.hidden_states[2][0], atol=2e-5)
    np.testing.assert_allclose(trace.output[0], out.last_hidden_state[0], atol=2e-5)
    return foreign


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("wav2vec2", "cfg"),
        ("wav2vec2", "args"),
        ("hubert", "cfg"),
        ("hubert", "omegaconf"),
        ("wavlm", "flat"),
    ],
)
def test_outputs_are_those_of_transformers(tmp_path, kind, how, form):
    changes, fields = {}, {}
    if kind == "wavlm":
        changes = {"num_buckets": 24, "max_bucket_distance": 40}
        fields = {"num_buckets": 24, "max_distance": 40, "relative_position_embedding": True}
    model, tensors = model_and_tensors(kind, form, **changes)
    normalize = form == "large"
    path = save(tmp_path / "x.pt", kind, tensors, form, how, normalize, **fields)
    foreign = compared(path, model, normalize)
    assert foreign.config.model.kind == kind
    front = foreign.config.model.frontend
    assert (front.norm, front.bias) == (("layer", True) if form == "large" else ("group", False))
    assert (front.normalize_audio, front.audio_eps) == (normalize, 1e-5)
    for head in {name.split(".")[0] for name in HEADS[kind]}:
        assert head in foreign.said[0]


def test_positions_with_batch_normalisation_are_read(tmp_path):
    model, tensors = model_and_tensors("hubert", "base", conv_pos_batch_norm=True)
    path = save(tmp_path / "x.pt", "hubert", tensors, "base", conv_pos_batch_norm=True)
    compared(path, model, True)


def test_half_precision_is_read(tmp_path):
    model, tensors = model_and_tensors("hubert", "base")
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    names = {theirs_of(name, False): name for name in model.state_dict()}
    model.load_state_dict({names[k]: v.float() for k, v in halves.items() if k in names})
    compared(save(tmp_path / "x.pt", "hubert", halves, "base", normalize=False), model, False)


def test_wavlm_has_its_own_default_of_the_furthest_distance(tmp_path):
    _, tensors = model_and_tensors("wavlm", "base")
    path = save(tmp_path / "x.pt", "wavlm", tensors, "base", "flat")
    attention = open_foreign(path).config.model.attention
    assert (attention.buckets, attention.max_distance) == (320, 1280)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"drop": "encoder.layers.1.fc1.bias"}, "lacks: encoder.layers.1.feed_forward"),
        ({"add": "encoder.layers.0.fc3.bias"}, "has, and this model does not: .*fc3"),
        ({"add": "w2v_encoder.proj.weight"}, "fine-tuned"),
        ({"encoder_embed_dim": 40}, "has the shape"),
        ({"encoder_layers": "3"}, "encoder_layers is '3': expected a whole number"),
        ({"activation_fn": "relu"}, "activation_fn is 'relu': expected 'gelu'"),
        ({"layer_type": "conformer"}, "layer_type is 'conformer'"),
        ({"conv_feature_layers": "__import__('os').getcwd()"}, "conv_feature_layers is"),
        ({"conv_feature_layers": "[(1, 2, 3)] * 10 ** 9"}, "conv_feature_layers is"),
        ({"conv_feature_layers": "[[[[(1,1,1)] * 30] * 30] * 30] * 30"}, "conv_feature_layers is"),
        ({"conv_feature_layers": "("}, "conv_feature_layers is"),
        ({"conv_feature_layers": "(" * 1500}, "conv_feature_layers is"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, change, said):
    _, tensors = model_and_tensors("hubert", "base")
    change = dict(change)
    tensors.pop(change.pop("drop", None), None)
    if "add" in change:
        tensors[change.pop("add")] = torch.zeros(1)
    path = save(tmp_path / "x.pt", "hubert", tensors, "base", **change)
    with pytest.raises(InputError, match=said) as error:
        open_foreign(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value) or "shape" in said


def test_a_file_of_something_else_says_what_it_holds(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="holds weights: expected a checkpoint of s3prl"):
        open_foreign(tmp_path / "x.pt")
    torch.save({"model": {"a": torch.zeros(1)}, "cfg": None}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="no settings under cfg or args"):
        open_foreign(tmp_path / "x.pt")
    torch.save({"model": {"a": torch.zeros(1)}, "cfg": {"model": {"a": 1}}}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="neither wav2vec"):
        open_foreign(tmp_path / "x.pt")
