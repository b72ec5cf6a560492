"""Where the head figures lie in, the report's sections about heads out."""

from collections.abc import Sequence
from pathlib import Path

from sat_jax.figures import cumulative_curves, heads, maps
from sat_jax.figures.report import Clip, Picture, Section, Table, with_pruned
from sat_jax.records.heads import HeadTable

GUESSES = {"guessing": "guessing", "frequencies": "predicting clusters by their frequencies"}
"""Baselines of objectives whose masked positions are right or wrong, and words for them."""


def training_summary(records: Sequence[dict[str, float]], corpus: str) -> str:
    """How far training got, from the records of `metrics.jsonl`; empty without any evaluation.

    `corpus` names what the model was trained on: the numbers are of its validation split, whatever
    is analysed.
    """
    evaluated = [record for record in records if "valid_loss" in record]
    if not evaluated:
        return ""
    first, last = evaluated[0], evaluated[-1]
    if "valid_error_rate" in last:
        return (
            f"CTC on the validation split of {corpus} after {last['step']} steps: "
            f"{last['valid_loss']:.3f} nats per unit, {last['valid_error_rate']:.1%} errors."
        )
    for name, said in GUESSES.items():
        if f"valid_{name}" in last:
            return (
                f"On the validation split of {corpus}, which the model was trained on, after "
                f"{last['step']} steps: loss {last['valid_loss']:.3f}, {said} "
                f"{last[f'valid_{name}']:.3f}; {last['valid_accuracy']:.1%} of masked positions "
                f"are right, untrained {first['valid_accuracy']:.1%}."
            )
    if "valid_time" in last:
        return (
            f"L1 of what was hidden, on the validation split of {corpus}, which the model was "
            f"trained on, after {last['step']} steps: {last['valid_loss']:.3f}; untrained "
            f"{first['valid_loss']:.3f}, predicting the mean frame {last['valid_mean_frame']:.3f}. "
            f"On masked frames alone {last['valid_time']:.3f}, where straight lines across the "
            f"gaps have {last['valid_interpolation']:.3f}."
        )
    return (
        f"Masked L1 on the validation split of {corpus}, which the model was trained on, after "
        f"{last['step']} steps: {last['valid_loss']:.3f}; "
        f"untrained {first['valid_loss']:.3f}, predicting the mean frame "
        f"{last['valid_mean_frame']:.3f}, straight lines across the masked gaps "
        f"{last['valid_interpolation']:.3f}."
    )


def sections(out: Path, tables: Sequence[HeadTable], summary: str, sound: Path) -> list[Section]:
    """Sections for a trained and an untrained model, from the figures that lie in `out`/figures.

    `tables` are their head tables, `summary` says what was trained and analysed, `sound` is the wav
    of the utterance that is drawn.
    """
    trained, untrained = tables
    figures, analysis = out / "figures", out / "analysis"

    def pair(stem: str, caption: str, what: str) -> list[Picture]:
        control = figures / f"{stem}_untrained.png"
        alts = [f"{what} of {table.name}" for table in tables]
        return [Picture(figures / f"{stem}.png", caption, alts[0], control, alts[1])]

    names = f"{trained.name} and {untrained.name}"
    return [
        Section(
            "The model and what it was measured on",
            summary,
            clips=[Clip("The utterance that is drawn below.", sound)],
            files=[
                ("heads.csv", analysis / "heads.csv"),
                ("heads_untrained.csv", analysis / "heads_untrained.csv"),
            ],
            definition=f"{heads.HEAD_METRICS}\n\n{heads.HEAD_CATEGORIES}",
        ),
        Section(
            "The top heads of each kind",
            pictures=pair("gallery", maps.GALLERY, "Attention maps of the top heads"),
        ),
        Section(
            "Every head at a glance",
            pictures=pair(
                "all_heads",
                with_pruned(maps.ALL_HEADS, tables),
                "Attention maps of all heads",
            ),
        ),
        Section(
            "Heads across layers",
            pictures=[
                Picture(
                    figures / "head_distribution.png",
                    with_pruned(heads.HEAD_DISTRIBUTION, tables),
                    f"Categories and metrics of heads by layer, {names}",
                )
            ],
        ),
        Section(
            "Metrics against each other",
            pictures=[
                Picture(
                    figures / "head_scatter.png",
                    heads.HEAD_SCATTER,
                    f"Globalness, verticality and diagonality of every head, {names}",
                )
            ],
        ),
        Section(
            "How certain the ranks are",
            pictures=pair("rank_intervals", heads.RANK_INTERVALS, "Ranks of all heads"),
        ),
        Section(
            "How far heads look",
            pictures=[
                Picture(
                    figures / "cumulative_diagonality.png",
                    with_pruned(cumulative_curves.CUMULATIVE_DIAGONALITY, tables),
                    f"Cumulative attention diagonality by layer, {names}",
                )
            ],
        ),
        Section(
            "All heads as a table",
            tables=[
                Table(
                    f"{trained.name}, means over {trained.utterances} utterances.",
                    analysis / "heads.csv",
                )
            ],
        ),
    ]
