"""Checkpoints of s3prl (Mockingjay, TERA, Audio ALBERT) in, configs and parameters out."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax.config import (
    Batches,
    Config,
    Features,
    MaskedReconstruction,
    Model,
    NoObjective,
    Objective,
    StackedFrames,
)
from sat_jax.errors import InputError
from sat_jax.grid import SAMPLE_RATE
from sat_jax.model.convert.settings import plain
from sat_jax.model.convert.tensor_names import Place, dense, fused_streams, norm, to_params
from sat_jax.model.convert.tensors import Tensors, only_tensors

OLD_NAMES = {"gamma": "weight", "beta": "bias"}
"""Of layer normalisation."""
ALIASES = (
    (r"(encoder\.layer\.\d+\.attention)\.LayerNorm", r"\1.output.LayerNorm"),
    (r"(encoder\.layer\.\d+)\.LayerNorm", r"\1.output.LayerNorm"),
)
"""Second names of tensors in a model that normalises before its sub-layers."""
KINDS = {"mel": "log_mel", "linear": "linear"}
"""Their `feat_type` to our kind of feature."""
UNLIMITED = 3000
"""Frames of training's table of positions, where their settings limit no length."""
PER_MS = SAMPLE_RATE // 1000


def open_s3prl(found: Mapping[str, Any], name: str, path: Path) -> tuple[Config, Any, list[str]]:
    """Config, parameters and what was passed over, of what a file holds.

    Raises `InputError` for what is none, lacks a tensor, has one that is not known, and for
    features that are not computed here.
    """
    theirs = settings_of(found, path)
    try:
        config = config_of(theirs, name, path)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: its settings are not those of s3prl ({type(error).__name__} {error}): give "
            "the published file"
        ) from None
    tensors = tensors_of(found, path)
    said = []
    others = sorted(map(str, set(found) - {"Transformer", "SpecHead", "Config", "Upstream_Config"}))
    if others:
        said.append(f"not needed: {', '.join(others)}")
    if config.model.pre_ln:
        tensors = without_aliases(tensors, config.model.layers, path)
        said.append("not needed: normalisation of hidden states, which are given before it")
    if config.model.share_layers:
        tensors = without_copies(tensors, path)
    places = list(places_of(config.model))
    needed = {each for place in places for each in place.names}
    for what, names in (
        ("lacks", needed - tensors.keys()),
        ("has, and this model does not", tensors.keys() - needed),
    ):
        if names:
            some = ", ".join(sorted(names)[:6]) + (" and more" if len(names) > 6 else "")
            raise InputError(f"{path}: {what}: {some}; give the published file")
    said.append(f"longer utterances than {config.batches.max_frames} frames are cut there")
    if int((theirs.get("task") or {}).get("sequence_length", 0)):
        said[-1] += "; s3prl cuts them into equal parts and encodes each on its own"
    return config, to_params(places, tensors, path), said


