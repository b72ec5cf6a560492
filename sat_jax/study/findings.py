"""Results of all studies in, the ten lines at the head of a report out: numbers, intervals, heads.

Every number is read from what a study has left, so that it is the one that figures and tables show.
"""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.figures.report import Finding
from sat_jax.figures.style import signed
from sat_jax.records.check import PRUNED
from sat_jax.records.heads import CATEGORY_OF, HeadTable, table_of_arrays
from sat_jax.study.ablate.rows import CURVES, kept_curves
from sat_jax.sweep.orderings import removable

CURE = "make it anew with analyze.py"


def findings_of(out: Path, trained: str) -> list[Finding]:
    """What the results in `out` say; `trained` is the sentence on how far training got.

    A study that was not made says nothing. Raises `InputError` for a broken result.
    """
    analysis = out / "analysis"
    found = [Finding(trained, "The model and what it was measured on")] if trained else []
    makers: Sequence[Callable[[Path], list[Finding]]] = (
        kinds,
        extremes,
        phones,
        strongest_focus,
        boundaries,
        layers,
        pruning,
        cases,
    )
    return [*found, *(finding for make in makers for finding in make(analysis))]


def kinds(analysis: Path) -> list[Finding]:
    """How many heads are of each kind, trained and untrained."""
    tables = [heads_of(analysis, end) for end in ("", "_untrained")]
    if tables[0] is None:
        return []
    counts = []
    for kind, (share, low, high) in tables[0].shares.items():
        number = int((tables[0].category == kind).sum())
        counts.append(f"{number} {kind} ({100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}])")
    total = int((tables[0].category != PRUNED).sum())
    text = f"Categories of {total} heads by their highest metric rank: {', '.join(counts)}"
    if tables[1] is not None:
        control = ", ".join(f"{(tables[1].category == k).sum()} {k}" for k in tables[1].shares)
        text += f"; untrained: {control}"
    return [Finding(f"{text}.", "Heads across layers")]


def extremes(analysis: Path) -> list[Finding]:
    """The first head by each of the three metrics."""
    table = heads_of(analysis, "")
    if table is None:
        return []
    parts, named = [], []
    for metric, kind in CATEGORY_OF.items():
        at = np.unravel_index(np.nanargmax(table.metrics[metric]), table.category.shape)
        value, low, high = (each[metric][at] for each in (table.metrics, table.low, table.high))
        layer, head = int(at[0]) + 1, int(at[1]) + 1
        named.append((layer, head))
        parts.append(
            f"the most {kind} head is L{layer} H{head} ({metric} {signed(value, 3)} "
            f"[{signed(low, 3)}, {signed(high, 3)}])"
        )
    text = "; ".join(parts)
    return [Finding(f"{text[0].upper()}{text[1:]}.", "The top heads of each kind", tuple(named))]


def phones(analysis: Path) -> list[Finding]:
    """How many heads do something with phones that has a name."""
    tables = [heads_of(analysis, end) for end in ("", "_untrained")]
    rows = [rows_of(analysis / f"operations{end}.csv") for end in ("", "_untrained")]
    if rows[0] is None or rows[1] is None or tables[0] is None:
        return []
    counts = [len({(r["layer"], r["head"]) for r in each if r["layer"]}) for each in rows]
    total = int((tables[0].category != PRUNED).sum())
    text = (
        f"{counts[0]} of {total} heads attend to some phone clearly more or less than uniform "
        f"attention would; untrained {counts[1]}."
    )
    return [Finding(text, "What heads do with phones")]


def strongest_focus(analysis: Path) -> list[Finding]:
    """The head that attends most to one phone."""
    rows = rows_of(analysis / "phone_concentration.csv")
    known = [row for row in rows or [] if row["concentration"] not in ("", "nan")]
    if not known:
        return []
    row = max(known, key=lambda each: float(each["concentration"]))
    value, low, high = (1 + float(row[f"concentration{end}"]) for end in ("", "_low", "_high"))
    at = int(row["layer"]), int(row["head"])
    text = (
        f"The strongest focus is that of L{at[0]} H{at[1]} on /{row['phone']}/: {value:.1f} times "
        f"uniform attention [{low:.1f}, {high:.1f}]."
    )
    return [Finding(text, "Which phones heads focus on and neglect", (at,))]


def boundaries(analysis: Path) -> list[Finding]:
    """The best head at phone boundaries beside MFCC and evenly spaced ones."""
    rows = rows_of(analysis / "segmentation.csv")
    if not rows:
        return []
    mine = [row for row in rows if row["model"] == rows[0]["model"]]
    head = next((row for row in mine if row["features"].startswith("head ")), None)
    mfcc = next((row for row in mine if row["features"] == "MFCC"), None)
    if head is None or mfcc is None:
        return []
    at = tuple(int(part[1:]) for part in head["features"].split()[-2:])
    values = [
        f"{float(row['r']):.1f} [{float(row['r_low']):.1f}, {float(row['r_high']):.1f}]"
        for row in (head, mfcc)
    ]
    text = (
        f"At phone boundaries, the head that is best on tuning utterances (L{at[0]} H{at[1]}) has "
        f"an R-value of {values[0]}, MFCC {values[1]}, evenly spaced boundaries "
        f"{float(head['evenly_spaced_r']):.1f}."
    )
    return [Finding(text, "Phone boundaries: which features find them", (at,))]


