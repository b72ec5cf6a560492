"""A split of utterances in, batches of padded int16 audio with static shapes out. No jax here.

A split is anything with `len(split)`, `split[i]` (a record with `.audio` `(N,)` int16 and
`.phones` `(n, 3)` int32: start and end in samples, label; `.text`), `split.lengths` `(U,)` in
samples, `split.ids`, and `split.phone_names`, empty where the corpus has no phones.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from sat_jax.config import Batches
from sat_jax.errors import InputError
from sat_jax.features.buckets import Step, TrainPlan, batch_size, bucket_edges, bucket_of
from sat_jax.grid import Grid

STEPS = 2**62  # a training stream has no end of its own
AHEAD = 2  # batches that every reader thread keeps ready


class FrameLabels(NamedTuple):
    """A label of every frame of every utterance of a split."""

    flat: np.ndarray
    """`(sum of frames,)` integers, one utterance after the other."""
    ends: np.ndarray
    """`(U,)` where each utterance's labels end."""

    def of(self, utterance: int) -> np.ndarray:
        """The labels of one utterance's frames."""
        first = self.ends[utterance - 1] if utterance else 0
        return self.flat[first : self.ends[utterance]]


class Batch(NamedTuple):
    """Rows of audio, zero-padded to one length."""

    audio: np.ndarray
    """`(B, N)` int16."""
    lengths: np.ndarray
    """Samples of each row that are real, `(B,)` int32: whole frames (see `Grid.frame_samples`)."""
    index: np.ndarray
    """Utterance of each row in its split, `(B,)` int32; -1 where the row only fills the batch."""
    labels: np.ndarray | None = None
    """Phone, or another label, of each frame, `(B, T)` int32, -1 where there is none; None unless
    asked for."""
    phones: tuple[np.ndarray, ...] | None = None
    """Phones `(n, 3)` of each row: start, end in samples of the row, label; as `labels`."""
    texts: tuple[str, ...] | None = None
    """Transcript of each row's whole utterance, however that is cropped; None unless asked for."""

    def spoken(self, names: np.ndarray, most: int) -> np.ndarray:
        """Letters `(B, most)` int32 of the phones whose middle each row holds, in their order; -1
        behind the last. `names` `(P,)` is the letter of each phone, -1 for none."""
        found = np.full((len(self.lengths), most), -1, np.int32)
        for row, phones, length in zip(found, self.phones, self.lengths, strict=True):
            middle = (phones[:, 0] + phones[:, 1]) // 2
            own = names[phones[(middle >= 0) & (middle < length), 2]]
            own = own[own >= 0][:most]
            row[: len(own)] = own
        return found


def train_plan(
    split: Any,
    batches: Batches,
    grid: Grid,
    seed: int,
    skip_short: bool = False,
    say: Callable[[str], None] = print,
    edges: Sequence[int] | None = None,
) -> TrainPlan:
    """The order of a whole training run: buckets, and which utterances are in which batch.

    An utterance shorter than one position cannot be
    trained on: with `skip_short` such utterances are left out and counted through `say`. `edges`
    are the buckets' static lengths in frames, by default those that pad this split the least.

    Raises:
        InputError: an utterance shorter than one position without `skip_short`, or nothing left.
    """
    frames = frames_of_split(split, grid)
    members = long_enough(split, frames, grid.frames, skip_short, say)
    lengths = np.asarray(split.lengths)[members]
    if edges is None:
        edges = bucket_edges(lengths, batches.max_frames, batches.buckets, grid)
    buckets = bucket_of(frames[members], edges)
    groups = tuple(members[buckets == bucket] for bucket in range(len(edges)))
    sizes = tuple(batch_size(edge, batches) for edge in edges)
    return TrainPlan(frames, tuple(edges), groups, sizes, seed)


def train_batches(
    split: Any,
    batches: Batches,
    grid: Grid,
    seed: int,
    start_step: int = 0,
    process: int = 0,
    processes: int = 1,
    skip_short: bool = False,
    say: Callable[[str], None] = print,
    edges: Sequence[int] | None = None,
    with_labels: bool = False,
    labels: FrameLabels | None = None,
    with_texts: bool = False,
) -> Iterator[Batch]:
    """An endless stream of training batches from `start_step` on, the same on every machine.

    Batch `step` depends on the seed and the step only: starting at `step` continues a run exactly,
    with any number of threads. Of `processes` processes, each reads its share of
    consecutive rows of every batch; all of them together see the same batches for any number.
    Rows longer than `max_frames` are cropped at a random frame, aligned to the hop. Labels of
    frames are those of phones (`with_labels`) or `labels`, where they are given; `with_texts`
    brings transcripts. Close the stream (`close()`, or `contextlib.closing`) to end its reader
    threads.

    Raises:
        InputError: see `train_plan`; or `batches.size` is not a multiple of `processes`.
    """
    if batches.size % processes:
        raise InputError(
            f"batches.size: {batches.size} utterances cannot be shared by {processes} processes; "
            f"use a multiple of {processes}"
        )
    plan = train_plan(split, batches, grid, seed, skip_short, say, edges)

    def load(number: int) -> Batch:
        step = plan[number]
        rows = process_rows(len(step.index), process, processes)
        batch = load_batch(split, step, rows, grid, with_labels, with_texts)
        return batch if labels is None else batch._replace(labels=cut(labels, step, rows))

    return stream(load, start_step, STEPS, batches.threads)


