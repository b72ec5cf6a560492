"""What every head does with phones: relation maps, concentration, silence, named operations."""

import functools
from typing import Any

import jax
import numpy as np

from sat_jax import files
from sat_jax.analysis.operations import Operation, named_operations, short_text
from sat_jax.analysis.phone_maps import phone_attention, phone_frames, uniform_phone_attention
from sat_jax.analysis.phone_summary import Attention, named_sums, summarise_phones
from sat_jax.audio.phones import SILENCE
from sat_jax.errors import InputError
from sat_jax.figures import phone_curves, phones
from sat_jax.figures.report import Picture, Section, Table, with_pruned
from sat_jax.mesh import by_device
from sat_jax.records.check import head_mask_of
from sat_jax.records.phones import PhoneSummary, PhoneTable
from sat_jax.study.head_mask import joined_unpruned_maps
from sat_jax.study.heads import kept_heads
from sat_jax.study.loaded_model import Checkpoint
from sat_jax.study.loaded_run import LoadedRun
from sat_jax.study.page import keep_figure
from sat_jax.study.passes import run_pass
from sat_jax.study.phone_rows import (
    concentration_rows,
    extreme_rows,
    map_rows,
    share_rows,
    write_tables,
)
from sat_jax.trace import reduce
from sat_jax.trace.capture import Trace

GROUPS = 512
"""Most groups of utterances that are resampled; each utterance is one while they suffice."""
BUDGET = 2**30
"""Bytes that the sums of all groups may take."""
SHOWN = 6
"""Relation maps that are drawn large."""
OF_ALL_HEADS = ("all_phone_maps", "focus_chart", "segment_shares")
"""Figures in which the place of a pruned head is blank."""


def study(loaded: LoadedRun) -> list[Section]:
    """Relate phones by every head, trained and untrained; writes tables, maps and figures."""
    names = tuple(loaded.corpus.split.phone_names)
    if not names:
        loaded.say("phones: the corpus has no phone labels, so no phone can be related to another")
        return []
    tables, found = [], []
    for checkpoint in loaded.model.checkpoints:
        attention = measure(loaded, checkpoint)
        silence = names.index(SILENCE) if SILENCE in names else -1
        analysis = loaded.analysis
        head_mask = loaded.model.spec.head_mask
        summary = summarise_phones(attention, silence, analysis.draws, analysis.seed, head_mask)
        operations = named_operations(summary, names)
        tables.append(table_of(loaded, checkpoint, summary, operations, int(attention.n.sum())))
        found.append(operations)
    if not loaded.is_leader:
        return []
    for checkpoint, table, operations in zip(loaded.model.checkpoints, tables, found, strict=True):
        write_tables(loaded, checkpoint.end, table, operations)
    shown = most_extreme(tables[0], SHOWN)
    draw(loaded, tables, shown)
    return sections(loaded, tables, found)


