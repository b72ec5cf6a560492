"""One utterance's matrices with the boundaries that follow from them, for the figure."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sat_jax.analysis import segmentation
from sat_jax.audio.prepared import take
from sat_jax.features import frontend
from sat_jax.grid import SAMPLE_RATE
from sat_jax.records.segments import Panel, SegmentExample
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.passes import run_pass
from sat_jax.study.segments.entries import model_entries, spectral_entries
from sat_jax.study.segments.search import SPECTRAL, Chosen, Source, first_time, plain_source
from sat_jax.trace import reduce
from sat_jax.trace.example import pick_utterance


def draw_example(loaded: LoadedRun, test: Any, spectral: Any, model: Any) -> SegmentExample:
    """The drawn utterance as the best head, the best layer and the best MFCC see it.

    `spectral` and `model` are the study's candidates (`segments.Candidates`).
    """
    wanted = loaded.analysis.utterance
    split = loaded.corpus.split if wanted else test
    place = pick_utterance(split, wanted)
    one = take(split, np.array([place]))
    state, head = model_entries(model.tuned, loaded.model.spec.head_mask)
    mfcc = spectral_entries(spectral.tuned)[0]
    plain = plain_source(loaded)
    attention = rows_of(loaded, plain, model.params, one, head.place)
    attention = attention[:, : len(attention)]
    rows = rows_of(loaded, model.segment.source, model.params, one, head.place)
    states = rows_of(loaded, model.segment.source, model.params, one, state.place)
    cepstra = rows_of(loaded, spectral.segment.source, None, one, mfcc.place)
    name = head.name.removeprefix("head ")
    kind = list(SPECTRAL)[mfcc.index]
    panels = [
        raw_panel(loaded, f"attention of {name}", attention, plain),
        panel(loaded, f"similarity of the rows of {name}", rows, model, head.index),
        panel(loaded, f"similarity of {kind}", cepstra, spectral, mfcc.index),
        panel(loaded, f"similarity of {state.name}", states, model, state.index),
    ]
    # The attention is shown with the boundaries that its own rows give.
    panels[0] = panels[0]._replace(
        predicted=panels[1].predicted,
        overlap=panels[1].overlap,
        overlap_times=panels[1].overlap_times,
    )
    return framed(loaded, split[place], len(cepstra), tuple(panels))


def rows_of(loaded: LoadedRun, source: Source, params: Any, one: Any, chosen: Chosen) -> np.ndarray:
    """Feature rows (T, F) of one candidate for a split of one utterance."""

    def measure(seen: Any, _: Any) -> dict[str, jax.Array]:
        groups, valid = source.rows(seen)
        return {"rows": groups[chosen.group][:, chosen.member], "valid": valid}

    step = reduce.reducer(source.trace_fn, measure, loaded.passes.devices)
    parts = run_pass(loaded.passes, "example", step, params, one)
    _, values = reduce.collect(parts)
    return values["rows"][0][values["valid"][0]]


def raw_panel(loaded: LoadedRun, title: str, rows: np.ndarray, source: Source) -> Panel:
    """Attention itself."""
    hop = source.grid.hop
    none = np.zeros(0)
    return Panel(
        title=title,
        matrix=rows,
        attention=True,
        start=(first_time(source) - hop / 2) / SAMPLE_RATE,
        step=source.grid.seconds,
        predicted=none,
        overlap=none,
        overlap_times=none,
    )


def panel(loaded: LoadedRun, title: str, rows: np.ndarray, candidates: Any, index: int) -> Panel:
    """The similarity of rows at the tuned alpha, and the boundaries at the tuned beta."""
    source = candidates.segment.source
    hop = source.grid.hop
    alpha, beta = (float(candidates.tuned[field][index]) for field in (0, 1))
    similarity, overlap, found, twice = segment(rows, alpha, beta, source.grid.frames)
    half = np.asarray(twice)[np.asarray(found)]
    start = first_time(source)
    return raw_panel(loaded, title, np.asarray(similarity), source)._replace(
        attention=False,
        predicted=(start + half * hop / 2) / SAMPLE_RATE,
        overlap=np.asarray(overlap),
        overlap_times=(start + np.arange(len(overlap)) * hop) / SAMPLE_RATE,
    )


@functools.partial(jax.jit, static_argnames="stack")
def segment(
    rows: jax.Array, alpha: float, beta: float, stack: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Similarity (T, T), the score S, and its minima, of rows (T, F) without padding."""
    valid = jnp.ones(len(rows), bool)
    distance = segmentation.distances(rows, valid)
    mean = segmentation.mean_similarity(distance, valid, alpha)
    limit = (-alpha * jnp.log(beta * mean))[None]
    left, right = segmentation.reaches(*segmentation.furthest(distance), limit)
    overlap = segmentation.overlap(left[0], right[0], stack)
    return jnp.exp(-distance / alpha), overlap, *segmentation.minima(overlap)


def framed(
    loaded: LoadedRun, utterance: Any, frames: int, panels: tuple[Panel, ...]
) -> SegmentExample:
    """The panels with what is seen above them: sound, spectrogram, phones of the analysed part."""
    features = loaded.config.features
    grid = frontend.frame_grid(features)
    audio = utterance.audio[: grid.samples(frames)]
    strip = dataclasses.replace(features, input="log_mel", deltas=0, normalize=False)
    seen, _, _ = frontend.featurize(audio[None], np.array([len(audio)]), strip)
    names = loaded.corpus.split.phone_names
    phones = [
        (start / SAMPLE_RATE, min(end, len(audio)) / SAMPLE_RATE, names[label])
        for start, end, label in utterance.phones.tolist()
        if start < len(audio)
    ]
    return SegmentExample(
        id=utterance.id,
        audio=audio,
        spectrogram=np.asarray(seen[0]),
        phones=phones,
        hop_seconds=features.hop / SAMPLE_RATE,
        start=((features.window - features.hop) / 2 - grid.reach) / SAMPLE_RATE,
        panels=panels,
    )
