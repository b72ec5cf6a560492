"""wav2vec 2.0, HuBERT, WavLM and data2vec-audio against transformers: states, maps, letters."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from made_up_weights import audio_of
from tiny_models import SIZE, VARIANTS, states_of, tiny_model

from sat_jax.model.build import build_model
from sat_jax.model.convert.foreign import open_foreign
from sat_jax.trace.capture import capture

BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
BASE |= {"num_hidden_layers": 12, "conv_dim": (512,) * 7, "num_conv_pos_embedding_groups": 16}
assert set(BASE) < set(SIZE)


def saved(model, variant, folder):
    model.save_pretrained(folder)
    normalize = {"do_normalize": "large" in variant, "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalize))
    return open_foreign(folder)


def faithful(module):
    front = dataclasses.replace(module.config.frontend, faithful=True)
    return module.clone(config=dataclasses.replace(module.config, frontend=front))


def compared(model, foreign, lengths, tolerance, masked):
    """Ours against theirs on valid positions; with a mask, as they normalise over padding."""
    module = build_model(foreign.config)
    module = faithful(module) if masked else module
    lengths = np.array(lengths, np.int32)
    audio = audio_of(int(lengths.max()), len(lengths))
    real = np.arange(audio.shape[1]) < lengths[:, None]
    inputs, valid = module.prepare(np.where(real, audio, 0), lengths)
    ours = jax.jit(lambda *a: capture(module, *a)[:3])(foreign.params, inputs, valid)
    output, probs, hidden = ours
    seen = np.asarray(valid)
    states, maps, last, logits = states_of(model, inputs.samples, real if masked else None)
    worst = max(np.abs(a - b)[seen].max() for a, b in zip(hidden, states, strict=True))
    assert worst < tolerance, worst
    for own, theirs in zip(probs, maps, strict=True):
        # transformers gives WavLM's maps as their mean over heads, once for every head.
        own = own.mean(1, keepdims=True) if foreign.config.model.kind == "wavlm" else own
        apart = np.abs(own - theirs).transpose(0, 2, 1, 3)[seen].max()
        assert apart < tolerance, apart
        assert np.asarray(theirs)[seen.nonzero()[0][0]].max() > 1.1 / seen.sum(1)[0]
    if last is not None:
        assert np.abs(output - last)[seen].max() < tolerance
    if logits is not None:
        found = module.apply({"params": foreign.params}, output, method="letters")
        assert np.abs(found - logits)[seen].max() < tolerance
    return worst


@pytest.mark.parametrize("variant", VARIANTS)
def test_tiny_models_alone_and_in_padded_batches(variant, tmp_path):
    model = tiny_model(variant)
    foreign = saved(model, variant, tmp_path / variant)
    worst = compared(model, foreign, [9001, 9001], 1e-5, masked=False)
    padded = compared(model, foreign, [9001, 5400], 1e-5, masked=True)
    print(f"{variant}: largest |difference| {worst:.1e}, in a padded batch {padded:.1e}")


@pytest.mark.parametrize("variant", ["wav2vec2", "wavlm_large"])
def test_base_sized_models(variant, tmp_path):
    model = tiny_model(variant, **BASE)
    foreign = saved(model, variant, tmp_path / variant)
    worst = compared(model, foreign, [16_000], 1e-4, masked=False)
    print(f"{variant}, base size: largest |difference| {worst:.1e}")


def test_a_head_of_wavlm_alone_is_a_softmax_of_its_own_scores(tmp_path):
    """Per head, from transformers' own weights and layer inputs, as its maps are means."""
    import torch

    model = tiny_model("wavlm")
    foreign = saved(model, "wavlm", tmp_path / "wavlm")
    module = build_model(foreign.config)
    audio = audio_of(9001)
    inputs, valid = module.prepare(audio, np.array([9001], np.int32))
    probs = capture(module, foreign.params, inputs, valid).probs
    states, *_ = states_of(model, inputs.samples)
    bias = None
    for layer, own in zip(model.encoder.layers, range(3), strict=True):
        attention = layer.attention
        x = torch.tensor(states[own])
        t = x.shape[1]
        with torch.no_grad():
            if bias is None:
                bias = attention.compute_bias(t, t)
            q, k = (
                project(x).view(t, 4, 12).transpose(0, 1)
                for project in (attention.q_proj, attention.k_proj)
            )
            heads = x.view(t, 4, 12).transpose(0, 1)
            gates = attention.gru_rel_pos_linear(heads).view(4, t, 2, 4).sum(-1).sigmoid()
            a, b = gates.unbind(-1)
            gate = a * (b * attention.gru_rel_pos_const.view(4, 1) - 1) + 2
            expected = (q @ k.transpose(1, 2) / 12**0.5 + gate[..., None] * bias).softmax(-1)
        assert np.abs(np.asarray(probs[own])[0] - expected.numpy()).max() < 1e-5
