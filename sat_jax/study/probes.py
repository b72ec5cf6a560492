"""What a model's last layer holds: phones and speakers, beside its input and the untrained model.

Asked for by `analyze.py RUN --only probes`; with several runs they are also drawn side by side.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import jax

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.figures import probed_models as figures
from sat_jax.figures import style
from sat_jax.figures.report import Picture, Section, Table, write_report
from sat_jax.pretrain.log import read_metrics
from sat_jax.records.probes import ProbedLayer
from sat_jax.study.ablate.corpus import Speech, open_speech
from sat_jax.study.ablate.layers import (
    LOG_MEL,
    Source,
    hidden_states,
    linear_share,
    probed,
    rows_of,
    scorer,
)
from sat_jax.study.ablate.tasks import ProbeTask, probe_tasks
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.page import keep_figure

HEADING = "What the last layer holds"


def study(loaded: LoadedRun) -> list[Section]:
    """Train probes on the input and on the last layer of both checkpoints; writes probes.csv."""
    ablation = loaded.analysis.ablate
    speech = open_speech(loaded, ablation.mlp_utterances)
    if speech is None or jax.process_count() > 1:
        return []
    tasks = tasks_of(loaded, speech)
    if not tasks:
        loaded.say("probes: the corpus has neither phones nor several speakers to tell apart")
        return []
    rows = probe(loaded, speech, tasks)
    table = loaded.out / "analysis" / "probes.csv"
    files.write_table(table, [row._asdict() for row in rows])
    keep_figure(loaded, "probes", figures.accuracies(rows), [row._asdict() for row in rows])
    loaded.say(f"probes: {len(tasks)} kinds on {len({row.model for row in rows})} representations")
    return [
        Section(
            HEADING,
            pictures=[
                Picture(
                    loaded.out / "figures" / "probes.png",
                    figures.ACCURACIES,
                    "Accuracy of probes on the input, the untrained and the trained last layer",
                )
            ],
            tables=[Table("Every representation, task and probe.", table)],
        )
    ]


def tasks_of(loaded: LoadedRun, speech: Speech) -> tuple[ProbeTask, ...]:
    """Phones with one and two hidden layers, frames' speakers with one, utterances' linearly."""
    ablation = loaded.analysis.ablate
    tasks = probe_tasks(ablation, speech, loaded.say, ablation.hidden)
    deeper = tuple(
        task._replace(name=f"{task.name} deep", budget=task.budget._replace(depth=2))
        for task in tasks
        if task.name == "phone"
    )
    return tuple(sorted((*tasks, *deeper), key=lambda task: task.name))


def probe(loaded: LoadedRun, speech: Speech, tasks: tuple[ProbeTask, ...]) -> list[ProbedLayer]:
    """Accuracies on log-mel, on the untrained and on the trained model's last layer."""
    last = loaded.model.spec.layers
    spectrum = rows_of(speech, [encoded.log_mel for encoded in speech.encoded])
    score = scorer(loaded, speech, tasks)
    rows = probed(loaded, speech, tasks, score, [Source(LOG_MEL, None, spectrum)], [1.0])
    sources = [
        Source(each.name, last, hidden_states(loaded, speech, each.params, [last], False)[0])
        for each in reversed(loaded.model.checkpoints)
    ]
    r2 = [linear_share(speech, source.features, spectrum) for source in sources]
    return rows + probed(loaded, speech, tasks, score, sources, r2)


def compare(runs: Sequence[Path], places: Sequence[Path]) -> Path | None:
    """Draw the probes of several runs side by side, into a directory beside the first one.

    Rows are the input, the first run's untrained model and every run, with its masked L1. Raises
    `InputError` where a run was not probed.
    """
    if jax.process_index() != 0:
        return None
    rows, losses = [], []
    for number, (run, place) in enumerate(zip(runs, places, strict=True)):
        mine = read_probes(place / "analysis" / "probes.csv")
        trained = mine[-1].model
        rows += [
            row._replace(model=run.resolve().name if row.model == trained else row.model)
            for row in mine
            if row.model == trained or not number
        ]
        losses.append(loss_of(run))
    out = runs[0].resolve().parent / "probes-side-by-side"
    told = [row._asdict() for row in rows]
    files.write_table(out / "probes.csv", told)
    files.write_table(out / "masked_l1.csv", losses)
    style.save(figures.accuracies(rows), out / "figures", "probes")
    manifest = {run.name: json.loads((run / "manifest.json").read_text()) for run in runs}
    picture = Picture(out / "figures" / "probes.png", figures.ACCURACIES, "Accuracy of probes")
    tables = [
        Table("Every representation, task and probe.", out / "probes.csv"),
        Table("Masked L1 on validation speech, and of a straight line.", out / "masked_l1.csv"),
    ]
    section = Section("What the last layers hold", pictures=[picture], tables=tables)
    page = write_report(out / "report.html", "Probes side by side", [section], manifest)
    print(f"side by side: {page}")
    return page


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
    """A run's last validation loss, the straight line's and the steps it took."""
    evaluated = [r for r in read_metrics(run / "metrics.jsonl") if "valid_loss" in r]
    last = evaluated[-1] if evaluated else {}
    return {
        "run": run.resolve().name,
        "steps": last.get("step", 0),
        "masked_l1": last.get("valid_loss", float("nan")),
        "straight_line": last.get("valid_interpolation", float("nan")),
    }
