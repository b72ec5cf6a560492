"""What each layer holds of spectra, phones and speakers, without probes: tables and a figure.

Asked for by `analyze.py RUN --only layers`. Processes take the layers in turns.
"""

from typing import Any

import numpy as np

from sat_jax import exchange, files
from sat_jax.analysis import moments as sums
from sat_jax.analysis.layer_content import (
    clusters_of,
    held_out_correlations,
    shared_information,
)
from sat_jax.figures import layer_content as figures
from sat_jax.figures.report import Picture, Section, Table
from sat_jax.records.layer_content import LayerContent
from sat_jax.study.ablate.corpus import TEST, TRAIN, Speech, open_speech
from sat_jax.study.ablate.layers import hidden_states, rows_of
from sat_jax.study.loaded_run import LoadedRun, alone
from sat_jax.study.page import keep_figure

FOLDS, CLUSTERS, MOST = 5, 100, 20_000
"""Parts of the utterances that are held out in turn; clusters; positions that clusters learn
from."""


def study(loaded: LoadedRun) -> list[Section]:
    """Correlate every layer of both checkpoints with what is known; writes layers.csv."""
    loaded = alone(loaded)
    speech = open_speech(loaded)
    if speech is None:
        return []
    spectrum = rows_of(speech, [encoded.log_mel for encoded in speech.encoded])
    contents = contents_of(speech, spectrum)
    layers = [
        (checkpoint, layer)
        for checkpoint in loaded.model.checkpoints
        for layer in range(loaded.model.spec.layers + 1)
    ]
    own = []
    for checkpoint, layer in (layers[number] for number in exchange.in_turns(len(layers))):
        (states,) = hidden_states(loaded, speech, checkpoint.params, [layer], False)
        seed = loaded.analysis.seed
        own.append(measured(speech, states, contents, checkpoint.name, layer, seed))
    rows = [row for each in exchange.joined(len(layers), own) for row in each]
    loaded.say(f"layers: {len(layers)} layers of {len(loaded.model.checkpoints)} models")
    if not loaded.is_leader:
        return []
    table = loaded.out / "analysis" / "layers.csv"
    plain = [row._asdict() for row in rows]
    files.write_table(table, plain)
    keep_figure(loaded, "layers", figures.contents_by_layer(rows), plain)
    picture = loaded.out / "figures" / "layers.png"
    return [
        Section(
            "What layers hold",
            f"{len(speech.utterance)} positions of {len(speech.part)} utterances, {FOLDS} parts "
            "of which were held out in turn.",
            [Picture(picture, figures.CONTENTS_BY_LAYER, "Content of every layer")],
            tables=[Table("Every layer and measure.", table)],
        )
    ]


def contents_of(speech: Speech, spectrum: np.ndarray) -> dict[str, np.ndarray]:
    """What is known of all positions, name to (N, C): log-mel frames, and phones and speakers as
    shares of a position's frames; those that the corpus tells apart."""
    found = {"log-mel": spectrum}
    if speech.phone_names:
        found["phone"] = one_hot(speech.phone, len(speech.phone_names))
    if len(speech.speaker_names) > 1:
        speakers = speech.speaker[speech.utterance][:, None]
        found["speaker"] = one_hot(speakers, len(speech.speaker_names))
    return found


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels (N, R), -1 for none, as shares (N, classes) float32 of the R frames."""
    found = np.zeros((len(labels), classes + 1), np.float32)
    for frame in labels.T:
        found[np.arange(len(labels)), frame] += 1 / labels.shape[1]
    return found[:, :classes]


def measured(
    speech: Speech,
    states: np.ndarray,
    contents: dict[str, np.ndarray],
    model: str,
    layer: int,
    seed: int,
) -> list[LayerContent]:
    """All measures of one layer's states (N, D)."""
    held = [states, *contents.values()]
    pairs = [(i, i) for i in range(len(held))] + [(0, i) for i in range(1, len(held))]
    fold = speech.utterance % FOLDS
    found: Any = sums.begin([each[:512] for each in held], pairs, FOLDS)
    for number in range(FOLDS):
        sums.add(found, [each[fold == number] for each in held], number)
    rows = []
    for i, name in enumerate(contents, 1):
        scores = held_out_correlations(found, i)
        rows.append(content_row(model, layer, name, scores[np.isfinite(scores)]))
    if speech.phone_names:
        part = speech.part[speech.utterance]
        train, test = np.flatnonzero(part == TRAIN), np.flatnonzero(part == TEST)
        train = train[np.linspace(0, len(train) - 1, min(MOST, len(train))).astype(int)]
        clusters = clusters_of(states[train], states[test], CLUSTERS, seed)
        middle = speech.phone[test, speech.phone.shape[1] // 2]
        owner = speech.utterance[test] % FOLDS
        shares = [
            shared_information(clusters[owner != number], middle[owner != number])
            for number in range(FOLDS)
            if (owner != number).any()
        ]
        whole = shared_information(clusters, middle)
        rows.append(LayerContent(model, layer, "clusters", whole, *ends(np.array(shares))))
    return rows


def content_row(model: str, layer: int, name: str, scores: np.ndarray) -> LayerContent:
    """The mean over held-out parts, the lowest and the highest."""
    if not len(scores):
        return LayerContent(model, layer, name, *(float("nan"),) * 3)
    return LayerContent(model, layer, name, float(scores.mean()), *ends(scores))


def ends(values: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest finite one."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (float("nan"),) * 2
