"""Checkpoints of s3prl: hidden states, predictions and shared layers as s3prl itself gives them."""

import copy
import pickle
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from s3prl.upstream.mockingjay.model import (
    TransformerConfig,
    TransformerModel,
    TransformerSpecPredictionHead,
)
from signals import speech

from sat_jax.config import MaskedReconstruction, NoObjective
from sat_jax.errors import InputError
from sat_jax.features.frontend import featurize
from sat_jax.model.build import build_model
from sat_jax.model.convert.foreign import open_foreign
from sat_jax.trace.capture import capture

TRANSFORMER = {
    "input_dim": -1,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.05,
    "layer_norm_eps": "1.e-12",
    "share_layer": False,
    "pre_layer_norm": False,
}
TASK = {
    "loss": "L1",
    "sequence_length": 1500,
    "mask_proportion": 0.15,
    "mask_consecutive_min": 7,
    "mask_consecutive_max": 7,
    "mask_frequency": 0,
    "noise_proportion": 0.0,
}
MEL = {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True}
ON_THE_FLY = {
    "target_level": -25,
    "win_ms": 25,
    "hop_ms": 10,
    "n_freq": 201,
    "n_mels": 80,
    "n_mfcc": 13,
    "input": MEL,
    "target": {**MEL, "feat_type": "linear", "channel": 1},
}
KALDI = {
    "kaldi": {
        "feat_type": "fbank",
        "fbank": {
            "num_mel_bins": 80,
            "frame_length": 25.0,
            "frame_shift": 10.0,
            "use_log_fbank": True,
        },
        "mfcc": {"num_ceps": 13},
    },
    "delta": {"order": 2, "win_length": 5},
    "cmvn": {"use_cmvn": True},
}


