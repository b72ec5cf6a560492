"""A config in, nothing out: impossible values end in one line, before anything is compiled."""

from sat_jax.config import (
    Config,
    Convolutions,
    Explorer,
    GatedBias,
    Model,
    Muon,
    Similarity,
    StackedFrames,
)
from sat_jax.config.attention import Hashed, LearnedMaps, Routing, Sparse, SynDense
from sat_jax.config.check_objective import check_objective
from sat_jax.config.require import (
    require,
    require_at_least,
    require_local,
    require_place,
    require_positive,
    require_share,
    require_std,
)

RAW_AUDIO = ("wav2vec2", "hubert", "wavlm", "data2vec")
"""Kinds of models that hear samples."""


RECORDINGS = (
    "copy it, mount it (gcsfuse, mountpoint-s3), or prepare the corpus once where it is and give "
    "its --corpus.data-dir gs://BUCKET/PATH"
)
"""What to do with recordings in the cloud."""


def check(config: Config) -> None:
    """Raise `InputError` for the first value that cannot work, naming the field and the cure."""
    require_at_least(config.seed, 0, "seed")
    require_place(config.run_dir, "run-dir")
    _check_corpus(config)
    _check_features(config)
    _check_model(config)
    _check_pruning(config)
    check_objective(config)
    _check_optim(config)
    _check_loop(config)


def _check_corpus(config: Config) -> None:
    corpus = config.corpus
    require_share(corpus.valid_share, "corpus.valid-share")
    require_share(corpus.test_share, "corpus.test-share")
    require(
        corpus.valid_share + corpus.test_share < 1.0,
        f"corpus.valid-share + corpus.test-share is {corpus.valid_share + corpus.test_share}: "
        "leave something to train on (a sum below 1)",
    )
    require_at_least(corpus.talker.speakers, 1, "corpus.talker.speakers")
    require_at_least(corpus.talker.utterances, 1, "corpus.talker.utterances")
    require_at_least(corpus.workers, 0, "corpus.workers")
    require_place(corpus.data_dir, "corpus.data-dir")
    for name in ("path", "alignments", "speakers"):
        require_local(getattr(corpus, name), f"corpus.{name}", RECORDINGS)
    require_at_least(corpus.seed, 0, "corpus.seed")


def _check_features(config: Config) -> None:
    features = config.features
    require_at_least(features.hop, 1, "features.hop")
    require_at_least(features.window, 2, "features.window")
    for name, n_fft in (("n-fft", features.n_fft), ("target-n-fft", features.target_n_fft)):
        require(
            n_fft >= features.window,
            f"features.{name} is {n_fft}: give at least features.window = {features.window}",
        )
    require_at_least(features.mels, 1, "features.mels")
    require(
        1 <= features.mfccs <= features.mels,
        f"features.mfccs is {features.mfccs}: give 1 to features.mels = {features.mels}",
    )
    for name in ("deltas", "target_deltas"):
        orders = getattr(features, name)
        dashed = name.replace("_", "-")
        require(orders in (0, 1, 2), f"features.{dashed} is {orders}: give 0, 1 or 2")
    require(
        -100 <= features.level <= 0,
        f"features.level is {features.level}: give decibels from -100 to 0",
    )
    require(
        features.recipe != "s3prl" or features.window % 2 == 0,
        f"features.window is {features.window}, and features.recipe s3prl centres windows: give an "
        "even number",
    )


def _check_model(config: Config) -> None:
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


def _check_pruning(config: Config) -> None:
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


def _check_optim(config: Config) -> None:
    optim = config.optim
    require(optim.peak_lr > 0, f"optim.peak-lr is {optim.peak_lr}: give a positive number")
    require(
        0 <= optim.warmup_share < 1,
        f"optim.warmup-share is {optim.warmup_share}: give a share from 0 to below 1",
    )
    require(
        0 <= optim.final_lr_share <= 1,
        f"optim.final-lr-share is {optim.final_lr_share}: give a share from 0 to 1",
    )
    for name in ("beta1", "beta2"):
        value = getattr(optim, name)
        require(0 <= value < 1, f"optim.{name} is {value}: give 0 <= beta < 1")
    require_at_least(optim.weight_decay, 0, "optim.weight-decay")
    require_positive(optim.epsilon, "optim.epsilon")
    require(optim.clip_norm > 0, f"optim.clip-norm is {optim.clip_norm}: give a positive number")
    require(0 <= optim.average < 1, f"optim.average is {optim.average}: give 0 <= decay < 1")
    if isinstance(optim, Muon):
        momentum = optim.momentum
        require(0 <= momentum < 1, f"optim.momentum is {momentum}: give 0 <= momentum < 1")
        require_at_least(optim.newton_schulz, 1, "optim.newton-schulz")
        require_positive(optim.matrix_rms, "optim.matrix-rms")


def _check_loop(config: Config) -> None:
    for name in ("size", "parts", "buckets", "threads"):
        require_at_least(getattr(config.batches, name), 1, f"batches.{name}")
    require_at_least(config.batches.frames, 0, "batches.frames")
    loop = config.loop
    for name in ("steps", "log_every", "valid_every", "valid_batches", "checkpoint_every", "keep"):
        require_at_least(getattr(loop, name), 1, f"loop.{name.replace('_', '-')}")
    require(
        0 <= loop.first <= loop.steps,
        f"loop.first is {loop.first}, which export.py sets: give loop.steps = {loop.steps} a value "
        "from there on",
    )
    mesh = config.mesh
    require_at_least(mesh.data, 0, "mesh.data")
    require_at_least(mesh.fsdp, 1, "mesh.fsdp")
    require_at_least(mesh.model, 1, "mesh.model")
    require(
        config.model.heads % mesh.model == 0,
        f"mesh.model is {mesh.model}: give a divisor of model.heads = {config.model.heads}",
    )
    cluster = config.distributed
    require_at_least(cluster.processes, 1, "distributed.processes")
    require_at_least(cluster.devices, 0, "distributed.devices")
    require(
        0 <= cluster.process < cluster.processes,
        f"distributed.process is {cluster.process}: "
        f"give 0 to distributed.processes - 1 = {cluster.processes - 1}",
    )
    require(
        cluster.processes == 1 or bool(cluster.coordinator),
        "distributed.processes is over 1: give distributed.coordinator = host:port of process 0",
    )


def check_explorer(explorer: Explorer) -> None:
    """Raise `InputError` for settings that cannot make a page."""
    require_at_least(explorer.utterances, 1, "explorer.utterances")
    require_positive(explorer.megabytes, "explorer.megabytes")


def check_similarity(settings: Similarity) -> None:
    """Raise `InputError` for settings of the similarity study that mean nothing."""
    require_at_least(settings.utterances, 0, "similarity.utterances")
    for name in ("map_utterances", "shards", "memory_mib"):
        require_at_least(getattr(settings, name), 1, f"similarity.{name.replace('_', '-')}")
    require_at_least(settings.draws or 0, 0, "similarity.draws")
