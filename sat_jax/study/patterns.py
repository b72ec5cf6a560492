"""What attention maps look like: general cases, PCA and t-SNE of mean maps, before and after."""

from typing import Any

import jax
import numpy as np

from sat_jax import files
from sat_jax.analysis.head_patterns import assign_cases, case_measures, embedded, resized_maps
from sat_jax.audio.prepared import spread
from sat_jax.figures import patterns as figures
from sat_jax.figures.report import Picture, Section, Table
from sat_jax.mesh import by_device
from sat_jax.records.patterns import HeadPatterns
from sat_jax.study.head_mask import joined_unpruned_maps
from sat_jax.study.heads import kept_heads
from sat_jax.study.loaded_model import Checkpoint
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.page import keep_figure
from sat_jax.study.passes import run_pass
from sat_jax.trace import reduce
from sat_jax.trace.capture import Trace

UTTERANCES = 64
"""Most utterances behind a mean map, evenly spread."""


def study(loaded: LoadedRun) -> list[Section]:
    """Embed all heads, trained and untrained, and name their cases; writes tables and figures."""
    measured = [measure(loaded, checkpoint) for checkpoint in loaded.model.checkpoints]
    if not loaded.is_leader:
        return []
    after, before = embed(measured, loaded.analysis.seed)
    rows = figures.pattern_rows([after, before])
    table = loaded.out / "analysis" / "patterns.csv"
    files.write_table(table, rows)
    keep_figure(loaded, "embedding", figures.embeddings(before, after), rows)
    keep_figure(loaded, "before_after", figures.before_and_after(before, after), rows)
    place = loaded.out / "figures"
    return [
        Section(
            "What the maps look like",
            told(after, before),
            pictures=[
                Picture(place / "embedding.png", figures.EMBEDDING, "PCA and t-SNE of mean maps"),
                Picture(
                    place / "before_after.png",
                    figures.BEFORE_AFTER,
                    "Mean maps of all heads before and after training",
                ),
            ],
            tables=[Table("Every head: category, general case, coordinates.", table)],
        )
    ]


def measure(loaded: LoadedRun, checkpoint: Checkpoint) -> HeadPatterns:
    """Mean maps and cases of the heads that are not pruned, without an embedding yet."""

    def shapes(maps: jax.Array, valid: jax.Array) -> dict[str, jax.Array]:
        return {"maps": resized_maps(maps, valid), **case_measures(maps, valid)}

    def measure_trace(trace: Trace, _: Any) -> dict[str, jax.Array]:
        maps = joined_unpruned_maps(trace.probs)
        return by_device(shapes, loaded.passes.devices)(maps, trace.valid)

    step = reduce.reducer(loaded.passes.trace_fn, measure_trace, loaded.passes.devices)
    split = spread(loaded.corpus.split, UTTERANCES)
    name = f"{checkpoint.name}: patterns"
    parts = run_pass(loaded.passes, name, step, checkpoint.params, split)
    n, sums = reduce.collect_groups(parts, len(split), 1)
    means = {key: value.sum(0) / n.sum() for key, value in sums.items()}
    mask = loaded.model.spec.head_mask
    return HeadPatterns(
        name=checkpoint.name,
        place=np.argwhere(mask),
        maps=means["maps"],
        category=kept_heads(loaded, checkpoint.end).category[mask],
        case=assign_cases(means["offsets"], means["columns"]),
        near=means["offsets"].sum(-1),
        columns=means["columns"],
        embedding={},
    )


def embed(sides: list[HeadPatterns], seed: int) -> list[HeadPatterns]:
    """The same with places in one embedding of all of them."""
    found = embedded(np.concatenate([side.maps for side in sides]), seed)
    ends = np.cumsum([len(side.place) for side in sides])[:-1]
    parts = {method: np.split(places, ends) for method, places in found.items()}
    return [
        side._replace(embedding={method: each[i] for method, each in parts.items()})
        for i, side in enumerate(sides)
    ]


def told(after: HeadPatterns, before: HeadPatterns) -> str:
    """How many heads are of each general case, in words."""
    texts = []
    for side in (after, before):
        names, counts = np.unique(side.case, return_counts=True)
        texts.append(
            f"{side.name}: "
            + ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True))
            + f" of {len(side.place)} heads."
        )
    return " ".join(texts)
