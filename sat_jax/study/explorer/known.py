"""What the other studies of a run have left in its results in, what the page says of heads out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.explorer.pack import deflated
from sat_jax.figures.style import METRIC_LABELS
from sat_jax.grid import SAMPLE_RATE
from sat_jax.records.heads import HeadTable
from sat_jax.study.ablate.rows import CURVES, kept_curves
from sat_jax.study.explorer.maps import HeadBoundaries
from sat_jax.study.heads import read_heads
from sat_jax.study.loaded_model import Checkpoint
from sat_jax.study.loaded_run import LoadedRun

DIGITS = 7
"""Significant digits of numbers on the page, as in CSV files."""


class Known(NamedTuple):
    """One model of the page."""

    entry: dict[str, Any]
    """As the page's script reads it."""
    blobs: dict[str, bytes]
    tuned: HeadBoundaries | None


def known_of(loaded: LoadedRun, checkpoint: Checkpoint, key: str) -> Known:
    """Everything that is known of the heads of a checkpoint; `key` names it in addresses.

    Raises `InputError` where a result is broken.
    """
    spec, analysis = loaded.model.spec, loaded.out / "analysis"
    table = read_heads(analysis / f"heads{checkpoint.end}.npz", spec)
    relation = arrays_of(
        loaded, f"phone_maps{checkpoint.end}.npz", "phones", ("relation", "elsewhere")
    )
    segments = arrays_of(loaded, f"segment_heads{checkpoint.end}.npz", "segments", ("r", "alpha"))
    cumulative = arrays_of(loaded, f"cumulative{checkpoint.end}.npz", "heads", ("curves",))
    ablation = None if checkpoint.end else kept_curves(analysis / CURVES)
    entry = {
        "key": key,
        "name": checkpoint.name,
        "control": bool(checkpoint.end),
        "layers": spec.layers,
        "heads": spec.heads,
        "seconds": spec.grid.seconds,
        # Of position 0; `Grid.centre` is in whole samples.
        "start": (spec.grid.window / 2 - spec.grid.reach) / SAMPLE_RATE,
        "utterances": table.utterances,
        **of_table(table, [] if ablation is None else ablation["alone"]),
        "operations": operations_of(relation, table),
        "cumulative": cumulative_of(cumulative),
        "relation": None,
        "segments": segments_of(segments),
        "ablation": plain(ablation and {name: ablation[name] for name in ("tasks", "orders")}),
        "missing": missing(relation, segments, ablation, checkpoint),
    }
    blobs = {}
    if relation:
        both = np.stack([relation["relation"], relation["elsewhere"]])
        blobs[f"relation-{key}"] = deflated(both.astype("<f4"))
        entry["relation"] = {
            "blob": f"relation-{key}",
            "phones": relation["phones"].tolist(),
        }
    return Known(entry, blobs, tuned_of(segments, spec.head_mask))


def arrays_of(
    loaded: LoadedRun, name: str, study: str, needed: tuple[str, ...]
) -> dict[str, np.ndarray] | None:
    """The arrays that a study has left; None where it was never made."""
    path, cure = loaded.out / "analysis" / name, f"make it anew with analyze.py --only {study}"
    if not path.exists():
        return None
    arrays = files.read_arrays(path, cure)
    shape = loaded.model.spec.layers, loaded.model.spec.heads
    for each in needed:
        if each not in arrays or arrays[each].shape[:2] != shape:
            raise InputError(f"{path}: has no {each} of {shape[0]} x {shape[1]} heads; {cure}")
    return arrays


def of_table(table: HeadTable, alone: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Metrics with intervals and ranks, what pruning each head `alone` costs, and categories."""
    metrics = [
        {
            "name": name,
            "label": METRIC_LABELS.get(name, name.replace("_", " ")),
            "values": plain(values),
            "low": plain(table.low[name]),
            "high": plain(table.high[name]),
            "rank": plain(table.ranks.get(name)),
            "rankLow": plain(table.rank_low.get(name)),
            "rankHigh": plain(table.rank_high.get(name)),
        }
        for name, values in table.metrics.items()
    ]
    costs = [
        {
            # Addresses hold names side by side, so that these have no spaces.
            "name": f"{each['name']} cost".replace(" ", "-"),
            "label": f"{each['label']}: loss without this head",
            **loss_of(each),
            "rank": None,
            "rankLow": None,
            "rankHigh": None,
        }
        for each in alone
    ]
    return {
        "metrics": metrics + costs,
        "category": table.category.tolist(),
        "share": plain(table.category_share),
    }


def loss_of(alone: dict[str, Any]) -> dict[str, Any]:
    """What a task loses without each head: positive is worse, whatever the task measures."""
    change, low, high = (np.array(alone[name]) for name in ("change", "low", "high"))
    if not alone["lower"]:
        change, low, high = -change, -high, -low
    return {"values": plain(change), "low": plain(low), "high": plain(high)}


def operations_of(relation: dict[str, np.ndarray] | None, table: HeadTable) -> list[list[str]]:
    """What every head does with phones in a few words; empty where nothing is known."""
    if relation is None or "operations" not in relation:
        return np.full(table.category.shape, "").tolist()
    return relation["operations"].tolist()


def cumulative_of(arrays: dict[str, np.ndarray] | None) -> dict[str, Any] | None:
    """The curves CAD of every head."""
    if arrays is None:
        return None
    gone = np.isnan(arrays["curves"]).all(-1)
    curves = [
        [None if gone[at, head] else plain(curve) for head, curve in enumerate(row)]
        for at, row in enumerate(arrays["curves"])
    ]
    return {
        "radii": arrays["radii"].tolist(),
        "uniform": plain(arrays["uniform"]),
        "curves": curves,
    }


def segments_of(arrays: dict[str, np.ndarray] | None) -> dict[str, Any] | None:
    """R-values of every head."""
    if arrays is None:
        return None
    why = "Boundaries of this utterance were not looked for."
    if arrays["shifts"]:
        why = "Boundaries were scored on frames (--segment-shifts); the maps here are of positions."
    return {
        **{name: plain(arrays[name]) for name in ("r", "low", "high")},
        "even": float(arrays["even"]),
        "why": why,
    }


def tuned_of(arrays: dict[str, np.ndarray] | None, head_mask: np.ndarray) -> HeadBoundaries | None:
    """The parameters that find boundaries in maps of positions; None where there are none."""
    if arrays is None or arrays["shifts"]:
        return None
    alpha, beta = arrays["alpha"][head_mask], arrays["beta"][head_mask]
    return HeadBoundaries(alpha, beta, str(arrays["rows"]) == "sqrt")


def missing(relation: Any, segments: Any, ablation: Any, checkpoint: Checkpoint) -> list[str]:
    """Which studies the page lacks, and how to make them."""
    told = []
    if relation is None:
        told.append("Phone relations: not computed. Run analyze.py RUN --only phones explorer.")
    if segments is None:
        told.append("Phone boundaries: not computed. Run analyze.py RUN --only segments explorer.")
    if ablation is None and not checkpoint.end:
        told.append("Cost of pruning: not computed. Run analyze.py RUN --only ablate explorer.")
    return told


def plain(values: Any) -> Any:
    """Arrays as nested lists of numbers with DIGITS digits, None for what is not finite."""
    if isinstance(values, dict):
        return {name: plain(each) for name, each in values.items()}
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        return [plain(each) for each in values]
    if isinstance(values, float):
        return float(f"{values:.{DIGITS}g}") if np.isfinite(values) else None
    return values
