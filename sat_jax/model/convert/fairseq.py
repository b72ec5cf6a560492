"""Checkpoints of fairseq (wav2vec 2.0, HuBERT) and of unilm (WavLM): configs and parameters out.

Their tensors get the names that `transformers` gives them, and go on as those do.
"""

import ast
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sat_jax.config import Config
from sat_jax.errors import InputError
from sat_jax.model.convert import transformers
from sat_jax.model.convert.settings import plain
from sat_jax.model.convert.tensors import Tensors, only_tensors

LAYER = r"^(encoder\.layers\.\d+)\."
NAMES = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (
        r"^feature_extractor\.conv_layers\.(\d+)\.2\.(1\.)?",
        r"feature_extractor.conv_layers.\1.layer_norm.",
    ),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"^encoder\.layer_norm\.", "encoder.layer_norm."),
    (LAYER + r"self_attn\.([qkv]|out)_proj\.", r"\1.attention.\2_proj."),
    (LAYER + r"self_attn\.grep_linear\.", r"\1.attention.gru_rel_pos_linear."),
    (LAYER + r"self_attn\.grep_a$", r"\1.attention.gru_rel_pos_const"),
    (LAYER + r"self_attn\.relative_attention_bias\.", r"\1.attention.rel_attn_embed."),
    (LAYER + r"self_attn_layer_norm\.", r"\1.layer_norm."),
    (LAYER + r"fc1\.", r"\1.feed_forward.intermediate_dense."),
    (LAYER + r"fc2\.", r"\1.feed_forward.output_dense."),
    (LAYER + r"final_layer_norm\.", r"\1.final_layer_norm."),
)
"""What their names begin with, and the names of transformers."""
NORMALISED_POSITIONS = (
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.batch_norm."),
    (r"^encoder\.pos_conv\.1\.", "encoder.pos_conv_embed.conv."),
)
"""Where batch normalisation comes before the convolution of positions."""
HEADS = r"^(quantizer|input_quantizer|project_q|project_inp|final_proj|target_glu)\.|^label_embs"
"""What only pretraining needs."""
PLAIN = {
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "crop_seq_to_multiple": 1,
    "pos_conv_depth": 1,
}
"""Fields of which only one value is known here."""
CONVOLUTIONS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2"
AUDIO_EPS = 1e-5
"""What their layer normalisation of raw audio adds to the variance."""


def open_fairseq(found: Mapping[str, Any], name: str, path: Path) -> tuple[Config, Any, list[str]]:
    """Config, parameters and what was passed over, of what a file holds.

    Raises `InputError` for what is none, lacks a tensor, or has one that is not known.
    """
    tensors = only_tensors(found["model"], path)
    if any(key.startswith("w2v_encoder.") for key in tensors):
        raise InputError(
            f"{path}: a fine-tuned model (w2v_encoder): give the pretrained one, or the folder of "
            "its version for transformers"
        )
    model, normalize = settings_of(found, path)
    heads = sorted({key.split(".")[0] for key in tensors if re.search(HEADS, key)})
    said = [f"not needed: {', '.join(heads)} (pretraining)"] if heads else []
    kind = kind_of(tensors, model, path)
    config = config_of(model, kind, normalize, name, path)
    renamed = renamed_tensors(tensors, bool(model.get("conv_pos_batch_norm", False)), path)
    config, params, more = transformers.params_of(config, renamed, path)
    return config, params, said + more


def settings_of(found: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], bool]:
    """The fields of the model, and whether audio is normalised, from `cfg` or `args`."""
    theirs = found.get("cfg") or found.get("args")
    fields = plain(theirs)
    if not isinstance(fields, dict) or not fields:
        raise InputError(f"{path}: has no settings under cfg or args: give the published file")
    model = fields.get("model") if isinstance(fields.get("model"), dict) else fields
    task = fields.get("task") if isinstance(fields.get("task"), dict) else {}
    return model, bool(task.get("normalize", model.get("normalize", False)))


def kind_of(tensors: Tensors, model: Mapping[str, Any], path: Path) -> str:
    """Which model it is, from its tensors, or where these do not say it from its settings."""
    if any("relative_attention_bias" in key or "grep_" in key for key in tensors):
        return "wavlm"
    if any(key.startswith(("quantizer.", "project_q.")) for key in tensors):
        return "wav2vec2"
    if "label_embs_concat" in tensors or "label_rate" in model or model.get("_name") == "hubert":
        return "hubert"
    if model.get("_name") == "wav2vec2" or model.get("arch") == "wav2vec2":
        return "wav2vec2"
    if "relative_position_embedding" in model:
        raise InputError(f"{path}: a WavLM without its bias of positions: not supported")
    if any(key.startswith("feature_extractor.conv_layers.") for key in tensors):
        return "wav2vec2"
    raise InputError(f"{path}: neither wav2vec 2.0 nor HuBERT nor WavLM: give one of these")


