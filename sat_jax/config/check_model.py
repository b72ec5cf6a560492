"""Fields of a model checked one by one and together."""

from sat_jax.config import Config, Convolutions, GatedBias, Model, StackedFrames
from sat_jax.config.attention import Hashed, LearnedMaps, Routing, Sparse, SynDense
from sat_jax.config.require import (
    require,
    require_at_least,
    require_positive,
    require_std,
)

RAW_AUDIO = ("wav2vec2", "hubert", "wavlm", "data2vec")
"""Kinds of models that hear samples."""


def check_model(config: Config) -> None:
    """Raise `InputError` that names the first field of the model that cannot work."""
    model = config.model
    for name in ("layers", "heads", "width", "ffn"):
        require_at_least(getattr(model, name), 1, f"model.{name}")
    divisors = [h for h in range(1, model.width + 1) if model.width % h == 0]
    near = sorted(sorted(divisors, key=lambda h: abs(h - model.heads))[:3])
    require(
        model.width % model.heads == 0,
        f"model.heads is {model.heads}, which does not divide model.width = {model.width}: "
        f"give one of {near} or another width",
    )
    require(model.width % 2 == 0, f"model.width is {model.width}: give an even number (sin, cos)")
    for name in ("dropout", "layer_drop"):
        value = getattr(model, name)
        require(0.0 <= value < 1.0, f"model.{name.replace('_', '-')} is {value}: give 0 <= p < 1")
    require(model.layer_norm_eps > 0, "model.layer-norm-eps must be positive")
    require_std(model.init_std, "model.init-std")
    require_positive(model.residual_init_scale, "model.residual-init-scale")
    require(
        not (model.share_layers and (model.scan_layers or model.pruned)),
        "model.share-layers is on: leave --model.scan-layers away, and export.py unshares the "
        "layers that it prunes",
    )
    _check_attention(model)
    if isinstance(model.frontend, StackedFrames):
        _check_stacked_frames(config, model.frontend)
    if isinstance(model.frontend, Convolutions):
        _check_convolutions(model, model.frontend)
    fits = {"mockingjay": StackedFrames} | dict.fromkeys(RAW_AUDIO, Convolutions)
    require(
        isinstance(model.frontend, fits.get(model.kind, object)),
        f"model.kind is {model.kind} and model.frontend is {model.frontend.kind}: raw audio "
        "(convolutions) goes with wav2vec2, hubert, wavlm and data2vec, stacked_frames with "
        "mockingjay",
    )
    require(
        (model.kind == "wavlm") == isinstance(model.attention, GatedBias),
        f"model.kind is {model.kind} and model.attention is {model.attention.kind}: wavlm and "
        "gated_bias go together, as the model makes the bias that each layer gates",
    )
    require(
        not model.letters or 0 <= model.blank < len(model.letters),
        f"model.blank is {model.blank}: give the number of one of the {len(model.letters)} "
        "model.letters",
    )


def _check_attention(model: Model) -> None:
    attention = model.attention
    if hasattr(attention, "init_scale"):
        require_positive(attention.init_scale, "model.attention.init-scale")
    require(
        not getattr(attention, "neighbours", ()) or isinstance(model.frontend, StackedFrames),
        "model.attention.neighbours is given, and a model on raw audio has no sinusoids to look at "
        "neighbours by: leave it out",
    )
    if isinstance(attention, Sparse):
        require(
            model.heads % 2 == 0,
            f"model.attention is {attention.kind}, whose halves of the heads see other keys, and "
            f"model.heads is {model.heads}: give an even number",
        )
    if isinstance(attention, Hashed):
        require_at_least(attention.keys, 1, "model.attention.keys")
        require_at_least(attention.hash_seed, 0, "model.attention.hash-seed")
    if isinstance(attention, Routing):
        require_at_least(attention.rounds, 1, "model.attention.rounds")
    if isinstance(attention, LearnedMaps):
        require_at_least(attention.positions, 0, "model.attention.positions")
    if isinstance(attention, SynDense):
        require_at_least(attention.bottleneck, 1, "model.attention.bottleneck")


