"""Attention maps of any model in, head metrics, categories, phone relations and figures out.

Maps are one array (L, H, T, T) per utterance, whoever computed them: rows are queries and sum to 1.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sat_jax.analysis.head_metrics import MEASURES, measure_heads
from sat_jax.analysis.head_types import summarise
from sat_jax.analysis.operations import named_operations, short_text
from sat_jax.analysis.phone_maps import (
    PhoneShares,
    phone_attention,
    phone_frames,
    uniform_phone_attention,
)
from sat_jax.analysis.phone_summary import Attention, named_sums, summarise_phones
from sat_jax.audio.phone_labels import manners_of
from sat_jax.audio.phones import SILENCE
from sat_jax.errors import InputError
from sat_jax.figures import heads as head_figures
from sat_jax.figures import phone_curves, style, tables
from sat_jax.figures import phones as phone_figures
from sat_jax.records.heads import HeadTable
from sat_jax.records.phones import PhoneTable

MULTIPLE = 64
"""Lengths are padded up to multiples of so many positions, so that few programs are compiled."""
TOLERANCE = 1e-2
"""How far from 1 a row may sum: maps may come in half precision."""


def summarise_maps(
    maps: Sequence[np.ndarray], name: str = "model", draws: int = 1000, seed: int = 0
) -> HeadTable:
    """Every metric, rank and category of every head, with 95 % bootstrap intervals.

    maps: (L, H, T, T) per utterance, T may differ between them. Raises `InputError` that names the
    first utterance whose maps are no maps.
    """
    measured = _over(maps, measure_heads)
    shape = maps[0].shape[:2]
    values = {measure: measured[measure].reshape(-1, *shape) for measure in MEASURES}
    return summarise(values, draws, seed, name=name)


def relate_phones(
    maps: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    phones: Sequence[str],
    heads: HeadTable,
    silence: str = SILENCE,
    manners: Sequence[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> PhoneTable:
    """Relation maps, concentration, shares and named operations of every head.

    maps as in `summarise_maps`, which gave `heads`; labels (T,) int per utterance, the index into
    `phones` of each position and -1 where there is none; `silence` is the phone that stands for it.
    manners: group of each phone in figures, by default its manner of articulation if the phones are
    ARPAbet, TIMIT, IPA or SAMPA.
    Raises `InputError` that names the first utterance whose labels do not fit.
    """
    names = tuple(phones)
    for number, (each, label) in enumerate(zip(maps, labels, strict=True)):
        if np.shape(label) != (np.shape(each)[-1],) or np.max(label) >= len(names):
            raise InputError(
                f"labels of utterance {number}: shape {np.shape(label)}, at most {np.max(label)}; "
                f"give {np.shape(each)[-1]} numbers below {len(names)}, -1 for none"
            )

    def relate(probs: jax.Array, valid: jax.Array, label: jax.Array) -> dict[str, jax.Array]:
        frames = phone_frames(label, valid, 1, len(names))
        return named_sums(
            phone_attention(probs, valid, frames), uniform_phone_attention(valid, frames)
        )

    sums = _over(maps, relate, labels)
    layers, count = heads.category.shape
    for field in PhoneShares._fields:
        sums[field] = sums[field].reshape(len(maps), layers, count, *sums[field].shape[2:])
    index = names.index(silence) if silence in names else -1
    attention = Attention(np.ones(len(maps)), **sums)
    summary = summarise_phones(attention, index, draws, seed)
    found = named_operations(summary, names)
    texts = tuple(
        tuple(short_text([o for o in found if (o.layer, o.head) == (i, j)]) for j in range(count))
        for i in range(layers)
    )
    manners = manners_of(names) if manners is None else tuple(manners)
    known = heads.metrics["verticality"], heads.category
    return PhoneTable(heads.name, names, manners, summary, *known, texts, len(maps))


def save_figures(
    directory: str | Path, heads: HeadTable, phones: PhoneTable | None = None
) -> list[Path]:
    """Write heads.csv and every figure that the records can fill, as PNG and PDF; their paths."""
    out = Path(directory)
    written = [tables.write_heads(out / "heads.csv", heads)]
    figures = {
        "head_scatter": head_figures.head_scatter([heads]),
        "head_distribution": head_figures.head_distribution([heads]),
        "rank_intervals": head_figures.rank_intervals(heads),
    }
    if phones is not None:
        figures |= {
            "all_phone_maps": phone_figures.all_phone_maps(phones),
            "focus_chart": phone_figures.focus_chart(phones),
            "segment_shares": phone_curves.segment_shares([phones]),
        }
    for stem, figure in figures.items():
        written += style.save(figure, out, stem)
    return written


def _over(
    maps: Sequence[np.ndarray],
    measure: Callable[..., dict[str, jax.Array]],
    *rows: Sequence[np.ndarray],
) -> dict[str, np.ndarray]:
    """Named arrays (U, ...) of `measure` for the maps (1, L * H, T, T) and rows (1, T) of each."""
    if not len(maps):
        raise InputError("maps is empty: give one array (L, H, T, T) per utterance")
    shape = np.shape(maps[0])[:2]
    run = jax.jit(measure)
    found: list[dict[str, np.ndarray]] = []
    for number, each in enumerate(maps):
        _check(number, each, shape)
        length = each.shape[-1]
        room = -length % MULTIPLE
        probs = np.pad(np.asarray(each, np.float32), ((0, 0), (0, 0), (0, room), (0, room)))
        valid = np.arange(length + room)[None] < length
        more = [np.pad(row[number], (0, room), constant_values=-1)[None] for row in rows]
        values = run(probs.reshape(1, -1, *probs.shape[2:]), valid, *more)
        found.append({name: np.asarray(value)[0] for name, value in values.items()})
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def _check(number: int, maps: Any, shape: tuple[int, ...]) -> None:
    where = f"maps of utterance {number}"
    if np.ndim(maps) != 4 or maps.shape[2] != maps.shape[3] or maps.shape[:2] != shape:
        raise InputError(
            f"{where}: shape {np.shape(maps)}; give (layers, heads, T, T), as many layers and "
            f"heads in every utterance (the first has {shape})"
        )
    sums = np.asarray(maps, np.float32).sum(-1)
    wrong = sums[~(np.abs(sums - 1) <= TOLERANCE)]
    if len(wrong):
        raise InputError(
            f"{where}: a row sums to {wrong[0]}; rows are queries and have to sum to 1: give maps "
            "after the softmax, without padding"
        )
