"""Buckets against brute force; the training order, its resumption and its sharing by processes."""

import threading
from contextlib import closing
from dataclasses import replace
from itertools import combinations, islice, pairwise
from typing import NamedTuple

import numpy as np
import pytest

from sat_jax.config import Batches
from sat_jax.errors import InputError
from sat_jax.features.batches import (
    FrameLabels,
    eval_batches,
    frame_labels,
    load_batch,
    train_batches,
    train_plan,
)
from sat_jax.features.buckets import Step, bucket_edges, bucket_of
from sat_jax.grid import Grid, frame_count, sample_count, stacked_grid

GRID = stacked_grid(400, 160, 3)
BATCHES = Batches(size=4, max_frames=60, buckets=3, threads=2)


class Record(NamedTuple):
    audio: np.ndarray
    phones: np.ndarray


class Recordings:
    """Utterances in memory; sample n of utterance i is (1000 i + n) mod 30000, plus 1."""

    def __init__(self, frames: list[int], phones: bool = True):
        rng = np.random.default_rng(0)
        spare = rng.integers(0, GRID.hop, len(frames))  # samples that give no further frame
        self.lengths = (sample_count(np.array(frames), 400, 160) + spare).astype(np.int32)
        self.ids = [f"utterance{i}" for i in range(len(frames))]
        self.phone_names = ["sil", "aa", "b"] if phones else []

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Record:
        samples = int(self.lengths[i])
        audio = ((1000 * i + np.arange(samples)) % 30_000 + 1).astype(np.int16)
        ends = [*range(1000, samples, 1000), samples]
        phones = [[a, b, n % 3] for n, (a, b) in enumerate(zip([0, *ends], ends, strict=False))]
        return Record(audio, np.array(phones if self.phone_names else [], np.int32).reshape(-1, 3))


