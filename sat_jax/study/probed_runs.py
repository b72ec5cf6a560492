"""Runs whose last layers were probed in, one figure, tables and a report of all of them out."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.figures import probed_models as figures
from sat_jax.figures import style
from sat_jax.figures.report import Picture, Section, Table, write_report
from sat_jax.pretrain.log import read_metrics
from sat_jax.records.probes import ProbedLayer
from sat_jax.study.page import manifest_of


def compare(runs: Sequence[Path], places: Sequence[Path]) -> Path:
    """Draw the probes of several runs side by side, into a directory beside the first one."""
    names = [run.resolve().name for run in runs]
    out = runs[0].resolve().parent / ("-".join(names) if len(names) < 4 else "probes")
    if jax.process_index() == 0:
        write(names, runs, places, out, [])
    return out


def compare_algorithms(runs: Sequence[tuple[str, Path]], out: Path) -> None:
    """The same for runs (algorithm, directory) of several seeds, with means over seeds."""
    names = [run.name for _, run in runs]
    places = [run for _, run in runs]
    files.write_table(out / "algorithms.csv", algorithm_rows(runs))
    table = Table("Means over seeds; lowest and highest seed.", out / "algorithms.csv")
    write(names, places, places, out, [table])


def algorithm_rows(runs: Sequence[tuple[str, Path]]) -> list[dict[str, Any]]:
    """One row per algorithm, task and probe: mean over seeds, lowest and highest seed."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for algorithm, run in runs:
        probes = read_probes(run / "analysis" / "probes.csv")
        for row in probes:
            if row.model == probes[-1].model:
                found.setdefault((algorithm, row.task, row.probe), []).append(row.accuracy)
        loss = loss_of(run)
        for name in ("masked_l1", "straight_line"):
            found.setdefault((algorithm, name, ""), []).append(float(loss[name]))
    return [
        {
            "algorithm": algorithm,
            "measure": task,
            "probe": probe,
            "mean": float(np.mean(values)),
            "lowest": min(values),
            "highest": max(values),
            "seeds": len(values),
        }
        for (algorithm, task, probe), values in found.items()
    ]


def write(
    names: Sequence[str],
    runs: Sequence[Path],
    places: Sequence[Path],
    out: Path,
    tables: list[Table],
) -> None:
    """Rows are the input, the first run's untrained model and every run. Raises `InputError`
    where a run was not probed."""
    rows: list[ProbedLayer] = []
    for number, (name, place) in enumerate(zip(names, places, strict=True)):
        mine = read_probes(place / "analysis" / "probes.csv")
        trained = mine[-1].model
        rows += [
            row._replace(model=name if row.model == trained else row.model)
            for row in mine
            if row.model == trained or not number
        ]
    files.write_table(out / "probes.csv", [row._asdict() for row in rows])
    files.write_table(out / "masked_l1.csv", [loss_of(run) for run in runs])
    style.save(figures.accuracies(rows), out / "figures", "probes")
    manifest = {name: manifest_of(run) for name, run in zip(names, runs, strict=True)}
    picture = Picture(out / "figures" / "probes.png", figures.ACCURACIES, "Accuracy of probes")
    tables = [
        *tables,
        Table("Every representation, task and probe.", out / "probes.csv"),
        Table("Masked L1 on validation speech, and of a straight line.", out / "masked_l1.csv"),
    ]
    section = Section("What the last layers hold", pictures=[picture], tables=tables)
    page = write_report(out / "report.html", "Probes side by side", [section], manifest)
    print(f"side by side: {page}")


def read_probes(path: Path) -> list[ProbedLayer]:
    """What `study` wrote; raises `InputError` where there is none."""
    if not path.exists():
        raise InputError(f"{path}: is missing; analyze.py RUN --only probes makes it")
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    numbers = ("accuracy", "low", "high", "chance", "log_mel_r2")
    return [
        ProbedLayer(
            **{name: float(line[name]) for name in numbers},
            **{name: int(line[name]) for name in ("utterances", "steps")},
            **{name: line[name] for name in ("model", "task", "probe")},
            layer=int(line["layer"]) if line["layer"] else None,
        )
        for line in lines
    ]


def loss_of(run: Path) -> dict[str, float | str | int]:
    """A run's last validation loss, the steps it took, and where it reconstructs masked frames its
    L1 there and that of a straight line."""
    evaluated = [r for r in read_metrics(run / "metrics.jsonl") if "valid_loss" in r]
    last = evaluated[-1] if evaluated else {}
    loss, line = (last.get(f"valid_{name}", np.nan) for name in ("loss", "interpolation"))
    return {
        "run": run.resolve().name,
        "steps": last.get("step", 0),
        "loss": loss,
        "masked_l1": last.get("valid_time", np.nan if np.isnan(line) else loss),
        "straight_line": line,
    }
