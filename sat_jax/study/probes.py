"""What a model's last layer holds: phones and speakers, beside its input and the untrained model.

Asked for by `analyze.py RUN --only probes`; with several runs they are also drawn side by side.
Processes take the representations in turns.
"""

from sat_jax import exchange, files
from sat_jax.figures import probed_models as figures
from sat_jax.figures.report import Picture, Section, Table
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
from sat_jax.study.loaded_run import LoadedRun, alone
from sat_jax.study.page import keep_figure

HEADING = "What the last layer holds"


def study(loaded: LoadedRun) -> list[Section]:
    """Train probes on the input and on the last layer of both checkpoints; writes probes.csv."""
    loaded = alone(loaded)
    speech = open_speech(loaded, loaded.analysis.ablate.mlp_utterances)
    if speech is None:
        return []
    tasks = tasks_of(loaded, speech)
    if not tasks:
        loaded.say("probes: the corpus has neither phones nor several speakers to tell apart")
        return []
    rows = probe(loaded, speech, tasks)
    if not loaded.is_leader:
        return []
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
    models = loaded.model.checkpoints[::-1]
    mine, rows = exchange.in_turns(1 + len(models)), []
    if 0 in mine:
        rows += probed(loaded, speech, tasks, score, [Source(LOG_MEL, None, spectrum)], [1.0])
    sources = [
        Source(each.name, last, hidden_states(loaded, speech, each.params, [last], False)[0])
        for each in (models[number - 1] for number in mine if number)
    ]
    if sources:
        r2 = [linear_share(speech, source.features, spectrum) for source in sources]
        rows += probed(loaded, speech, tasks, score, sources, r2)
    names = [LOG_MEL, *(each.name for each in models)]
    own = [[row for row in rows if row.model == names[number]] for number in mine]
    return [row for each in exchange.joined(len(names), own) for row in each]