def layers(analysis: Path) -> list[Finding]:
    """What the best layer holds of phones beside its input and the untrained model."""
    rows = rows_of(analysis / "probes_by_layer.csv")
    found = []
    for probe in ("linear", "hidden layer"):
        mine = [row for row in rows or [] if (row["task"], row["probe"]) == ("phone", probe)]
        inputs = [row for row in mine if not row["layer"]]
        states = [row for row in mine if row["layer"] and not row["model"].startswith("all heads")]
        if not inputs or not states:
            continue
        control = [row for row in states if row["model"].endswith("untrained")]
        trained = [row for row in states if row not in control]
        parts = [f"log-mel input {accuracy(inputs[0])}"]
        for name, group in (("trained", trained), ("untrained", control)):
            if group:
                best = max(group, key=lambda row: float(row["accuracy"]))
                parts.append(f"{name}, best layer ({best['layer']}) {accuracy(best)}")
        kind = "linear probe" if probe == "linear" else "probe with a hidden layer"
        text = f"Phone classification of frames, {kind}: {'; '.join(parts)}."
        found.append(Finding(text, "What the input and every layer hold"))
    return found


def accuracy(row: dict[str, str]) -> str:
    """An accuracy with its interval."""
    value, low, high = (float(row[name]) for name in ("accuracy", "low", "high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def pruning(analysis: Path) -> list[Finding]:
    """How many heads each task can spare, and what half of them cost, in its cheapest order."""
    kept = kept_curves(analysis / CURVES)
    spare, half = [], []
    for task in (kept or {"tasks": []})["tasks"]:
        named = [c for c in task["curves"] if c["ordering"] != "random"]
        if not named:
            continue
        best = max(named, key=lambda curve: spared(curve, task["lower"]))
        count = spared(best, task["lower"])
        by = f" (in the order of {best['ordering']})" if count else ""
        spare.append(f"{task['name']} {count}{by}")
        half.append(middle(task, named))
    if not spare:
        return []
    points = kept["tasks"][0]["curves"][0]["pruned"]
    tested = f"; numbers tested: {', '.join(map(str, points))}" if len(points) < 9 else ""
    text = (
        f"Heads, of {points[-1]}, that can be pruned at a relative loss of at most 1 %{tested}: "
        f"{'; '.join(spare)}. With {middle_point(points)} heads pruned, in the best order for each "
        f"task: {'; '.join(half)}."
    )
    return [Finding(text, "Which order is cheapest")]


def middle(task: dict[str, Any], curves: Sequence[dict[str, Any]]) -> str:
    """A task's value before, and with half of the heads pruned in its cheapest order."""
    digits = 3 if task["lower"] else 1
    at = curves[0]["pruned"].index(middle_point(curves[0]["pruned"]))
    best = (min if task["lower"] else max)(curves, key=lambda curve: curve["value"][at])
    low, high = best["low"][at], best["high"][at]
    return (
        f"{task['label']} {best['value'][0]:.{digits}f} \N{RIGHTWARDS ARROW} "
        f"{best['value'][at]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}] "
        f"({best['ordering']})"
    )


def middle_point(points: Sequence[int]) -> int:
    """The measured number of pruned heads that is closest to half of them."""
    return min(points, key=lambda point: abs(2 * point - points[-1]))


def spared(curve: dict[str, Any], lower: bool) -> int:
    """Most heads whose pruning, and that of fewer, costs at most 1 %."""
    return removable(np.array(curve["pruned"]), np.array(curve["value"]), lower)


def cases(analysis: Path) -> list[Finding]:
    """How many heads are of each of the four general cases."""
    rows = rows_of(analysis / "patterns.csv")
    if not rows or "case" not in rows[0]:
        return []
    mine = [row for row in rows if row.get("model", "") == rows[0].get("model", "")]
    counts = Counter(row["case"] for row in mine if row["case"])
    listed = ", ".join(f"{count} {case}" for case, count in counts.most_common())
    text = f"By the shape of their maps, another rule than that of categories: {listed}."
    return [Finding(text, "What the maps look like")]


def heads_of(analysis: Path, end: str) -> HeadTable | None:
    """The heads study's table; None where it was never made."""
    path = analysis / f"heads{end}.npz"
    return table_of_arrays(files.read_arrays(path, CURE)) if path.exists() else None


def rows_of(path: Path) -> list[dict[str, str]] | None:
    """Rows of a CSV that a study has left; None where it was never made."""
    if not path.exists():
        return None
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {CURE}") from error
