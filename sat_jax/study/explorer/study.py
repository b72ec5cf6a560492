"""One run, or several of them, in; explorer.html out."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib import colormaps

from sat_jax import exchange, files
from sat_jax.audio.prepared import take
from sat_jax.config import Analysis
from sat_jax.errors import InputError
from sat_jax.explorer.bundle import page_of
from sat_jax.explorer.fit import Fitted, fit_maps
from sat_jax.explorer.pack import DECADES, RATIO, PackedMaps
from sat_jax.figures.report import Section
from sat_jax.figures.style import MAP_COLOURS
from sat_jax.records.check import CATEGORIES, PRUNED
from sat_jax.study.corpus import long_enough
from sat_jax.study.explorer.choose import chosen_utterances
from sat_jax.study.explorer.known import Known, known_of
from sat_jax.study.explorer.maps import UtteranceMaps, trace_maps
from sat_jax.study.explorer.sounds import Sound, sounds_of
from sat_jax.study.loaded_run import LoadedRun, describe, open_run
from sat_jax.study.page import EXPLORER

COLOURS = {"sequential": MAP_COLOURS, "diverging": "RdBu_r"}


class Gathered(NamedTuple):
    """What one run brings to a page."""

    models: list[Known]
    maps: list[dict[int, UtteranceMaps]]
    """Of every model, by the utterance's number on the page."""


def study(loaded: LoadedRun) -> list[Section]:
    """Write the explorer of a run: its trained model and the untrained one."""
    split = shown_split(loaded)
    gathered = gather(loaded, split, list(range(len(split))), "")
    sounds = sounds_of(loaded, split)
    if not loaded.is_leader:
        return []
    path = loaded.out / EXPLORER
    title = f"Heads of {loaded.config.name}"
    write_page(path, title, [gathered], sounds, [describe(loaded)], loaded)
    return [
        Section(
            "See every map, hear what it is of",
            "A page for the browser that needs no network: every head's map with the sound beside "
            "it, metrics, phone relations, and what pruning the head costs.",
            files=[("Open the explorer", path)],
        )
    ]


def compare(runs: Sequence[Path], analysis: Analysis, out: Path) -> None:
    """Write one explorer of several runs, on utterances of the first one's corpus."""
    first: LoadedRun | None = None
    gathered, notes, sounds, ids = [], [], [], []
    names = [run.resolve().name for run in runs]
    if len(set(names)) < len(names):
        raise InputError(f"explorer: two runs are called alike ({', '.join(names)}): rename one")
    for run, name in zip(runs, names, strict=True):
        loaded = open_run(run, analysis)
        if first is None:
            first, split = loaded, shown_split(loaded)
            ids, sounds = split.ids, sounds_of(loaded, split)
        places = {each: place for place, each in enumerate(loaded.corpus.split.ids)}
        known = [number for number, each in enumerate(ids) if each in places]
        split = take(loaded.corpus.split, np.array([places[ids[n]] for n in known], int))
        gathered.append(gather(loaded, split, known, name))
        notes.append(describe(loaded))
    if jax.process_index() == 0:
        write_page(out / EXPLORER, f"Heads of {', '.join(names)}", gathered, sounds, notes, first)


def shown_split(loaded: LoadedRun) -> Any:
    """The utterances of the page."""
    options = loaded.analysis.explorer
    split = long_enough(loaded.model.spec.grid, loaded.corpus.split)
    chosen = chosen_utterances(split, options.ids, options.utterances, loaded.analysis.utterance)
    return take(split, np.array(chosen))


def gather(loaded: LoadedRun, split: Any, numbers: Sequence[int], name: str) -> Gathered:
    """Models and maps of a run on the utterances of `split`, which are `numbers` on the page."""
    models, maps = [], []
    for checkpoint in loaded.model.checkpoints:
        kind = "untrained" if checkpoint.end else "trained"
        key = kind if not name else name + f"-{kind}" * bool(checkpoint.end)
        known = exchange.from_leader(functools.partial(known_of, loaded, checkpoint, key))
        traced = trace_maps(loaded, checkpoint, split, known.tuned) if len(split) else {}
        models.append(known)
        maps.append({numbers[place]: each for place, each in traced.items()})
    return Gathered(models, maps)


def write_page(
    path: Path,
    title: str,
    gathered: Sequence[Gathered],
    sounds: Sequence[Sound],
    notes: Sequence[str],
    loaded: LoadedRun,
) -> None:
    """Write the page, and say what it holds."""
    models = [known for run in gathered for known in run.models]
    traced = [maps for run in gathered for maps in run.maps]
    page, fitted = fitted_page(
        title, models, traced, sounds, notes, loaded.analysis.explorer.megabytes
    )
    files.write_whole(path, page)
    loaded.say(
        f"explorer: {path}: {len(page) / 1e6:.1f} MB, {fitted.utterances} utterances; open it with "
        "a browser"
    )
    for note in fitted.notes:
        loaded.say(f"explorer: {note}")