def _check_stacked_frames(config: Config, frontend: StackedFrames) -> None:
    require_at_least(frontend.stack, 1, "model.frontend.stack")
    base = frontend.position_base
    require(base > 1, f"model.frontend.position-base is {base}: give over 1")
    require_std(frontend.init_std, "model.frontend.init-std")
    require(
        config.batches.max_frames >= frontend.stack,
        f"batches.max-frames is {config.batches.max_frames}: give at least one position, "
        f"model.frontend.stack = {frontend.stack} frames",
    )
    maps = getattr(config.model.attention, "positions", 0)
    seen = config.batches.max_frames // frontend.stack
    require(
        not maps or seen <= maps,
        f"model.attention.positions is {maps}, and utterances have up to {seen} positions "
        f"(batches.max-frames / model.frontend.stack): give at least {seen}, or 0 for as many",
    )
    offset = getattr(config.objective, "position_offset", 0)
    needed = config.batches.max_frames // frontend.stack + offset
    require(
        needed <= frontend.max_positions,
        "batches.max-frames / model.frontend.stack + objective.position-offset is "
        f"{needed} positions, over the position table: raise model.frontend.max-positions from "
        f"{frontend.max_positions} or lower them",
    )


def _check_convolutions(model: Model, front: Convolutions) -> None:
    sizes = [len(each) for each in (front.channels, front.kernels, front.strides)]
    require(
        len(set(sizes)) == 1 and sizes[0] > 0,
        f"model.frontend has {sizes[0]} channels, {sizes[1]} kernels and {sizes[2]} strides: give "
        "as many of each",
    )
    for name in ("channels", "kernels", "strides"):
        require_at_least(min(getattr(front, name)), 1, f"model.frontend.{name}")
    for name in ("position_kernel", "position_groups", "position_layers", "max_positions"):
        dashed = name.replace("_", "-")
        require_at_least(getattr(front, name), 1, f"model.frontend.{dashed}")
    require(
        model.width % front.position_groups == 0,
        f"model.frontend.position-groups is {front.position_groups}, which does not divide "
        f"model.width = {model.width}: give a divisor",
    )
    for name in ("norm_eps", "audio_eps"):
        require_positive(getattr(front, name), f"model.frontend.{name.replace('_', '-')}")


def check_pruning(config: Config) -> None:
    """Raise `InputError` for pruned heads and spans that the model does not have."""
    model = config.model
    require(
        len(model.pruned_heads) in (0, model.layers),
        f"model.pruned-heads lists the heads of {len(model.pruned_heads)} layers: give a list for "
        f"each of the model.layers = {model.layers}, or none",
    )
    for layer, heads in enumerate(model.pruned_heads, 1):
        require(
            list(heads) == sorted(set(heads) & set(range(model.heads))),
            f"model.pruned-heads has {list(heads)} for layer {layer}: give rising numbers from 0 "
            f"to model.heads - 1 = {model.heads - 1}",
        )
    require(
        len(model.spans) in (0, model.layers),
        f"model.spans lists the spans of {len(model.spans)} layers: give a list for each of the "
        f"model.layers = {model.layers}, or none",
    )
    for layer, (spans, heads) in enumerate(zip(model.spans, model.unpruned_heads, strict=False), 1):
        require(
            len(spans) == len(heads),
            f"model.spans has {len(spans)} spans for layer {layer}, which has {len(heads)} heads: "
            "give one for each, null for no limit",
        )
        require(
            all(span is None or span >= 0 for span in spans),
            f"model.spans has {list(spans)} for layer {layer}: give positions from 0, or null (on "
            "the command line None) for no limit",
        )
    require(
        not (model.scan_layers and model.pruned),
        "model.scan-layers is on, and layers with their own model.pruned-heads or model.spans "
        "cannot be scanned: leave --model.scan-layers away",
    )
    counts = sorted({len(heads) for heads in model.unpruned_heads}) if model.pruned_heads else []
    require(
        all(count % config.mesh.model == 0 for count in counts),
        f"mesh.model is {config.mesh.model}, and layers have {counts} heads that are not pruned "
        "(model.pruned-heads), which it does not divide: leave --mesh.model at 1",
    )