def config_of(
    model: Mapping[str, Any], kind: str, normalize: bool, name: str, path: Path
) -> Config:
    """Our config for the fields of a model; raises `InputError` for what is not supported."""
    for field, known in PLAIN.items():
        if model.get(field, known) != known:
            raise InputError(f"{path}: {field} is {model[field]!r}: expected {known!r}")
    mode = model.get("extractor_mode", "default")
    if mode not in ("default", "layer_norm"):
        raise InputError(f"{path}: extractor_mode is {mode!r}: expected default or layer_norm")
    layers = convolutions(model.get("conv_feature_layers") or CONVOLUTIONS, path)
    theirs = {
        "conv_dim": [layer[0] for layer in layers],
        "conv_kernel": [layer[1] for layer in layers],
        "conv_stride": [layer[2] for layer in layers],
        "conv_bias": bool(model.get("conv_bias", False)),
        "feat_extract_norm": "layer" if mode == "layer_norm" else "group",
        "num_conv_pos_embeddings": number(model, "conv_pos", 128, path),
        "num_conv_pos_embedding_groups": number(model, "conv_pos_groups", 16, path),
        "conv_pos_batch_norm": bool(model.get("conv_pos_batch_norm", False)),
        "num_hidden_layers": number(model, "encoder_layers", 12, path),
        "num_attention_heads": number(model, "encoder_attention_heads", 12, path),
        "hidden_size": number(model, "encoder_embed_dim", 768, path),
        "intermediate_size": number(model, "encoder_ffn_embed_dim", 3072, path),
        "hidden_dropout": float(model.get("dropout", 0.1)),
        "do_stable_layer_norm": bool(model.get("layer_norm_first", False)),
        "num_buckets": number(model, "num_buckets", 320, path),
        "max_bucket_distance": number(model, "max_distance", 1280, path),
    }
    config = transformers.config_from(theirs, kind, normalize, name, path)
    front = dataclasses.replace(config.model.frontend, audio_eps=AUDIO_EPS)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, frontend=front))


def number(model: Mapping[str, Any], field: str, default: int, path: Path) -> int:
    """A field that counts; raises `InputError` where it is something else."""
    value = model.get(field, default)
    if type(value) is not int or value < 1:
        raise InputError(f"{path}: {field} is {value!r}: expected a whole number from 1")
    return value


def renamed_tensors(tensors: Tensors, batch_norm: bool, path: Path) -> Tensors:
    """Tensors under the names of transformers, without those of pretraining's heads.

    Raises `InputError` that lists names which are not known.
    """
    rules = (*NORMALISED_POSITIONS, *NAMES) if batch_norm else NAMES
    found, unknown = {}, []
    for name, tensor in tensors.items():
        rule = next(((old, new) for old, new in rules if re.search(old, name)), None)
        if rule:
            found[re.sub(*rule, name)] = tensor
        elif not re.search(HEADS, name) and not name.endswith(".num_batches_tracked"):
            unknown.append(name)
    transformers.require_none(path, "has, and this model does not", sorted(unknown))
    return found


def convolutions(text: Any, path: Path) -> list[list[int]]:
    """Channels, taps and stride of each convolution, of text such as `[(512, 10, 5)] * 2`.

    Lists, sums of lists and multiples of lists are read, nothing is evaluated. Raises `InputError`.
    """
    try:
        layers = text if isinstance(text, list) else _read(ast.parse(str(text)[:2000], "", "eval"))
        if not 0 < len(layers) <= 32 or any(
            len(layer) != 3 or any(type(each) is not int or each < 1 for each in layer)
            for layer in layers
        ):
            raise ValueError("expected three whole numbers each")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise InputError(
            f"{path}: conv_feature_layers is {str(text)[:80]!r}: expected text such as "
            f"{CONVOLUTIONS}"
        ) from None
    return layers


def _read(node: ast.AST) -> Any:
    match node:
        case ast.Expression(body=body):
            return _read(body)
        case ast.List(elts=each) | ast.Tuple(elts=each):
            return [_read(one) for one in each]
        case ast.Constant(value=int() as value):
            return value
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            joined = _read(left), _read(right)
            if all(isinstance(part, list) for part in joined):
                return joined[0] + joined[1]
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            part, times = _read(left), _read(right)
            if isinstance(part, list) and type(times) is int and 0 <= times * len(part) <= 32:
                return part * times
    raise ValueError("neither lists nor numbers")