def measure(loaded: LoadedRun, checkpoint: Checkpoint) -> Attention:
    """Attention between phones of the unpruned heads, summed over groups of utterances."""
    spec, phone_count = loaded.model.spec, len(loaded.corpus.split.phone_names)

    def relate(maps: jax.Array, valid: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        frames = phone_frames(labels, valid, spec.grid.frames, phone_count)
        return named_sums(
            phone_attention(maps, valid, frames), uniform_phone_attention(valid, frames)
        )

    def measure_trace(trace: Trace, _: Any, labels: jax.Array) -> dict[str, jax.Array]:
        maps = joined_unpruned_maps(trace.probs)
        return by_device(relate, loaded.passes.devices)(maps, trace.valid, labels)

    step = reduce.reducer(loaded.passes.trace_fn, measure_trace, loaded.passes.devices)
    parts = run_pass(
        loaded.passes,
        f"{checkpoint.name}: phones",
        step,
        checkpoint.params,
        loaded.corpus.split,
        rows_of=lambda batch: (batch.labels,),
    )
    size = 8 * spec.layers * spec.heads * phone_count * (phone_count + 2)
    groups = max(min(GROUPS, BUDGET // size), 2)
    n, sums = reduce.collect_groups(parts, len(loaded.corpus.split), groups)
    loaded.say(f"{checkpoint.name}: phones related on {n.sum()} utterances")
    return Attention(n=n, **sums)


def table_of(
    loaded: LoadedRun,
    checkpoint: Checkpoint,
    summary: PhoneSummary,
    operations: list[Operation],
    utterances: int,
) -> PhoneTable:
    """A summary with what else is known of the phones and of the heads."""
    names = tuple(loaded.corpus.split.phone_names)
    kept = kept_heads(loaded, checkpoint.end)
    layers, heads = kept.category.shape
    texts = tuple(
        tuple(
            short_text([op for op in operations if (op.layer, op.head) == (layer, head)])
            for head in range(heads)
        )
        for layer in range(layers)
    )
    return PhoneTable(
        name=checkpoint.name,
        phones=names,
        manners=tuple(loaded.corpus.split.phone_manners),
        summary=summary,
        verticality=kept.metrics["verticality"],
        category=kept.category,
        operations=texts,
        utterances=utterances,
    )


def most_extreme(table: PhoneTable, most: int) -> list[tuple[int, int]]:
    """Heads of the strongest focus on different phones, then of the strongest neglect."""
    concentration = table.summary.concentration.value
    known = np.argwhere(np.isfinite(concentration)).tolist()
    focus = [(concentration[tuple(at)], *at) for at in known]
    shown: list[tuple[int, int]] = []
    phones_seen: set[int] = set()
    for _, layer, head, phone in sorted(focus, reverse=True):
        if (layer, head) not in shown and phone not in phones_seen and len(shown) < most - 1:
            shown.append((layer, head))
            phones_seen.add(phone)
    for _, layer, head, _ in sorted(focus):
        if (layer, head) not in shown and len(shown) < most:
            shown.append((layer, head))
    return shown


def kept_phones(
    loaded: LoadedRun,
) -> tuple[np.ndarray | None, tuple[str, ...], np.ndarray | None]:
    """Relation maps (L, H, P, P) of the trained model, their phones, and what heads do in words.

    None, none and None where this study was not made; raises `InputError` for a broken file.
    """
    path, cure = loaded.out / "analysis" / "phone_maps.npz", "make it anew with --only phones"
    if not path.exists():
        return None, (), None
    arrays = files.read_arrays(path, cure)
    if not {"relation", "phones"} <= set(arrays):
        raise InputError(f"{path}: has no relation maps or no phones; {cure}")
    return arrays["relation"], tuple(arrays["phones"].tolist()), arrays.get("operations")


def draw(loaded: LoadedRun, tables: list[PhoneTable], shown: list[tuple[int, int]]) -> None:
    """Every figure of the study, with its CSV beside it."""
    keep, trained = functools.partial(keep_figure, loaded), tables[0]
    every = list(np.ndindex(trained.category.shape))
    keep("phone_maps", phones.phone_maps(trained, shown), map_rows(trained, shown))
    keep_figure(
        loaded,
        "phone_maps_elsewhere",
        phones.phone_maps(trained, shown, elsewhere=True),
        map_rows(trained, shown),
    )
    for checkpoint, table in zip(loaded.model.checkpoints, tables, strict=True):
        end = checkpoint.end
        keep_figure(
            loaded, f"all_phone_maps{end}", phones.all_phone_maps(table), map_rows(table, every)
        )
        keep_figure(
            loaded, f"focus_chart{end}", phones.focus_chart(table), concentration_rows(table)
        )
    figure = phone_curves.verticality_against_concentration(trained, shown[:4])
    keep("verticality_concentration", figure, extreme_rows(trained))
    rows = [{"model": table.name, **row} for table in tables for row in share_rows(table)]
    keep("segment_shares", phone_curves.segment_shares(tables), rows)


def sections(
    loaded: LoadedRun, tables: list[PhoneTable], found: list[list[Operation]]
) -> list[Section]:
    """What the report says about heads and phones."""
    figures, analysis = loaded.out / "figures", loaded.out / "analysis"
    trained, untrained = tables
    counts = [len({(op.layer, op.head) for op in operations}) for operations in found]
    heads = int((head_mask_of(trained.category)).sum())
    summary = (
        f"On {trained.utterances} utterances, {counts[0]} of {heads} heads of {trained.name} do "
        f"something with phones that can be named, {counts[1]} of {heads} of {untrained.name}. "
        f"Labels: {loaded.corpus.split.phone_source}."
    )

    def picture(stem: str, caption: str, what: str, name: str = trained.name) -> Picture:
        if stem in OF_ALL_HEADS:
            caption = with_pruned(caption, tables)
        return Picture(figures / f"{stem}.png", caption, f"{what}, {name}")

    def pair(stem: str, caption: str, what: str) -> list[Picture]:
        control = figures / f"{stem}_untrained.png"
        return [
            picture(stem, caption, what)._replace(
                control=control, control_alt=f"{what}, {untrained.name}"
            )
        ]

    return [
        Section(
            "What heads do with phones",
            summary,
            definition=f"{phones.RELATION}\n\n{phones.OPERATIONS}",
            tables=[Table("Named operations.", analysis / "operations.csv")],
            files=[
                ("Operations of the untrained model", analysis / "operations_untrained.csv"),
                ("Relation maps of all heads (npz)", analysis / "phone_maps.npz"),
            ],
        ),
        Section(
            "Phone relation maps",
            pictures=[
                picture("phone_maps", phones.PHONE_MAPS, "Phone relation maps of six heads"),
                picture(
                    "phone_maps_elsewhere",
                    phones.PHONE_MAPS_ELSEWHERE,
                    "Phone relation maps without the query's own segment",
                ),
                *pair("all_phone_maps", phones.ALL_PHONE_MAPS, "Relation maps of all heads"),
            ],
        ),
        Section(
            "Which phones heads focus on and neglect",
            pictures=[
                *pair("focus_chart", phones.FOCUS_CHART, "Concentration of heads on phones"),
                picture(
                    "verticality_concentration",
                    phone_curves.VERTICALITY_CONCENTRATION,
                    "Verticality of heads against their extreme concentration",
                ),
            ],
        ),
        Section(
            "Silence, the own segment, the same phone elsewhere",
            pictures=[
                picture(
                    "segment_shares",
                    phone_curves.SEGMENT_SHARES,
                    "Attention on silence and inside the own segment",
                    f"{trained.name} and {untrained.name}",
                )
            ],
            tables=[
                Table(f"{trained.name}, every head.", analysis / "phone_shares.csv"),
            ],
        ),
    ]
