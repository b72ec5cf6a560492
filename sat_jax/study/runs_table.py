"""Analysed runs in, one row of numbers for each out: what they learned, and what came of it.

Every number is read from what a run's training and its studies have left; a study that was not made
leaves its columns empty.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax.config.json import read_run
from sat_jax.pretrain.log import read_metrics
from sat_jax.pretrain.objectives.table import OBJECTIVES
from sat_jax.records.heads import CATEGORY_OF
from sat_jax.study.ablate.rows import CURVES, kept_curves
from sat_jax.study.findings import heads_of, rows_of, spared

NOTHING = ""


def runs_table(runs: Sequence[Path], places: Sequence[Path]) -> list[dict[str, Any]]:
    """One row per run of `runs`, whose results lie in `places`.

    Rows have the same columns: name and objective, steps, validation loss and its baseline, heads
    of each category, heads with a named operation, R-values at phone boundaries, accuracies (%) of
    probes, heads that can be pruned, and how alike neighbouring layers are.
    """
    return [
        {"run": run.resolve().name}
        | training(run)
        | heads(place / "analysis")
        | boundaries(place / "analysis")
        | probes(place / "analysis")
        | pruning(place / "analysis")
        | similarity(place / "analysis")
        for run, place in zip(runs, places, strict=True)
    ]


def training(run: Path) -> dict[str, Any]:
    """Objective, steps, last validation loss, and what its baseline has."""
    objective = read_run(run).objective
    evaluated = [r for r in read_metrics(run / "metrics.jsonl") if "valid_loss" in r]
    last = evaluated[-1] if evaluated else {}
    known = OBJECTIVES.get(type(objective))
    baseline = known.words.baseline if known else ""
    return {
        "objective": objective.kind,
        "steps": last.get("step", 0),
        "loss": last.get("valid_loss", NOTHING),
        "baseline": last.get(f"valid_{baseline}", NOTHING),
    }


def heads(analysis: Path) -> dict[str, Any]:
    """Heads of each category, and those that do something with phones that has a name."""
    table = heads_of(analysis, "")
    counts = {
        f"{kind}_heads": NOTHING if table is None else int((table.category == kind).sum())
        for kind in CATEGORY_OF.values()
    }
    rows = rows_of(analysis / "operations.csv")
    named = NOTHING
    if rows is not None:
        named = len({(row["layer"], row["head"]) for row in rows if row["layer"]})
    return counts | {"heads_with_operations": named}


def boundaries(analysis: Path) -> dict[str, Any]:
    """R-values of MFCC, the best layer and the best head of the trained model."""
    rows = rows_of(analysis / "segmentation.csv") or []
    mine = [row for row in rows if row["model"] == rows[0]["model"]]
    starts = {"r_mfcc": "MFCC", "r_best_layer": "hidden layer ", "r_best_head": "head "}
    found = {}
    for name, start in starts.items():
        values = [float(row["r"]) for row in mine if row["features"].startswith(start)]
        found[name] = values[0] if values else NOTHING
    return found


def probes(analysis: Path) -> dict[str, Any]:
    """Accuracies of probes with a hidden layer on phones: log-mel, then the best layer of the
    trained and of the untrained model."""
    rows = rows_of(analysis / "probes_by_layer.csv") or []
    mine = [row for row in rows if (row["task"], row["probe"]) == ("phone", "hidden layer")]
    states = [row for row in mine if row["layer"] and not row["model"].startswith("all heads")]
    groups = {
        "phones_log_mel": [row for row in mine if not row["layer"]],
        "phones_best_layer": [r for r in states if not r["model"].endswith("untrained")],
        "phones_untrained": [r for r in states if r["model"].endswith("untrained")],
    }
    return {
        name: max((float(row["accuracy"]) for row in group), default=NOTHING)
        for name, group in groups.items()
    }


def pruning(analysis: Path) -> dict[str, Any]:
    """Linear probes of the whole model, and how many heads each task can spare at a loss of 1 %."""
    kept = kept_curves(analysis / CURVES)
    found = dict.fromkeys(("phone", "speaker_utterance"), NOTHING)
    spare = dict.fromkeys(("phone_heads_to_spare",), NOTHING)
    for task in (kept or {"tasks": []})["tasks"]:
        name = task["name"].replace(" ", "_")
        curves = [curve for curve in task["curves"] if curve["ordering"] != "random"]
        if not curves or name not in found:
            continue
        found[name] = curves[0]["value"][0]
        if name == "phone":
            spare["phone_heads_to_spare"] = max(spared(each, task["lower"]) for each in curves)
    return {f"linear_{name}": value for name, value in found.items()} | spare


def similarity(analysis: Path) -> dict[str, Any]:
    """Mean CKA of each layer with the one above it, in the trained model."""
    rows = [row for row in rows_of(analysis / "similarity.csv") or [] if row["measure"] == "cka"]
    values = [
        float(row["value"])
        for row in rows
        if row["model"] == row["other_model"] == rows[0]["model"]
        and int(row["other_layer"]) == int(row["layer"]) + 1
    ]
    return {"cka_of_neighbours": float(np.mean(values)) if values else NOTHING}