class Theirs:
    """s3prl's encoder and head with random weights, and the file that its trainer would write."""

    def __init__(self, widths=(80, 201), audio=ON_THE_FLY, task=(), seed=0, **changes):
        torch.manual_seed(seed)
        self.settings = {
            "transformer": {**TRANSFORMER, **changes},
            "task": {**TASK, **dict(task)},
            "audio": copy.deepcopy(audio),
        }
        config = TransformerConfig(self.settings["transformer"])
        self.encoder = TransformerModel(config, widths[0], output_attentions=True).eval()
        self.head = TransformerSpecPredictionHead(config, widths[1]).eval()
        for module in (self.encoder, self.head):
            for parameter in module.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)

    def save(self, path: Path, key="Upstream_Config", old_names=False) -> Path:
        """Write the file, with an optimiser and a scheduler of a module that is gone afterwards."""
        states = {"Transformer": self.encoder.state_dict(), "SpecHead": self.head.state_dict()}
        if old_names:
            for which in states:
                states[which] = {
                    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                        "LayerNorm.bias", "LayerNorm.beta"
                    ): tensor
                    for name, tensor in states[which].items()
                }
        module = types.ModuleType("optimizers")
        exec(
            "class Lamb:\n def __init__(self): self.rate, self.of = [1.0], self\n"
            "def warmup(step): return step\n",
            module.__dict__,
        )
        module.Lamb.__module__ = module.warmup.__module__ = "optimizers"
        sys.modules["optimizers"] = module
        others = {"Runner": {"gradient": 1}} if key == "Config" else {"Config": {"runner": 1}}
        optimizer = torch.optim.AdamW(self.head.parameters()).state_dict()
        states |= {"Optimizer": optimizer, "Scheduler": module.Lamb(), "warmup": module.warmup}
        torch.save({**states, **others, key: self.settings, "Global_step": 5}, path)
        del sys.modules["optimizers"]
        return path

    def run(self, features: np.ndarray, lengths: list[int]):
        """Hidden states, maps and predictions of features (B, T, F)."""
        positions = np.arange(features.shape[1])[:, None]
        width = self.encoder.config.hidden_size
        angle = positions / 10_000 ** (2 * (np.arange(width) // 2) / width)
        table = np.where(np.arange(width) % 2, np.cos(angle), np.sin(angle))
        mask = torch.tensor(np.arange(features.shape[1]) < np.array(lengths)[:, None]).float()
        encoded = torch.tensor(table).float().expand(len(features), -1, -1)
        with torch.no_grad():
            maps, states = self.encoder(torch.tensor(features), encoded, mask)
            predicted = self.head(states[-1])[0]
        return [each.numpy() for each in states], [m.numpy() for m in maps], predicted.numpy()


def compared(theirs: Theirs, path: Path, states_differ: bool = False) -> None:
    """Our reading of a file equals their run, on a batch of two lengths of speech."""
    foreign = open_foreign(path)
    module = build_model(foreign.config)
    signals = [speech(9000, 1), speech(6100, 2)]
    audio = np.zeros((2, 9000), np.int16)
    for row, signal in zip(audio, signals, strict=True):
        row[: len(signal)] = signal
    inputs, valid = module.prepare(jnp.asarray(audio), jnp.array([9000, 6100]))
    inputs, valid = np.asarray(inputs), np.asarray(valid)
    states, maps, predicted = theirs.run(inputs, valid.sum(1).tolist())
    trace = jax.jit(lambda p, i, v: capture(module, p, i, v))(foreign.params, inputs, valid)
    for layer, (ours, other) in enumerate(zip(trace.hidden, states, strict=True)):
        if not states_differ:
            np.testing.assert_allclose(ours[valid], other[valid], atol=2e-5, err_msg=f"{layer}")
    for ours, other in zip(trace.probs, maps, strict=True):
        for row, real in enumerate(valid.sum(1)):
            wanted = other[row, :, :real, :real]
            np.testing.assert_allclose(ours[row, :, :real, :real], wanted, atol=2e-6)
    np.testing.assert_allclose(trace.output[valid], predicted[valid], atol=3e-5)


@pytest.mark.parametrize("key", ["Config", "Upstream_Config"])
def test_a_mockingjay_is_read_with_everything_that_its_file_holds(tmp_path, key):
    theirs = Theirs()
    path = theirs.save(tmp_path / "states-5.ckpt", key)
    foreign = open_foreign(path)
    config = foreign.config
    assert (config.model.layers, config.model.heads, config.model.width) == (3, 4, 48)
    assert config.model.layer_norm_eps == 1e-12
    assert config.objective == MaskedReconstruction(mask_share=0.15, c_num=7)
    assert config.features.target == "linear"
    assert "Scheduler" in foreign.said[0]
    assert "1500 frames" in foreign.said[-1]
    compared(theirs, path)


def test_old_names_of_normalisation_are_read(tmp_path):
    theirs = Theirs()
    compared(theirs, theirs.save(tmp_path / "old.ckpt", old_names=True))


def test_shared_layers_are_kept_once(tmp_path):
    theirs = Theirs(share_layer=True)
    path = theirs.save(tmp_path / "albert.ckpt")
    assert set(open_foreign(path).params["encoder"]) == {"layer_0"}
    compared(theirs, path)
    # A file that says shared and holds something else is no such model.
    theirs.encoder.encoder.layer[1] = copy.deepcopy(theirs.encoder.encoder.layer[1])
    theirs.encoder.encoder.layer[1].intermediate.dense.bias.data += 1
    with pytest.raises(InputError, match=r"share_layer is on, and encoder\.layer\.1"):
        open_foreign(theirs.save(tmp_path / "not.ckpt"))


def test_a_pre_ln_model_is_read_and_its_aliases_are_checked(tmp_path):
    theirs = Theirs(pre_layer_norm=True)
    path = theirs.save(tmp_path / "pre.ckpt")
    # Their hidden states went through a normalisation of their own each; the output did as well.
    compared(theirs, path, states_differ=True)
    layer = theirs.encoder.encoder.layer[2]
    layer.LayerNorm = copy.deepcopy(layer.LayerNorm)
    layer.LayerNorm.bias.data += 1
    with pytest.raises(InputError, match="pre_layer_norm with encoder.layer.2.LayerNorm"):
        open_foreign(theirs.save(tmp_path / "other.ckpt"))


def test_tera_with_kaldi_features_has_an_objective_that_is_not_ours(tmp_path):
    theirs = Theirs((240, 240), KALDI, task={"mask_frequency": 0.2})
    path = theirs.save(tmp_path / "tera.ckpt")
    config = open_foreign(path).config
    assert isinstance(config.objective, NoObjective)
    assert "frequency bands" in config.objective.trained_for
    assert (config.features.recipe, config.features.n_fft) == ("kaldi", 512)
    compared(theirs, path)


def test_frames_are_stacked_where_an_old_file_says_so(tmp_path):
    theirs = Theirs((240, 603), downsample_rate=3, task={"mask_consecutive_max": 6})
    path = theirs.save(tmp_path / "large.ckpt", "Config")
    assert open_foreign(path).config.model.frontend.stack == 3
    compared(theirs, path)


def test_on_the_fly_features_are_theirs():
    """Against torch's own spectrogram, put together as `OnlinePreprocessor` does it."""
    config = Theirs().settings["audio"]
    audio = speech(9111)
    wave = torch.tensor(audio / 32768, dtype=torch.float64)
    wave = wave * 10 ** (config["target_level"] / 20) / (wave.pow(2).mean().sqrt() + 1e-10)
    window = torch.hann_window(400, dtype=torch.float64)
    power = torch.stft(wave, 400, 160, 400, window, return_complex=True).abs() ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82) / 2595) - 1)
    hertz = np.linspace(0, 8000, 201)
    filters = [np.interp(hertz, edges[i : i + 3], [0, 1, 0]) for i in range(80)]
    mel = np.log(np.stack(filters) @ power.numpy() + 1e-10).T
    expected = (mel - mel.mean(0)) / (mel.std(0, ddof=1) + 1e-10)
    features = open_features(ON_THE_FLY)
    inputs, targets, frames = featurize(jnp.asarray(audio[None]), jnp.array([9111]), features)
    np.testing.assert_allclose(inputs[0], expected, atol=1e-4)
    linear = np.log(power.numpy() + 1e-10).T
    expected = (linear - linear.mean(0)) / (linear.std(0, ddof=1) + 1e-10)
    np.testing.assert_allclose(targets[0], expected, atol=2e-3)
    assert frames[0] == len(expected) == 9111 // 160 + 1


