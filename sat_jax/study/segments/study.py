"""How well every head, layer and spectral feature finds phone boundaries: tuned alike, then scored.

What stands for its kind (the best head, the best layer) is the best on the tuning utterances and is
reported on the test utterances, with the number of candidates that it was chosen from.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from sat_jax.analysis.bootstrap import INTERVAL, bootstrap_weights
from sat_jax.analysis.head_mask import in_place
from sat_jax.analysis.segment_score import (
    count_hits,
    drawn_scores,
    even_boundaries,
    score,
)
from sat_jax.audio.prepared import take
from sat_jax.figures import segment_example, style
from sat_jax.figures import segments as figures
from sat_jax.figures.report import Picture, Section, Table, with_pruned
from sat_jax.records.segments import Score, SegmentTable
from sat_jax.study.corpus import long_enough
from sat_jax.study.heads import kept_heads
from sat_jax.study.loaded_model import Checkpoint
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.segments.entries import Entry, model_entries, spectral_entries
from sat_jax.study.segments.example import draw_example
from sat_jax.study.segments.rows import keep_heads, write
from sat_jax.study.segments.search import (
    CURVE,
    Segmenter,
    Tuned,
    count_boundaries,
    model_source,
    only,
    references,
    segmenter,
    spectral_source,
    tune,
)


class Speech(NamedTuple):
    """What candidates are tuned and tested on."""

    tuning: Any
    """A split."""
    tuning_known: list[np.ndarray]
    """Reference boundaries of each of its utterances, in samples."""
    test: Any
    known: list[np.ndarray]
    origin: str
    """Where the tuning utterances come from."""


class Candidates(NamedTuple):
    """All candidates of one source, tuned and counted."""

    segment: Segmenter
    params: Any
    tuned: Tuned
    found: np.ndarray
    """(U, C, 2) hits and predictions on every test utterance."""


def study(loaded: LoadedRun) -> list[Section]:
    """Tune and score everything, trained and untrained; writes tables and figures."""
    if not loaded.corpus.split.phone_names:
        loaded.say("segments: the corpus has no phone labels, so there are no boundaries to find")
        return []
    speech = open_speech(loaded)
    if speech is None:
        return []
    spectral = find(loaded, "spectral", segmenter(spectral_source(loaded), loaded), None, speech)
    segment = segmenter(model_source(loaded), loaded)
    models = [
        find(loaded, checkpoint.name, segment, checkpoint.params, speech)
        for checkpoint in loaded.model.checkpoints
    ]
    baselines = scored(loaded, speech, spectral, spectral_entries(spectral.tuned))
    tables = [
        table_of(loaded, checkpoint, baselines, model, speech)
        for checkpoint, model in zip(loaded.model.checkpoints, models, strict=True)
    ]
    example = draw_example(loaded, speech.test, spectral, models[0])
    if not loaded.is_leader:
        return []
    write(loaded, tables, example)
    for checkpoint, table, model in zip(loaded.model.checkpoints, tables, models, strict=True):
        keep_heads(loaded, checkpoint.end, table, model.tuned)
    return sections(loaded, tables, speech, difference(loaded, spectral, models[0], speech))


def open_speech(loaded: LoadedRun) -> Speech | None:
    """Labelled utterances to tune and to test on; None (and a word why) where there are too few.

    Where nothing is apart from what is analysed, every other utterance of it tunes.
    """
    test, tuning = loaded.corpus.split, loaded.corpus.tuning
    if tuning is None:
        order = np.arange(len(test))
        tuning, test = take(test, order[::2]), take(test, order[1::2])
        origin = "every other utterance of what is analysed"
    else:
        origin = f"the {tuning.name} split of {tuning.directory.name}"
    tuning, test = (long_enough(loaded.model.spec.grid, each) for each in (tuning, test))
    if not len(tuning) or not len(test):
        loaded.say("segments: too few utterances to tune on some and test on others; give more")
        return None
    known = references(loaded, tuning), references(loaded, test)
    if not all(sum(map(len, each)) for each in known):
        loaded.say("segments: there is no boundary between phones to find; check the alignments")
        return None
    loaded.say(f"segments: tuned on {len(tuning)} utterances ({origin}), tested on {len(test)}")
    return Speech(tuning, known[0], test, known[1], origin)


def find(
    loaded: LoadedRun, title: str, segment: Segmenter, params: Any, speech: Speech
) -> Candidates:
    """Tune all candidates of a source and count their boundaries on the test utterances."""
    tuned = tune(loaded, title, segment, params, speech.tuning, speech.tuning_known)
    counts = count_boundaries(
        loaded, f"{title}: scores", segment, params, speech.test, speech.known, tuned
    )
    loaded.say(f"segments: {title}: {len(tuned.r)} candidates tuned and scored")
    return Candidates(segment, params, tuned, counts[:, :, 0])


def weights_of(loaded: LoadedRun, utterances: int) -> np.ndarray:
    """The bootstrap draws (G, U) of every interval of this study."""
    key = jax.random.key(loaded.analysis.seed)
    return np.asarray(bootstrap_weights(key, utterances, loaded.analysis.draws), np.float64)


def known_counts(speech: Speech) -> np.ndarray:
    """References of every test utterance, (U,)."""
    return np.array([len(boundaries) for boundaries in speech.known])


def table_of(
    loaded: LoadedRun,
    checkpoint: Checkpoint,
    baselines: list[Score],
    model: Candidates,
    speech: Speech,
) -> SegmentTable:
    """Everything that the figures say about one checkpoint."""
    head_mask = loaded.model.spec.head_mask
    n = int(head_mask.sum())
    known = known_counts(speech)
    found = model.found.sum(0)
    r = score(found[:, 0], found[:, 1], known.sum())["r"]
    draws = drawn_scores(weights_of(loaded, len(known)), model.found, known)["r"]
    low, high = np.nanpercentile(draws, INTERVAL, axis=0)
    entries = model_entries(model.tuned, head_mask)
    even = sum(count_hits(boundaries, even_boundaries(boundaries)) for boundaries in speech.known)
    return SegmentTable(
        name=checkpoint.name,
        scores=(*baselines, *scored(loaded, speech, model, entries)),
        heads_valid=in_place(model.tuned.r[:n], head_mask),
        heads=in_place(r[:n], head_mask),
        heads_low=in_place(low[:n], head_mask),
        heads_high=in_place(high[:n], head_mask),
        hidden=r[n:],
        hidden_low=low[n:],
        hidden_high=high[n:],
        category=kept_heads(loaded, checkpoint.end).category,
        even=float(score(even, known.sum(), known.sum())["r"]),
        utterances=len(known),
        boundaries=int(known.sum()),
    )


def scored(
    loaded: LoadedRun, speech: Speech, candidates: Candidates, entries: list[Entry]
) -> list[Score]:
    """The entries' scores on the test utterances, with their precision-recall curves."""
    known = known_counts(speech)
    chosen = [entry.index for entry in entries]
    found = candidates.found[:, chosen]
    values = score(*found.sum(0).T, known.sum())
    draws = drawn_scores(weights_of(loaded, len(known)), found, known)["r"]
    low, high = np.nanpercentile(draws, INTERVAL, axis=0)
    tuned = Tuned(*(field[chosen] for field in candidates.tuned))
    few = segmenter(only(candidates.segment.source, [e.place for e in entries]), loaded)
    counts = count_boundaries(
        loaded, "curves", few, candidates.params, speech.test, speech.known, tuned, CURVE
    ).sum(0)
    along = score(counts[..., 0], counts[..., 1], known.sum())
    curves = np.stack([along["precision"], along["recall"]], axis=-1)
    return [
        Score(
            name=entry.name,
            low=float(low[i]),
            high=float(high[i]),
            valid_r=float(tuned.r[i]),
            tried=entry.tried,
            alpha=float(tuned.alpha[i]) * frame_scale(loaded, entry),
            beta=float(tuned.beta[i]),
            curve=curves[i],
            **{name: float(value[i]) for name, value in values.items()},
        )
        for i, entry in enumerate(entries)
    ]


