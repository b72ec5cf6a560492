"""A config in, nothing out: an objective that its model cannot learn ends in one line."""

from sat_jax.config import (
    Config,
    Contrastive,
    Ctc,
    MaskedReconstruction,
    MaskedUnits,
    NoObjective,
    StackedFrames,
    Tera,
)
from sat_jax.config.require import (
    require,
    require_at_least,
    require_local,
    require_positive,
    require_probability,
    require_share,
)


def check_objective(config: Config) -> None:
    """Raise `InputError` for the first value of the objective that cannot work."""
    objective = config.objective
    if isinstance(objective, Ctc):
        _check_ctc(config)
    elif isinstance(objective, Contrastive | MaskedUnits):
        _check_masked_positions(config)
    elif not isinstance(objective, NoObjective):
        require(
            isinstance(config.model.frontend, StackedFrames),
            f"objective is {objective.kind}, and a model on raw audio predicts no spectra: give "
            "--objective contrastive, masked_units or ctc",
        )
    if isinstance(objective, MaskedReconstruction | Tera):
        _check_reconstruction(config)
    if isinstance(objective, Tera):
        _check_tera(config)
    if isinstance(objective, Contrastive):
        _check_contrastive(objective)
    if isinstance(objective, MaskedUnits):
        _check_units(objective)


def _check_ctc(config: Config) -> None:
    objective = config.objective
    require(
        bool(config.model.letters),
        "objective is ctc, and the model has no head for it (model.letters): convert it with "
        "--letters phones, or --letters english for transcripts",
    )
    share = objective.mask_share
    require(0 <= share < 1, f"objective.mask-share is {share}: give a share from 0 to below 1")
    require_at_least(objective.mask_length, 1, "objective.mask-length")
    require(
        not share or config.model.frontend.mask_embedding,
        "objective.mask-share is over 0, and the model has no vector for masked positions "
        "(model.frontend.mask-embedding): give 0",
    )


def _check_reconstruction(config: Config) -> None:
    objective, stack = config.objective, config.model.frontend.frames_per_position
    require_share(objective.mask_share, "objective.mask-share")
    require_at_least(objective.c_num, 1, "objective.c-num")
    require(
        objective.c_num % stack == 0,
        f"objective.c-num is {objective.c_num} frames, which is not a whole number of positions: "
        f"give a multiple of model.frontend.stack = {stack}",
    )
    for name in ("zero_share", "replace_share"):
        require_probability(getattr(objective, name), f"objective.{name.replace('_', '-')}")
    require(
        objective.zero_share + objective.replace_share <= 1.0 + 1e-9,
        "objective.zero-share + objective.replace-share is over 1: lower one of them",
    )
    require_at_least(objective.position_offset, 0, "objective.position-offset")


def _check_tera(config: Config) -> None:
    objective, features = config.objective, config.features
    require_probability(objective.channel_share, "objective.channel-share")
    require_probability(objective.magnitude_share, "objective.magnitude-share")
    require_at_least(objective.magnitude_std, 0, "objective.magnitude-std")
    for heard, predicted in (("input", "target"), ("deltas", "target_deltas")):
        ours, theirs = getattr(features, heard), getattr(features, predicted)
        require(
            ours == theirs,
            f"objective is tera, which predicts the channels that it hides: features.{heard} is "
            f"{ours} and features.{predicted.replace('_', '-')} is {theirs}: give both alike",
        )
    require(
        features.input != "linear" or features.n_fft == features.target_n_fft,
        f"objective is tera: features.n-fft is {features.n_fft} and features.target-n-fft is "
        f"{features.target_n_fft}: give both alike",
    )


def _check_masked_positions(config: Config) -> None:
    objective, front = config.objective, config.model.frontend
    require_share(objective.mask_share, "objective.mask-share")
    require_at_least(objective.mask_length, 1, "objective.mask-length")
    require_positive(objective.temperature, "objective.temperature")
    require_at_least(objective.penalty_weight, 0, "objective.penalty-weight")
    require_at_least(objective.stem_gradient, 0, "objective.stem-gradient")
    require(
        getattr(front, "mask_embedding", True),
        f"objective is {objective.kind}, and the model has no vector for masked positions: give "
        "--model.frontend.mask-embedding",
    )
    frames = config.batches.max_frames // front.frames_per_position
    require(
        frames > objective.mask_length,
        f"objective.mask-length is {objective.mask_length} positions, and utterances have up to "
        f"{frames} (batches.max-frames): give fewer",
    )


def _check_contrastive(objective: Contrastive) -> None:
    for name in ("negatives", "groups", "code_width"):
        require_at_least(getattr(objective, name), 1, f"objective.{name.replace('_', '-')}")
    require_at_least(objective.codes, 2, "objective.codes")
    require_positive(objective.logit_std, "objective.logit-std")
    require_at_least(objective.diversity_weight, 0, "objective.diversity-weight")
    require_positive(objective.gumbel_end, "objective.gumbel-end")
    require(
        objective.gumbel_start >= objective.gumbel_end,
        f"objective.gumbel-start is {objective.gumbel_start}: give at least objective.gumbel-end = "
        f"{objective.gumbel_end}",
    )
    decay = objective.gumbel_decay
    require(0 < decay <= 1, f"objective.gumbel-decay is {decay}: give a factor over 0, up to 1")


def _check_units(objective: MaskedUnits) -> None:
    require_at_least(objective.units, 2, "objective.units")
    require_local(objective.units_from, "objective.units-from", "copy the run and give its path")
    require_at_least(objective.units_layer, 1, "objective.units-layer")
    require_at_least(objective.unit_width, 1, "objective.unit-width")
    require_at_least(objective.unmasked_weight, 0, "objective.unmasked-weight")
    require_at_least(objective.units_utterances, 0, "objective.units-utterances")
    require_at_least(objective.units_passes, 1, "objective.units-passes")
