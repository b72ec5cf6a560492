"""Several analysed runs in, one figure, table and report about all of them side by side out."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sat_jax import files
from sat_jax.analysis.bootstrap import INTERVAL
from sat_jax.config import MaskedReconstruction
from sat_jax.config.json import read_config, read_run
from sat_jax.errors import InputError
from sat_jax.figures import compared, style
from sat_jax.figures.report import Picture, Section, Table, write_report
from sat_jax.model.build import spec_of
from sat_jax.pretrain.log import read_metrics
from sat_jax.records.runs import SCORES, RunRow
from sat_jax.study.heads import read_heads
from sat_jax.study.learning import learning_of
from sat_jax.study.page import manifest_of
from sat_jax.study.runs_table import runs_table

DRAWS = 1000
WHAT_STANDS_HERE = (
    "Loss and baseline are of the validation split, and comparable only where the objective is the "
    "same. Heads by category, then those that attend to some phone clearly more or less than "
    "uniform attention would. R-values at phone boundaries, higher is better. Phones (%): a probe "
    "with a hidden layer on log-mel, on the best layer of the model, and of the untrained one; "
    "linear probes of the last layer on phones and speakers; how many heads the phone probe can "
    "spare at a loss of 1 %. Last, the mean CKA of each layer with the next: 1 is alike."
)


def study(runs: Sequence[Path], places: Sequence[Path]) -> Path:
    """Write what `runs`, whose results lie in `places`, have come to, beside the first run.

    A table, how they learned and what their layers hold of phones, and where all of them
    reconstruct masked frames what the length of their masks does.
    Returns the directory.
    """
    out = place_of(runs)
    if jax.process_index() != 0:
        return out
    names = [run.resolve().name for run in runs]
    files.write_table(out / "runs.csv", runs_table(runs, places))
    section = Section(
        "What each run learned, and what came of it",
        WHAT_STANDS_HERE,
        tables=[Table("One row per run.", out / "runs.csv")],
        files=[
            (f"Report of {name}", place / "report.html")
            for name, place in zip(names, places, strict=True)
        ],
    )
    sections = [section, *learning_of(names, runs, places, out)]
    configs = [read_run(run) for run in runs]
    if all(isinstance(config.objective, MaskedReconstruction) for config in configs):
        sections.append(mask_lengths(runs, places, out))
    manifest = {name: manifest_of(run) for name, run in zip(names, runs, strict=True)}
    title = f"{', '.join(names)} side by side"
    print(f"side by side: {write_report(out / 'report.html', title, sections, manifest)}")
    return out


def mask_lengths(runs: Sequence[Path], places: Sequence[Path], out: Path) -> Section:
    """What the length of masks does to heads and boundaries."""
    rows = [row_of(run, place) for run, place in zip(runs, places, strict=True)]
    style.save(compared.mask_lengths(rows), out / "figures", "mask_lengths")
    files.write_table(out / "figures" / "mask_lengths.csv", [plain(row) for row in rows])
    names = ", ".join(row.name for row in rows)
    picture = Picture(
        out / "figures" / "mask_lengths.png",
        compared.MASK_LENGTHS,
        f"Offsets of diagonal heads, categories and R-values of {names}",
    )
    table = Table("One row per run.", out / "figures" / "mask_lengths.csv")
    return Section(
        "Mask length: offsets, categories, boundaries", pictures=[picture], tables=[table]
    )


def place_of(runs: Sequence[Path]) -> Path:
    """Where results about several runs go: a directory beside the first one."""
    return runs[0].resolve().parent / "-".join(run.resolve().name for run in runs)


def row_of(run: Path, place: Path) -> RunRow:
    """One run's line of the comparison, from the tables of its studies."""
    config = read_config(run / "config.json")
    spec = spec_of(config)
    hop = 1000 * spec.grid.seconds
    heads = read_heads(place / "analysis" / "heads.npz", spec)
    diagonal = heads.category == "diagonal"
    offsets = np.abs(heads.metrics["modal_offset"][diagonal]).astype(np.float64) * hop
    mean, low, high = mean_of_heads(offsets)
    evaluated = [r for r in read_metrics(run / "metrics.jsonl") if "valid_loss" in r]
    return RunRow(
        name=config.name,
        c_num=config.objective.c_num,
        offset=offsets,
        offset_mean=mean,
        offset_low=low,
        offset_high=high,
        shares=heads.shares,
        globalness=heads.metrics["globalness"][spec.head_mask].astype(np.float64),
        scores=scores_of(place),
        valid_loss=evaluated[-1]["valid_loss"],
        interpolation=evaluated[-1]["valid_interpolation"],
    )


def mean_of_heads(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of values (n,) and its 95 % interval over resampled heads; NaN where there are none."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    picks = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.percentile(values[picks].mean(1), INTERVAL)
    return float(values.mean()), float(low), float(high)


def scores_of(place: Path) -> dict[str, tuple[float, float, float]]:
    """R-values of MFCC, log-mel, best layer and best head of the trained model."""
    table = read_table(place / "analysis" / "segmentation.csv", "segments")
    trained = [row for row in table if row["model"] == table[0]["model"]]
    return {
        kind: tuple(float(row[name]) for name in ("r", "r_low", "r_high"))
        for kind, row in zip(SCORES, trained, strict=True)
    }


def read_table(path: Path, study: str) -> list[dict[str, str]]:
    """Rows of a table that a study wrote; raises `InputError` where there is none."""
    if not path.exists():
        raise InputError(
            f"{path}: is missing, so the runs cannot be drawn side by side; it is written by the "
            f"{study} study, on a corpus with phone labels"
        )
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def plain(row: RunRow) -> dict[str, Any]:
    """A run as one line of CSV."""
    line: dict[str, Any] = {"run": row.name, "c_num": row.c_num, "valid_loss": row.valid_loss}
    line["interpolation"] = row.interpolation
    line |= {"diagonal_heads": len(row.offset), "offset_ms": row.offset_mean}
    line |= {"offset_ms_low": row.offset_low, "offset_ms_high": row.offset_high}
    line["mean_globalness"] = row.globalness.mean()
    for name, values in (*row.shares.items(), *row.scores.items()):
        for end, value in zip(("", "_low", "_high"), values, strict=True):
            line[f"{name.replace(' ', '_')}{end}"] = value
    return line