def settings_of(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What the model was made from; raises `InputError` where it is not there."""
    for key in ("Config", "Upstream_Config"):
        theirs = plain(found.get(key))
        if isinstance(theirs, dict) and isinstance(theirs.get("transformer"), dict):
            return theirs
    raise InputError(
        f"{path}: has no settings of a transformer under Config or Upstream_Config: give the "
        "published file"
    )


def config_of(theirs: Mapping[str, Any], name: str, path: Path) -> Config:
    """Our config for theirs; raises `InputError` for what is not supported."""
    model, task = theirs["transformer"], theirs.get("task") or {}
    if model["hidden_act"] != "gelu":
        raise InputError(f"{path}: hidden_act is {model['hidden_act']!r}: expected gelu")
    if not isinstance(theirs.get("audio"), dict):
        raise InputError(
            f"{path}: has no audio settings: it was trained on features from files, which are not "
            "known; give a checkpoint that computes its features"
        )
    stack = int(model.get("downsample_rate", 1))
    frames = int(task.get("sequence_length", 0)) or UNLIMITED
    start = float(model["initializer_range"])
    front = StackedFrames(
        stack=stack, max_positions=max(StackedFrames.max_positions, frames), init_std=start
    )
    return Config(
        name=name,
        features=features_of(theirs["audio"], path),
        model=Model(
            frontend=front,
            layers=int(model["num_hidden_layers"]),
            heads=int(model["num_attention_heads"]),
            width=int(model["hidden_size"]),
            ffn=int(model["intermediate_size"]),
            dropout=float(model["hidden_dropout_prob"]),
            pre_ln=bool(model.get("pre_layer_norm", False)),
            layer_norm_eps=float(model.get("layer_norm_eps", 1e-12)),
            init_std=start,
            share_layers=bool(model.get("share_layer", False)),
        ),
        objective=objective_of(task, stack),
        batches=Batches(max_frames=frames),
    )


def features_of(audio: Mapping[str, Any], path: Path) -> Features:
    """What the model hears and predicts; raises `InputError` for what is not computed here."""
    if "kaldi" in audio:
        return _filter_bank(audio, path)
    heard = audio["input"]
    predicted = audio.get("target") or heard
    for each in (heard, predicted):
        kind = each["feat_type"]
        if kind not in KINDS or not each.get("log"):
            raise InputError(
                f"{path}: features of the type {kind!r}, log {bool(each.get('log'))}: expected "
                f"one of {', '.join(KINDS)} with log"
            )
    if bool(heard.get("cmvn")) != bool(predicted.get("cmvn")):
        raise InputError(f"{path}: cmvn of input or target only: expected both or none")
    bins = int(audio.get("n_freq", 201))
    # Their mel filters are made for 201 bins, whatever n_freq is.
    if bins != 201 and "mel" in (heard["feat_type"], predicted["feat_type"]):
        raise InputError(f"{path}: n_freq is {bins}: expected 201 for features of the type mel")
    if int(audio.get("sample_rate", SAMPLE_RATE)) != SAMPLE_RATE:
        raise InputError(f"{path}: sample_rate is {audio['sample_rate']}: only models of 16 kHz")
    return Features(
        recipe="s3prl",
        input=KINDS[heard["feat_type"]],
        target=KINDS[predicted["feat_type"]],
        window=round(audio.get("win_ms", 25) * PER_MS),
        hop=round(audio.get("hop_ms", 10) * PER_MS),
        n_fft=2 * (bins - 1),
        target_n_fft=2 * (bins - 1),
        mels=int(audio.get("n_mels", 40)),
        deltas=int(heard.get("delta", 0)),
        target_deltas=int(predicted.get("delta", 0)),
        normalize=bool(heard.get("cmvn", False)),
        level=float(audio["target_level"]),
    )


def _filter_bank(audio: Mapping[str, Any], path: Path) -> Features:
    kaldi, delta = audio["kaldi"], audio.get("delta") or {}
    kind = kaldi.get("feat_type", "fbank")
    if kind != "fbank":
        raise InputError(f"{path}: Kaldi features of the type {kind!r}: expected fbank")
    options = dict(kaldi["fbank"])
    mels = int(options.pop("num_mel_bins", 23))
    window = int(options.pop("frame_length", 25.0) * PER_MS)
    hop = int(options.pop("frame_shift", 10.0) * PER_MS)
    plainly = {"use_log_fbank": True, "dither": 0.0, "window_type": "povey", "low_freq": 20.0}
    other = sorted(key for key, value in options.items() if plainly.get(key) != value)
    if other:
        raise InputError(f"{path}: options of Kaldi that are not known here: {', '.join(other)}")
    if delta.get("win_length", 5) != 5:
        raise InputError(f"{path}: delta.win_length is {delta['win_length']}: expected 5")
    orders = int(delta.get("order", 2))
    n_fft = 1 << (window - 1).bit_length()
    return Features(
        recipe="kaldi",
        window=window,
        hop=hop,
        n_fft=n_fft,
        target_n_fft=n_fft,
        mels=mels,
        deltas=orders,
        target_deltas=orders,
        normalize=bool((audio.get("cmvn") or {}).get("use_cmvn", False)),
    )


def objective_of(task: Mapping[str, Any], stack: int) -> Objective:
    """What it was trained for: ours where masks hide frames of one length and nothing else."""
    shortest = int(task.get("mask_consecutive_min", 0))
    longest = int(task.get("mask_consecutive_max", shortest))
    share = float(task.get("mask_proportion", 0))
    bands, noise = float(task.get("mask_frequency", 0)), float(task.get("noise_proportion", 0))
    whole = shortest > 0 and shortest == longest and shortest % stack == 0
    if 0 < share < 1 and whole and not bands and not noise and task.get("loss", "L1") == "L1":
        return MaskedReconstruction(mask_share=share, c_num=shortest)
    hidden = [
        *(["frames"] if share else []),
        *(["frequency bands"] if bands else []),
        *(["noise"] if noise else []),
    ]
    what = ", ".join(hidden) or "unknown corruption"
    return NoObjective(trained_for=f"reconstruction of spectra under masks ({what})")


def tensors_of(found: Mapping[str, Any], path: Path) -> Tensors:
    """Tensors of the encoder, and of the head under `SpecHead.`, by their current names."""
    if not isinstance(found.get("SpecHead"), Mapping):
        raise InputError(f"{path}: lacks SpecHead, the head of pretraining: give the whole file")
    encoder = only_tensors(found["Transformer"], path)
    head = only_tensors(found["SpecHead"], path)
    both = encoder | {f"SpecHead.{name}": tensor for name, tensor in head.items()}
    return {
        re.sub(r"(?<=\.)(gamma|beta)$", lambda old: OLD_NAMES[old.group()], name): tensor
        for name, tensor in both.items()
    }


def without_aliases(tensors: Tensors, layers: int, path: Path) -> Tensors:
    """Tensors without second names and norms of hidden states; the last norm is the encoder's.

    Raises `InputError` where two names of one tensor hold different numbers: that is another model.
    """
    kept = {}
    for name, tensor in tensors.items():
        first = next((re.sub(f"^{a}", b, name) for a, b in ALIASES if re.match(a, name)), name)
        if first != name:
            if first not in tensors or not np.array_equal(tensors[first], tensor):
                raise InputError(
                    f"{path}: pre_layer_norm with {name} unlike {first}: not supported, because "
                    "a layer here has two normalisations"
                )
        elif not (of := re.match(r"encoder\.LayerNorm\.(\d+)\.", name)) or int(of[1]) == layers:
            kept[name] = tensor
    return kept


def without_copies(tensors: Tensors, path: Path) -> Tensors:
    """Tensors of the first layer only; raises `InputError` where another has other numbers."""
    kept = {}
    for name, tensor in tensors.items():
        first = re.sub(r"^encoder\.layer\.\d+\.", "encoder.layer.0.", name)
        if first == name:
            kept[name] = tensor
        elif first not in tensors or not np.array_equal(tensors[first], tensor):
            raise InputError(f"{path}: share_layer is on, and {name} is not {first}")
    return kept


def places_of(model: Model) -> Iterator[Place]:
    """Every parameter of a Mockingjay."""
    yield from dense(("input",), "input_representations.spec_transform")
    yield from norm(("input_norm",), "input_representations.LayerNorm")
    for i in range(1 if model.share_layers else model.layers):
        path, theirs = ("encoder", f"layer_{i}"), f"encoder.layer.{i}"
        names = [f"{theirs}.attention.self.{part}" for part in ("query", "key", "value")]
        yield from fused_streams((*path, "attention", "streams"), names, model)
        yield from dense((*path, "attention", "out"), f"{theirs}.attention.output.dense")
        yield from norm((*path, "norm_attention"), f"{theirs}.attention.output.LayerNorm")
        yield from norm((*path, "norm_ffn"), f"{theirs}.output.LayerNorm")
        yield from dense((*path, "ffn_in"), f"{theirs}.intermediate.dense")
        yield from dense((*path, "ffn_out"), f"{theirs}.output.dense")
    if model.pre_ln:
        yield from norm(("encoder", "norm"), f"encoder.LayerNorm.{model.layers}")
    yield from dense(("head", "dense"), "SpecHead.dense")
    yield from norm(("head", "norm"), "SpecHead.LayerNorm")
    yield from dense(("head", "output"), "SpecHead.output")