def open_features(audio):
    """The features of a file with these settings."""
    from sat_jax.model.convert.s3prl import features_of

    return features_of(audio, Path("x"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"num_attention_heads": 5, "hidden_size": 50}, "has the shape"),
        ({"num_hidden_layers": 2}, "has, and this model does not: encoder.layer.2"),
        ({"num_hidden_layers": 4}, "lacks: encoder.layer.3"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(tmp_path, change, said):
    theirs = Theirs()
    theirs.settings["transformer"] |= change
    with pytest.raises(InputError, match=said) as error:
        open_foreign(theirs.save(tmp_path / "x.ckpt"))
    assert "\n" not in str(error.value)


def test_a_file_without_its_features_or_head_is_refused(tmp_path):
    theirs = Theirs()
    del theirs.settings["audio"]
    with pytest.raises(InputError, match="no audio settings"):
        open_foreign(theirs.save(tmp_path / "x.ckpt"))
    mfcc = copy.deepcopy(KALDI)
    mfcc["kaldi"]["feat_type"] = "mfcc"
    with pytest.raises(InputError, match="expected fbank"):
        open_foreign(Theirs(audio=mfcc).save(tmp_path / "y.ckpt"))
    path = tmp_path / "z.ckpt"
    torch.save({"Transformer": {"a": torch.zeros(1)}, "Config": Theirs().settings}, path)
    with pytest.raises(InputError, match="lacks SpecHead"):
        open_foreign(path)
    path.write_bytes(pickle.dumps({"Transformer": 1}))
    with pytest.raises(InputError, match="not a whole PyTorch file"):
        open_foreign(path)
