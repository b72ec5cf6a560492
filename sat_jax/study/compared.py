"""Several analysed runs in, one figure, table and report about all of them side by side out."""

import csv
import json
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

DRAWS = 1000


def study(runs: Sequence[Path], places: Sequence[Path]) -> None:
    """Draw `runs`, whose results lie in `places`, into a directory beside the first run."""
    if jax.process_index() != 0:
        return
    others = [run for run in runs if not isinstance(read_run(run).objective, MaskedReconstruction)]
    if others:
        print(
            f"mask lengths are not compared: {others[0]} was not trained by masked_reconstruction"
        )
        return
    rows = [row_of(run, place) for run, place in zip(runs, places, strict=True)]
    out = place_of(runs)
    style.save(compared.mask_lengths(rows), out / "figures", "mask_lengths")
    files.write_table(out / "figures" / "mask_lengths.csv", [plain(row) for row in rows])
    names = ", ".join(row.name for row in rows)
    sections = [
        Section(
            "Mask length: offsets, categories, boundaries",
            pictures=[
                Picture(
                    out / "figures" / "mask_lengths.png",
                    compared.MASK_LENGTHS,
                    f"Offsets of diagonal heads, categories and R-values of {names}",
                )
            ],
            tables=[Table("One row per run.", out / "figures" / "mask_lengths.csv")],
            files=[
                (f"Report of {row.name}", p / "report.html")
                for row, p in zip(rows, places, strict=True)
            ],
        )
    ]
    manifest = {
        row.name: json.loads((run / "manifest.json").read_text())
        for row, run in zip(rows, runs, strict=True)
    }
    page = write_report(out / "report.html", f"{names} side by side", sections, manifest)
    print(f"side by side: {page}")


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