def eval_batches(
    split: Any,
    edges: Sequence[int],
    size: int,
    grid: Grid,
    process: int = 0,
    processes: int = 1,
    threads: int = 2,
    skip_short: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[Batch]:
    """Every utterance of a split once, shortest bucket first, with phone labels where there are.

    `edges` are static lengths in frames (see `bucket_edges`). The last batch of a bucket is filled
    up to `size` with rows of length 0 and index -1. Utterances longer than the last edge are cut
    at their end, and their number is told to `say` once. Processes, `skip_short`, closing: as in
    `train_batches`.

    Raises:
        InputError: an utterance shorter than one position without `skip_short`, nothing left, or
            `size` is not a multiple of `processes`.
    """
    if size % processes:
        raise InputError(
            f"a batch of {size} utterances cannot be shared by {processes} processes; "
            f"use a multiple of {processes}"
        )
    frames = frames_of_split(split, grid)
    members = long_enough(split, frames, grid.frames, skip_short, say)
    cut = int((frames[members] > edges[-1]).sum())
    if cut:
        say(f"{cut} of {len(members)} utterances were longer than {edges[-1]} frames and were cut")
    buckets = bucket_of(frames[members], edges)
    steps = []
    for bucket, edge in enumerate(edges):
        group = members[buckets == bucket]
        index = np.full((-(-len(group) // size), size), -1, dtype=np.int32)
        index.flat[: len(group)] = group
        steps += [Step(edge, row, np.zeros(size, dtype=np.int32)) for row in index]
    rows = process_rows(size, process, processes)
    with_labels = len(split.phone_names) > 0

    def load(step: int) -> Batch:
        return load_batch(split, steps[step], rows, grid, with_labels)

    return stream(load, 0, len(steps), threads)


def frame_labels(phones: np.ndarray, frames: int, grid: Grid) -> np.ndarray:
    """Label of the phone at each frame's centre, `(T,)` int32; -1 where there is no phone.

    `phones` is `(n, 3)`: start (included), end (excluded) in samples, label; sorted, no overlaps.
    """
    if len(phones) == 0:
        return np.full(frames, -1, dtype=np.int32)
    centres = grid.frame_centres(frames)
    place = np.searchsorted(phones[:, 1], centres, side="right")
    starts, _, labels = phones[np.minimum(place, len(phones) - 1)].T
    inside = (place < len(phones)) & (starts <= centres)
    return np.where(inside, labels, -1).astype(np.int32)


def load_batch(
    split: Any, step: Step, rows: slice, grid: Grid, with_labels: bool, with_texts: bool = False
) -> Batch:
    """Read, crop and pad the given rows of one planned batch."""
    index, starts = step.index[rows], step.start[rows]
    audio = np.zeros((len(index), grid.frame_samples(step.frames)), dtype=np.int16)
    lengths = np.zeros(len(index), dtype=np.int32)
    labels = np.full((len(index), step.frames), -1, dtype=np.int32) if with_labels else None
    phones = [np.zeros((0, 3), np.int32)] * len(index)
    texts = [""] * len(index)
    for row, (utterance, start) in enumerate(zip(index.tolist(), starts.tolist(), strict=True)):
        if utterance < 0:
            continue
        record = split[utterance]
        offset = start * grid.hop
        frames = min(grid.frame_count(len(record.audio) - offset), step.frames)
        lengths[row] = min(grid.frame_samples(frames), len(record.audio) - offset)
        audio[row, : lengths[row]] = record.audio[offset : offset + lengths[row]]
        if with_texts:
            texts[row] = record.text
        if with_labels:
            moved = np.asarray(record.phones) - np.array([offset, offset, 0])
            phones[row] = moved
            labels[row, :frames] = frame_labels(moved, frames, grid)
    return Batch(
        *(audio, lengths, index, labels),
        tuple(phones) if with_labels else None,
        tuple(texts) if with_texts else None,
    )


def cut(labels: FrameLabels, step: Step, rows: slice) -> np.ndarray:
    """Labels `(B, T)` of the frames of the given rows of one planned batch, -1 behind the last."""
    found = np.full((len(step.index[rows]), step.frames), -1, np.int32)
    for row, utterance, start in zip(found, step.index[rows], step.start[rows], strict=True):
        own = labels.of(utterance)[start : start + step.frames]
        row[: len(own)] = own
    return found


def process_rows(size: int, process: int, processes: int) -> slice:
    """The rows of a batch of `size` that one of several processes reads."""
    share = size // processes
    return slice(process * share, (process + 1) * share)


def frames_of_split(split: Any, grid: Grid) -> np.ndarray:
    """Whole frames of every utterance, `(U,)` int64."""
    return grid.frame_count(np.asarray(split.lengths, dtype=np.int64))


def long_enough(
    split: Any, frames: np.ndarray, stack: int, skip_short: bool, say: Callable[[str], None]
) -> np.ndarray:
    """Indices of the utterances that give at least one position of `stack` frames."""
    short = np.flatnonzero(frames < stack)
    if len(short) and not skip_short:
        first = int(short[0])
        raise InputError(
            f"utterance {split.ids[first]}: {split.lengths[first]} samples give {frames[first]} "
            f"frames and one position needs {stack}; remove it, or leave out short ones with "
            "--corpus.skip-bad"
        )
    if len(frames) == 0:
        raise InputError("the split is empty: give it utterances, or use another split")
    if len(short) == len(frames):
        raise InputError(
            f"none of {len(frames)} utterances gives one position of {stack} frames; "
            "use longer recordings"
        )
    if len(short):
        say(f"{len(short)} of {len(frames)} utterances are too short for one position: left out")
    return np.flatnonzero(frames >= stack)


def stream(load: Callable[[int], Batch], first: int, last: int, threads: int) -> Iterator[Batch]:
    """`load(first)`, `load(first + 1)`, ... in order, read ahead by `threads` threads."""
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=AHEAD * threads)
    return iter(grain.MapDataset.range(first, last).map(load).to_iter_dataset(options))
