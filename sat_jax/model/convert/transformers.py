"""Checkpoints of `transformers`: their config in, ours out; and which of their tensors are not
needed."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from sat_jax.config import Config, Convolutions, GatedBias, Model, NoObjective, QueryKey
from sat_jax.errors import InputError
from sat_jax.model.convert.tensor_names import PREFIXES, places_of, to_params
from sat_jax.model.convert.tensors import Tensors, read_json

KINDS = {
    "wav2vec2": "wav2vec2",
    "hubert": "hubert",
    "wavlm": "wavlm",
    "data2vec-audio": "data2vec",
}
"""Their `model_type` to our `model.kind`."""
TRAINED_FOR = {
    "wav2vec2": "contrastive prediction of quantised frames",
    "hubert": "masked prediction of units",
    "wavlm": "masked prediction of units in noise",
    "data2vec": "masked prediction of a teacher's states",
}
NOT_NEEDED = (
    (r"^(quantizer|project_q|project_hid)\.", "the quantiser of pretraining"),
    (r"^(final_proj|label_embs_concat)", "the head of pretraining"),
    (r"^(projector|classifier)\.|^layer_weights$", "a head for classification"),
    (r"\.num_batches_tracked$", "counters"),
)
"""Patterns of names that may be there and are passed over, and what they are."""
MAY_LACK = ("masked_spec_embed",)
"""What released files lack at times; it matters only for masked training."""


def config_of(folder: Path, name: str) -> Config:
    """Our config for a folder with theirs; raises `InputError` for what is not supported."""
    theirs = read_json(folder / "config.json")
    found = theirs.get("model_type")
    if found not in KINDS:
        raise InputError(
            f"{folder}/config.json: model_type is {found!r}: expected one of {', '.join(KINDS)}"
        )
    audio = {}
    if (folder / "preprocessor_config.json").is_file():
        audio = read_json(folder / "preprocessor_config.json")
    rate = audio.get("sampling_rate", 16_000)
    if rate != 16_000:
        raise InputError(
            f"{folder}/preprocessor_config.json: sampling_rate is {rate}: only models of 16 kHz"
        )
    try:
        return config_from(
            theirs, KINDS[found], bool(audio.get("do_normalize", False)), name, folder
        )
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder}/config.json: {type(error).__name__} {error}: download or copy it again"
        ) from None


def config_from(
    theirs: dict[str, Any], kind: str, normalize: bool, name: str, folder: Path
) -> Config:
    """Our config for the fields of theirs; raises `InputError` for what is not supported."""
    for field in ("hidden_act", "feat_extract_activation"):
        if theirs.get(field, "gelu") != "gelu":
            raise InputError(f"{folder}/config.json: {field} is {theirs[field]!r}: expected gelu")
    if theirs.get("add_adapter") or theirs.get("adapter_attn_dim") is not None:
        raise InputError(
            f"{folder}/config.json: the model has adapters, which are not supported: give the "
            "model that they were added to"
        )
    heads = any("CTC" in each for each in theirs.get("architectures") or ())
    batch_norm = theirs.get("conv_pos_batch_norm", False)
    layered = kind == "data2vec"
    front = Convolutions(
        channels=tuple(theirs.get("conv_dim", Convolutions.channels)),
        kernels=tuple(theirs.get("conv_kernel", Convolutions.kernels)),
        strides=tuple(theirs.get("conv_stride", Convolutions.strides)),
        bias=theirs.get("conv_bias", False),
        norm="layer" if layered else theirs.get("feat_extract_norm", "group"),
        normalize_audio=normalize,
        project_norm=theirs.get("feat_proj_layer_norm", True),
        position_kernel=theirs.get("conv_pos_kernel_size", 19)
        if layered
        else theirs.get("num_conv_pos_embeddings", 128),
        position_groups=theirs.get("num_conv_pos_embedding_groups", 16),
        position_layers=theirs.get("num_conv_pos_embeddings", 5) if layered else 1,
        position_norm="layer" if layered else "batch" if batch_norm else "weight",
    )
    attention = QueryKey()
    if kind == "wavlm":
        attention = GatedBias(
            buckets=theirs.get("num_buckets", 320),
            max_distance=theirs.get("max_bucket_distance", 800),
        )
    model = Model(
        kind=kind,
        frontend=front,
        attention=attention,
        layers=theirs.get("num_hidden_layers", 12),
        heads=theirs.get("num_attention_heads", 12),
        width=theirs.get("hidden_size", 768),
        ffn=theirs.get("intermediate_size", 3072),
        dropout=theirs.get("hidden_dropout", 0.1),
        pre_ln=theirs.get("do_stable_layer_norm", False),
        layer_norm_eps=theirs.get("layer_norm_eps", 1e-5),
        init_std=theirs.get("initializer_range", 0.02),
        letters=letters_of(folder, theirs) if heads else (),
        blank=theirs.get("pad_token_id", 0) if heads else 0,
    )
    return Config(name=name, model=model, objective=NoObjective(trained_for=TRAINED_FOR[kind]))


def theirs_of(config: Config) -> dict[str, Any]:
    """The inverse of `config_of`: what their config.json says of a model."""
    model, front = config.model, config.model.frontend
    (kind,) = (theirs for theirs, ours in KINDS.items() if ours == model.kind)
    name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}.get(kind, "Data2VecAudio")
    layered = model.kind == "data2vec"
    values = {
        "model_type": kind,
        "architectures": [f"{name}ForCTC" if model.letters else f"{name}Model"],
        "conv_dim": list(front.channels),
        "conv_kernel": list(front.kernels),
        "conv_stride": list(front.strides),
        "conv_bias": front.bias,
        "feat_extract_norm": front.norm,
        "num_feat_extract_layers": len(front.channels),
        "feat_proj_layer_norm": front.project_norm,
        "num_conv_pos_embedding_groups": front.position_groups,
        "num_conv_pos_embeddings": front.position_layers if layered else front.position_kernel,
        "conv_pos_kernel_size": front.position_kernel,
        "conv_pos_batch_norm": front.position_norm == "batch",
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "hidden_size": model.width,
        "intermediate_size": model.ffn,
        "hidden_dropout": model.dropout,
        "do_stable_layer_norm": model.pre_ln,
        "layer_norm_eps": model.layer_norm_eps,
        "initializer_range": model.init_std,
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        # They make a vector for masks only where they mean to mask.
        "mask_time_prob": 0.05 if front.mask_embedding else 0.0,
        "mask_feature_prob": 0.0,
    }
    if isinstance(model.attention, GatedBias):
        values["num_buckets"] = model.attention.buckets
        values["max_bucket_distance"] = model.attention.max_distance
    if model.letters:
        values |= {"vocab_size": len(model.letters), "pad_token_id": model.blank}
    return values


def audio_settings(config: Config) -> dict[str, Any]:
    """What their preprocessor_config.json says."""
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": config.model.frontend.normalize_audio,
        "feature_size": 1,
        "padding_value": 0.0,
        "return_attention_mask": config.model.frontend.norm == "layer",
        "sampling_rate": 16_000,
    }


def letters_of(folder: Path, theirs: dict[str, Any]) -> tuple[str, ...]:
    """What the head for CTC tells apart, from `vocab.json` where it is there."""
    size = theirs.get("vocab_size", 32)
    names = [str(number) for number in range(size)]
    if (folder / "vocab.json").is_file():
        for letter, number in read_json(folder / "vocab.json").items():
            if isinstance(number, int) and 0 <= number < size:
                names[number] = letter
    return tuple(names)


def params_of(config: Config, tensors: Tensors, where: Any) -> tuple[Config, Any, list[str]]:
    """The config, its parameters from their tensors, and a word on each that was passed over.

    A config whose masked-span vector the file lacks comes back without it. Raises `InputError` that
    lists what is missing, what is not known, and what has another shape.
    """
    tensors = current_names(without_prefix(tensors, PREFIXES[config.model.kind]))
    said: list[str] = []
    if MAY_LACK[0] not in tensors and config.model.frontend.mask_embedding:
        said.append(f"{MAY_LACK[0]} is not in the file: needed only to train with masks")
        config = without_mask(config)
    places = places_of(config)
    needed = {name for place in places for name in place.names}
    passed: dict[str, int] = {}
    unknown = []
    for name in sorted(tensors.keys() - needed):
        reason = next((why for rule, why in NOT_NEEDED if re.search(rule, name)), "")
        if not reason and name.startswith("lm_head."):
            reason = "a head for CTC, which config.json does not have"
        if reason:
            passed[reason] = passed.get(reason, 0) + 1
        else:
            unknown.append(name)
    missing = sorted(needed - tensors.keys())
    require_none(where, "lacks", missing)
    require_none(where, "has, and this model does not", unknown)
    params = to_params(places, tensors, where)
    said += [f"not needed: {number} tensors of {why}" for why, number in passed.items()]
    return config, params, said


def require_none(where: Any, what: str, names: list[str]) -> None:
    """Raise `InputError` where there are any names."""
    if names:
        some = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        raise InputError(f"{where}: {what}: {some}; check that the config belongs to these weights")


def without_prefix(tensors: Tensors, prefix: str) -> Tensors:
    """Tensors under the names of a bare model; those of heads keep theirs."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def current_names(tensors: Tensors) -> Tensors:
    """Old names of weight norm as the current ones."""
    new = {"weight_g": "parametrizations.weight.original0"}
    new |= {"weight_v": "parametrizations.weight.original1"}
    return {
        re.sub(r"weight_[gv]$", lambda old: new[old.group()], name): tensor
        for name, tensor in tensors.items()
    }


def without_mask(config: Config) -> Config:
    """The config without a vector for masked positions."""
    front = dataclasses.replace(config.model.frontend, mask_embedding=False)
    model = dataclasses.replace(config.model, frontend=front)
    return dataclasses.replace(config, model=model)
