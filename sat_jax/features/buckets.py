"""Utterance lengths in; static batch lengths, and the plan of which batch holds what, out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sat_jax.config import Batches
from sat_jax.errors import InputError
from sat_jax.grid import Grid


def bucket_edges(lengths: np.ndarray, max_frames: int, buckets: int, grid: Grid) -> tuple[int, ...]:
    """The at most `buckets` static lengths, in frames and rising, that need the least padding.

    `lengths` `(U,)` are in samples. Edges are rounded up to whole positions but never pass
    `max_frames` (rounded down to whole positions); longer utterances will be cropped to the last
    edge.
    Padding is the total of frames over all utterances, each in the shortest bucket that holds it;
    the choice is exact, by dynamic programming over the histogram of lengths.

    Raises:
        InputError: there are no lengths, or `max_frames` is less than one position.
    """
    multiple = grid.frames
    cap = max_frames // multiple * multiple
    if cap < 1:
        raise InputError(
            f"batches.max-frames: {max_frames} frames are less than one position; "
            f"set it to at least {multiple}"
        )
    if len(lengths) == 0:
        raise InputError("the split is empty: give it utterances, or use another split")
    frames = grid.frame_count(np.asarray(lengths, dtype=np.int64))
    rounded = np.clip(-(-frames // multiple), 1, cap // multiple) * multiple
    ends, counts = np.unique(rounded, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])

    # Row b of `cost`: frames that the i shortest lengths fill in b buckets. What an utterance
    # itself needs is the same for every choice, so least total is least padding.
    cost = np.full(len(ends) + 1, np.inf)
    cost[0] = 0
    choices = []
    for _ in range(min(buckets, len(ends))):
        first = np.zeros(len(ends) + 1, dtype=np.int64)
        longer = np.full(len(ends) + 1, np.inf)
        for i in range(1, len(ends) + 1):
            totals = cost[:i] + ends[i - 1] * (below[i] - below[:i])
            first[i] = totals.argmin()
            longer[i] = totals[first[i]]
        cost = longer
        choices.append(first)
    edges, i = [], len(ends)
    for first in reversed(choices):
        edges.append(int(ends[i - 1]))
        i = first[i]
    return tuple(reversed(edges))


def bucket_of(frames: np.ndarray, edges: Sequence[int]) -> np.ndarray:
    """Index of the shortest edge that holds each utterance, `(U,)`; the last where none does."""
    return np.minimum(np.searchsorted(edges, frames), len(edges) - 1)


def batch_size(edge: int, batches: Batches) -> int:
    """Utterances of a batch that is padded to `edge` frames.

    With `batches.frames` as many as keep within so many frames, in multiples of `batches.size`, so
    that every device gets as many; at least that many.
    """
    return max(batches.frames // edge // batches.size, 1) * batches.size


class Step(NamedTuple):
    """What one batch holds: a static length and, per row, an utterance and where it is cut."""

    frames: int
    """Static length of the batch."""
    index: np.ndarray
    """Utterances, `(B,)` int32."""
    start: np.ndarray
    """First frame of the crop, `(B,)` int32; 0 where the utterance fits."""


@dataclass(frozen=True, eq=False)
class TrainPlan:
    """Every batch of a training run, by its number: `plan[step]` depends on nothing but the seed.

    An epoch holds every planned utterance at least once and always has the same number of
    batches. Utterances of a batch share a bucket; a bucket's last batch is filled with others of
    the bucket (all of them again, if it has fewer than `size`). Batches of different buckets
    follow each other in random order, and crops are drawn anew in every epoch.
    """

    frames: np.ndarray
    """Frames of every utterance of the split, `(U,)`."""
    edges: tuple[int, ...]
    """Static lengths of the buckets in frames, rising."""
    groups: tuple[np.ndarray, ...]
    """The utterances of each bucket, indices into `frames`."""
    sizes: tuple[int, ...]
    """Utterances of a batch of each bucket."""
    seed: int
    """Seed of the order and the crops."""

    @property
    def batches_per_epoch(self) -> int:
        """Batches after which every planned utterance has been seen."""
        rows = zip(self.groups, self.sizes, strict=True)
        return sum(-(-len(group) // size) for group, size in rows)

    def __getitem__(self, step: int) -> Step:
        """The batch of that number, counted from 0 over all epochs."""
        epoch, place = divmod(step, self.batches_per_epoch)
        return epoch_steps(self, epoch)[place]


@lru_cache(maxsize=4)
def epoch_steps(plan: TrainPlan, epoch: int) -> list[Step]:
    """All batches of one epoch in order; cached, because every step of the epoch asks for it."""
    rng = np.random.default_rng((plan.seed, epoch))
    steps = []
    for edge, group, size in zip(plan.edges, plan.groups, plan.sizes, strict=True):
        rows = -(-len(group) // size)
        index = np.resize(rng.permutation(group), (rows, size)).astype(np.int32)
        spare = np.maximum(plan.frames[index] - edge, 0)
        start = rng.integers(0, spare + 1).astype(np.int32)
        steps += [Step(edge, *row) for row in zip(index, start, strict=True)]
    return [steps[place] for place in rng.permutation(len(steps))]