def frame_scale(loaded: LoadedRun, entry: Entry) -> float:
    """What turns the alpha that was tuned on rows of positions into that of rows of frames.

    A map at frames has every column R times, each 1/R of what it was, so that its rows lie sqrt(R)
    times closer to each other. Rows of other features, and square roots of attention, do not.
    """
    options, frames = loaded.analysis, loaded.model.spec.grid.frames
    plain = options.segment_rows == "plain" and not options.segment_shifts
    return frames**-0.5 if entry.attention and plain else 1.0


def difference(
    loaded: LoadedRun, spectral: Candidates, model: Candidates, speech: Speech
) -> tuple[float, float, float]:
    """R-value of the chosen head minus that of the chosen MFCC, with its paired interval."""
    known = known_counts(speech)
    head_mask = loaded.model.spec.head_mask
    head, mfcc = model_entries(model.tuned, head_mask)[-1], spectral_entries(spectral.tuned)[0]
    pair = np.stack([model.found[:, head.index], spectral.found[:, mfcc.index]], axis=1)
    head_r, base = score(*pair.sum(0).T, known.sum())["r"]
    drawn = drawn_scores(weights_of(loaded, len(known)), pair, known)["r"]
    low, high = np.nanpercentile(drawn[:, 0] - drawn[:, 1], INTERVAL)
    return float(head_r - base), float(low), float(high)


def sections(
    loaded: LoadedRun,
    tables: list[SegmentTable],
    speech: Speech,
    ahead: tuple[float, float, float],
) -> list[Section]:
    """What the report says about segmentation."""
    place = functools.partial(lambda stem: loaded.out / "figures" / f"{stem}.png")
    mfcc, head = tables[0].scores[0], tables[0].scores[-1]
    found = (
        f"Tuned on {len(speech.tuning)} utterances ({speech.origin}), tested on "
        f"{len(speech.test)} with {tables[0].boundaries} boundaries. {head.name}, the best of "
        f"{head.tried} on the tuning utterances, has an R-value of {head.r:.1f} "
        f"({head.low:.1f} to {head.high:.1f}); {mfcc.name} {mfcc.r:.1f} ({mfcc.low:.1f} to "
        f"{mfcc.high:.1f}); the difference is {style.signed(ahead[0], 1)} "
        f"({style.signed(ahead[1], 1)} to {style.signed(ahead[2], 1)})."
    )
    names = " and ".join(table.name for table in tables)
    return [
        Section(
            "Phone boundaries: which features find them",
            found,
            definition=figures.SEGMENTATION,
            pictures=[
                Picture(
                    place("segmentation_example"),
                    segment_example.SEGMENTATION_EXAMPLE,
                    f"Attention and similarity matrices with phone boundaries, {tables[0].name}",
                ),
                Picture(
                    place("precision_recall"),
                    figures.PRECISION_RECALL,
                    f"Precision against recall of phone boundaries, {names}",
                ),
                Picture(
                    place("segmentation_heads"),
                    with_pruned(figures.SEGMENTATION_HEADS, tables),
                    f"R-value of every head and layer, {names}",
                ),
            ],
            tables=[
                Table(
                    "What stands for each kind of feature, on the test utterances.",
                    loaded.out / "analysis" / "segmentation.csv",
                )
            ],
        )
    ]
