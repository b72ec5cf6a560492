"""A config in, nothing out: impossible values end in one line, before anything is compiled."""

from sat_jax.config import (
    Config,
    Explorer,
    Muon,
    Similarity,
)
from sat_jax.config.check_model import check_model, check_pruning
from sat_jax.config.check_objective import check_objective
from sat_jax.config.require import (
    require,
    require_at_least,
    require_local,
    require_place,
    require_positive,
    require_share,
)

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
    check_model(config)
    check_pruning(config)
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