def frames_between(low: int, high: int, count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(low, high, count).tolist()


SPLIT = Recordings(frames_between(10, 100, 41))


def taken(split=SPLIT, count=20, seed=3, batches=BATCHES, **options) -> list:
    with closing(train_batches(split, batches, GRID, seed, **options)) as stream:
        return list(islice(stream, count))


def assert_same(ours: list, theirs: list):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one[:3], other[:3], strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def padding(frames: np.ndarray, edges: tuple[int, ...]) -> int:
    return int(sum(min(edge for edge in edges if edge >= n) - n for n in frames))


@pytest.mark.parametrize("buckets", [1, 2, 3, 5])
@pytest.mark.parametrize("multiple", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_edges_pad_as_little_as_the_best_of_all_choices(buckets, multiple, seed):
    frames = np.array(frames_between(5, 40, 14, seed))
    lengths = sample_count(frames, 400, 160)
    edges = bucket_edges(lengths, 1500, buckets, stacked_grid(400, 160, multiple))
    assert len(edges) <= buckets
    assert list(edges) == sorted(set(edges))
    assert all(edge % multiple == 0 for edge in edges)
    top = -(-frames.max() // multiple) * multiple
    # With many buckets only the lengths that occur are tried: another edge could be lowered.
    ends = range(multiple, top, multiple) if buckets < 5 else sorted({*frames + -frames % multiple})
    options = [(*chosen, top) for chosen in combinations(ends, buckets - 1)]
    assert padding(frames, edges) == min(padding(frames, option) for option in options)


def test_edges_never_pass_the_longest_allowed():
    lengths = sample_count(np.array([10, 50, 500]), 400, 160)
    assert bucket_edges(lengths, 100, 3, GRID) == (12, 51, 99)
    assert bucket_edges(lengths, 100, 1, GRID) == (99,)
    assert bucket_edges(lengths, 500, 9, stacked_grid(400, 160, 1)) == (10, 50, 500)


def test_more_buckets_never_pad_more():
    frames = np.array(frames_between(30, 1600, 500))
    lengths = sample_count(frames, 400, 160)
    costs = [padding(frames, bucket_edges(lengths, 2000, buckets, GRID)) for buckets in range(1, 8)]
    assert costs == sorted(costs, reverse=True)
    assert costs[6] < costs[0] / 4


@pytest.mark.parametrize("size", [1, 4, 7, 64])
def test_every_utterance_is_in_every_epoch(size):
    plan = train_plan(SPLIT, replace(BATCHES, size=size), GRID, seed=5)
    buckets = bucket_of(plan.frames, plan.edges)
    orders = []
    for epoch in range(3):
        first = epoch * plan.batches_per_epoch
        steps = [plan[first + place] for place in range(plan.batches_per_epoch)]
        rows = np.concatenate([step.index for step in steps])
        counts = np.bincount(rows, minlength=len(SPLIT))
        assert counts.min() == 1 or size == 64
        assert counts.min() >= 1
        for step in steps:
            assert step.index.shape == step.start.shape == (size,)
            assert {plan.edges[b] for b in buckets[step.index]} == {step.frames}
            if all(len(group) >= size for group in plan.groups):
                assert len(set(step.index.tolist())) == size
            room = np.maximum(plan.frames[step.index] - step.frames, 0)
            assert ((step.start >= 0) & (step.start <= room)).all()
        orders.append([step.index.tolist() for step in steps])
    assert orders[0] != orders[1] != orders[2]


def test_batches_of_different_buckets_are_mixed():
    split = Recordings(frames_between(10, 60, 400))
    plan = train_plan(split, BATCHES, GRID, seed=0)
    lengths = [plan[step].frames for step in range(plan.batches_per_epoch)]
    changes = sum(a != b for a, b in pairwise(lengths))
    assert changes > len(lengths) / 3


def test_crops_reach_every_start_and_differ_between_epochs():
    split = Recordings([70] * 40)
    plan = train_plan(split, replace(BATCHES, size=8), GRID, seed=0)
    assert plan.edges == (60,)
    starts = np.stack([plan[step].start for step in range(200)])
    assert np.unique(starts).tolist() == list(range(11))
    assert len({tuple(starts[first : first + 5].ravel()) for first in range(0, 200, 5)}) == 40


def test_the_order_is_a_function_of_the_seed():
    assert_same(taken(seed=3), taken(seed=3))
    ours, theirs = taken(seed=3), taken(seed=4)
    assert any(a.index.tolist() != b.index.tolist() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_resuming_at_a_step_continues_the_same_stream(threads):
    whole = taken(count=60, batches=replace(BATCHES, threads=2))
    per_epoch = train_plan(SPLIT, BATCHES, GRID, seed=3).batches_per_epoch
    assert per_epoch < 30  # so that the streams below cross the end of an epoch
    for start in (0, 7, per_epoch, 31):
        batches = replace(BATCHES, threads=threads)
        assert_same(taken(count=29, start_step=start, batches=batches), whole[start : start + 29])


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_read_what_one_reads(processes):
    whole = taken()
    shares = [taken(process=p, processes=processes) for p in range(processes)]
    for step, batch in enumerate(whole):
        for field in range(3):
            rows = [share[step][field] for share in shares]
            assert all(len(row) == BATCHES.size // processes for row in rows)
            np.testing.assert_array_equal(np.concatenate(rows), batch[field])


def test_a_resume_on_fewer_hosts_sees_every_utterance_once_per_epoch():
    """4, then 2, then 1 processes, of a split whose buckets are whole numbers of batches."""
    split = Recordings([12] * 16 + [30] * 24 + [57] * 8)
    plan = train_plan(split, BATCHES, GRID, seed=3)
    seen, step = [], 0
    for processes, last in ((4, 5), (2, 9), (1, plan.batches_per_epoch)):
        count = {"count": last - step, "start_step": step, "processes": processes}
        shares = [taken(split, process=p, **count) for p in range(processes)]
        seen += [index for share in shares for batch in share for index in batch.index.tolist()]
        step = last
    assert sorted(seen) == list(range(len(split)))


def test_batches_of_short_utterances_hold_more_of_them():
    batches = replace(BATCHES, frames=200)
    split = Recordings([12] * 64 + [30] * 24 + [57] * 8)
    plan = train_plan(split, batches, GRID, seed=0)
    assert plan.edges == (12, 30, 57)
    assert plan.sizes == (16, 4, 4)
    assert plan.batches_per_epoch == 4 + 6 + 2
    for batch in taken(split, plan.batches_per_epoch, batches=batches):
        frames = GRID.frame_count(batch.audio.shape[1])
        assert len(batch.index) == plan.sizes[plan.edges.index(frames)]
        assert len(batch.index) * frames <= 4 * 57
    shares = [taken(split, 12, batches=batches, process=p, processes=2) for p in range(2)]
    whole = taken(split, 12, batches=batches)
    for one, other, both in zip(*shares, whole, strict=True):
        np.testing.assert_array_equal(np.concatenate([one.index, other.index]), both.index)


def test_labels_of_frames_are_cut_with_their_rows():
    split = Recordings([70, 20, 90, 33])
    frames = GRID.frame_count(split.lengths.astype(np.int64))
    ends = np.cumsum(frames)
    flat = np.concatenate([1000 * u + np.arange(n) for u, n in enumerate(frames)])
    labels = FrameLabels(flat, ends)
    plan = train_plan(split, BATCHES, GRID, seed=3)
    for number, batch in enumerate(taken(split, 8, labels=labels)):
        for row, index, start in zip(batch.labels, batch.index, plan[number].start, strict=True):
            real = min(frames[index] - start, len(row))
            assert (row[:real] == 1000 * index + start + np.arange(real)).all()
            assert (row[real:] == -1).all()


def test_rows_hold_whole_frames_of_their_utterance_from_a_multiple_of_the_hop():
    plan = train_plan(SPLIT, BATCHES, GRID, seed=3)
    cropped = 0
    for step, batch in enumerate(taken(count=30)):
        assert batch.labels is None
        assert (batch.audio.dtype, batch.lengths.dtype) == (np.int16, np.int32)
        for row, utterance in enumerate(batch.index):
            start, length = plan[step].start[row] * 160, batch.lengths[row]
            source = SPLIT[utterance].audio
            np.testing.assert_array_equal(batch.audio[row, :length], source[start:][:length])
            assert not batch.audio[row, length:].any()
            frames = frame_count(int(length), 400, 160)
            assert sample_count(frames, 400, 160) == length
            assert frames == min(plan.frames[utterance], plan[step].frames)
            cropped += plan.frames[utterance] > plan[step].frames
    assert cropped > 5


def test_there_are_at_most_as_many_shapes_as_buckets():
    shapes = {batch.audio.shape for batch in taken(count=40)}
    edges = train_plan(SPLIT, BATCHES, GRID, seed=3).edges
    assert shapes == {(4, sample_count(edge, 400, 160)) for edge in edges}
    assert len(shapes) == BATCHES.buckets
    whole = eval_batches(SPLIT, edges, 4, GRID, say=lambda line: None)
    with closing(whole):
        assert {batch.audio.shape for batch in whole} <= shapes


def test_closing_ends_the_reader_threads():
    before = set(threading.enumerate())
    stream = train_batches(SPLIT, replace(BATCHES, threads=4), GRID, seed=0)
    next(stream)
    readers = set(threading.enumerate()) - before
    assert readers
    stream.close()
    for reader in readers:
        reader.join(timeout=20)
    assert not any(reader.is_alive() for reader in readers)


@pytest.mark.parametrize("processes", [1, 2])
def test_evaluation_reads_every_utterance_once_shortest_bucket_first(processes):
    edges = bucket_edges(SPLIT.lengths, 1500, 3, GRID)
    seen, widths = [], []
    for process in range(processes):
        stream = eval_batches(SPLIT, edges, 4, GRID, process, processes)
        with closing(stream):
            batches = list(stream)
        widths.append([batch.audio.shape[1] for batch in batches])
        for batch in batches:
            assert len(batch.index) == 4 // processes
            empty = batch.index < 0
            assert not batch.audio[empty].any()
            assert not batch.lengths[empty].any()
            assert (batch.labels[empty] == -1).all()
            seen += batch.index[~empty].tolist()
    assert sorted(seen) == list(range(len(SPLIT)))
    assert widths[0] == sorted(widths[0])
    assert all(width == widths[0] for width in widths)


def test_evaluation_carries_the_labels_of_its_frames():
    edges = bucket_edges(SPLIT.lengths, 1500, 2, GRID)
    with closing(eval_batches(SPLIT, edges, 4, GRID)) as stream:
        for batch in stream:
            assert batch.labels.dtype == np.int32
            assert batch.labels.shape[1] == frame_count(batch.audio.shape[1], 400, 160)
            for row, utterance in enumerate(batch.index):
                if utterance < 0:
                    continue
                frames = frame_count(int(batch.lengths[row]), 400, 160)
                centres = np.arange(frames) * 160 + 200
                # Phones of the test split are 1000 samples long, with labels 0, 1, 2, 0, ...
                np.testing.assert_array_equal(batch.labels[row, :frames], centres // 1000 % 3)
                assert (batch.labels[row, frames:] == -1).all()


def test_the_labels_of_a_crop_move_with_it():
    step = Step(20, np.array([3], np.int32), np.array([10], np.int32))
    split = Recordings([10, 10, 10, 40])
    batch = load_batch(split, step, slice(0, 1), GRID, with_labels=True)
    centres = (np.arange(20) + 10) * 160 + 200
    np.testing.assert_array_equal(batch.labels[0], centres // 1000 % 3)


def test_without_phones_there_are_no_labels():
    split = Recordings([20, 30], phones=False)
    with closing(eval_batches(split, (30,), 2, GRID)) as stream:
        assert [batch.labels for batch in stream] == [None]


def test_long_utterances_are_cut_and_counted_once_in_evaluation():
    said = []
    split = Recordings([20, 50, 70])
    stream = eval_batches(split, (21, 45), 2, GRID, say=said.append)
    with closing(stream):
        batches = list(stream)
    assert said == ["2 of 3 utterances were longer than 45 frames and were cut"]
    assert batches[1].lengths.tolist() == [sample_count(45, 400, 160)] * 2
    np.testing.assert_array_equal(batches[1].audio[1], split[2].audio[: batches[1].lengths[1]])


def test_frame_labels_read_the_phone_at_the_centre():
    # Centres of window 4, hop 2 are samples 2, 4, 6, 8, 10, 12; phones include their start.
    phones = np.array([[0, 4, 7], [4, 5, 8], [7, 12, 9]])
    assert frame_labels(phones, 6, Grid(2, 4)).tolist() == [7, 8, -1, 9, 9, -1]
    assert frame_labels(phones, 6, Grid(2, 4)).dtype == np.int32
    assert frame_labels(np.zeros((0, 3), np.int32), 3, Grid(2, 4)).tolist() == [-1, -1, -1]


def test_an_utterance_shorter_than_a_position_is_named_or_left_out():
    split = Recordings([20, 2, 30, 1, 3])
    with pytest.raises(InputError, match=r"utterance1: .* 2 frames .* needs 3"):
        taken(split)
    with pytest.raises(InputError, match="utterance1"):
        eval_batches(split, (30,), 2, GRID)
    said = []
    batches = taken(split, skip_short=True, say=said.append)
    assert {int(i) for batch in batches for i in batch.index} == {0, 2, 4}
    with closing(eval_batches(split, (30,), 2, GRID, skip_short=True, say=said.append)) as stream:
        assert [batch.index.tolist() for batch in stream] == [[0, 2], [4, -1]]
    assert said == ["2 of 5 utterances are too short for one position: left out"] * 2


@pytest.mark.parametrize(
    ("split", "batches", "options", "message"),
    [
        (SPLIT, BATCHES, {"processes": 3}, "batches.size: 4 .* multiple of 3"),
        (SPLIT, replace(BATCHES, max_frames=2), {}, "batches.max-frames: 2 .* at least 3"),
        (Recordings([]), BATCHES, {}, "the split is empty"),
        (Recordings([1, 2]), BATCHES, {"skip_short": True}, "none of 2 utterances"),
    ],
)
def test_impossible_batches_end_in_one_line(split, batches, options, message):
    with pytest.raises(InputError, match=message) as caught:
        taken(split, batches=batches, **options)
    assert "\n" not in str(caught.value)