def fitted_page(
    title: str,
    models: Sequence[Known],
    traced: Sequence[dict[int, UtteranceMaps]],
    sounds: Sequence[Sound],
    notes: Sequence[str],
    megabytes: float,
) -> tuple[bytes, Fitted]:
    """A page of models, of their maps on utterances by number, and of sounds; what it holds."""
    given = target = int(1e6 * megabytes)
    while True:
        page, fitted, counted = page_within(title, models, traced, sounds, notes, target)
        # What is said of maps takes bytes as well, which only the finished page tells.
        wanted = given - (len(page) - counted)
        if len(page) <= given or wanted >= target:
            return page, fitted
        target = wanted


def page_within(
    title: str,
    models: Sequence[Known],
    traced: Sequence[dict[int, UtteranceMaps]],
    sounds: Sequence[Sound],
    notes: Sequence[str],
    target: int,
) -> tuple[bytes, Fitted, int]:
    """A page, what it holds, and its bytes but for what is said of its maps: these are at most
    `target` where that is possible."""
    blobs = {name: blob for model in models for name, blob in model.blobs.items()}
    data = {
        "title": title,
        "notes": [],
        "decades": DECADES,
        "categories": [*CATEGORIES, PRUNED],
        "colours": {name: hexadecimal(table) for name, table in COLOURS.items()},
        "models": [model.entry for model in models],
        "utterances": [],
        "maps": [],
    }
    counted = len(page_of(title, data, blobs))
    fitted = fit_maps(
        {(m, u): each.maps for m, maps in enumerate(traced) for u, each in maps.items()},
        [model.entry["control"] for model in models],
        target - counted,
        [sound.size for sound in sounds],
    )
    kept = sounds[: fitted.utterances]
    counted += sum(packed.size for packed in fitted.maps.values())
    counted += sum(sound.size for sound in kept)
    blobs |= {name: blob for sound in kept for name, blob in sound.blobs.items()}
    data["notes"] = [*notes, *fitted.notes, what_bytes_mean()]
    data["utterances"] = [sound.entry for sound in kept]
    data["maps"] = map_entries(fitted, traced, blobs)
    return page_of(title, data, blobs), fitted, counted


def map_entries(
    fitted: Fitted, traced: Sequence[dict[int, UtteranceMaps]], blobs: dict[str, bytes]
) -> list[dict[str, Any]]:
    """What the page's script has to know of packed maps; puts their bytes into `blobs`."""
    entries = []
    for (model, utterance), packed in fitted.maps.items():
        name = f"maps-{model}-{utterance}"
        blobs[name], ends = joined(packed)
        blobs[f"{name}-small"] = packed.thumbnails
        entries.append(
            {
                "model": model,
                "utterance": utterance,
                "positions": packed.positions,
                "factor": packed.factor,
                "blob": name,
                "ends": ends,
                "side": packed.side,
                "thumbnails": f"{name}-small",
                "boundaries": boundary_rows(traced[model][utterance]),
            }
        )
    return entries


def boundary_rows(traced: UtteranceMaps) -> list[list[list[float] | None]] | None:
    """Boundaries in seconds of every head of every layer, None for pruned heads."""
    if traced.boundaries is None:
        return None
    found = iter(traced.boundaries)
    pruned = np.isnan(traced.maps[:, :, 0, 0])
    return [
        [None if gone else [round(float(time), 4) for time in next(found)] for gone in row]
        for row in pruned
    ]


def joined(packed: PackedMaps) -> tuple[bytes, list[int]]:
    """All chunks as one, and where each ends; each begins at a multiple of 3, as base64 does."""
    parts, ends, size = [], [], 0
    for chunk in packed.chunks:
        ends.append(size + len(chunk))
        padded = chunk + bytes(-len(chunk) % 3)
        parts.append(padded)
        size += len(padded)
    return b"".join(parts), ends


def what_bytes_mean() -> str:
    """How exact the page's numbers are."""
    half_step = 100 * (RATIO**0.5 - 1)
    return (
        "Maps are kept as one byte a pixel on a log scale: probabilities read from this page are "
        f"accurate to within {half_step:.1f} %, and below 1e-{DECADES:.0f} they are 0. The exact "
        "maps of the utterance used in the report's figures are in trace/."
    )


def hexadecimal(name: str) -> str:
    """A colour table of 256 steps, six digits each."""
    table = np.rint(255 * colormaps[name](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    return table.tobytes().hex()
