"""A loaded run in, the speech that probes learn from and are tested on out, encoded and labelled.

Probes learn from training utterances, stop by validation utterances and are tested on test
utterances: the splits of the corpus where its test split is analysed, otherwise parts of what is
analysed. Speaker probes need every speaker on all sides; where the splits do not give that, their
parts are cut by utterance within each speaker.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax.audio.prepared import open_split, spread, take
from sat_jax.config import Features
from sat_jax.features import batches, frontend
from sat_jax.grid import SAMPLE_RATE, Grid
from sat_jax.mesh import by_device, place_batch
from sat_jax.model.packing import Packing, dealt, packing_of, real_rows, rows_needed
from sat_jax.study.corpus import long_enough
from sat_jax.study.loaded_run import LoadedRun

TRAIN, VALID, TEST = range(3)
PATTERN = np.array([TRAIN, TEST, VALID, TRAIN, TRAIN])
"""Parts of utterances in turn where no split says them."""


class EncodedBatch(NamedTuple):
    """One batch as the model hears it, on the devices."""

    inputs: jax.Array
    """(B, T, ...) as the model's `prepare` gives them."""
    targets: jax.Array
    """(B, T, F2); of a model that predicts no spectra without meaning."""
    valid: jax.Array
    """(B, T) bool."""
    log_mel: jax.Array
    """(B, T, R * F) log-mel frames of every position, whatever the model hears."""
    utterance: np.ndarray
    """(B,) number of each row among all utterances; -1 in a filler row."""
    packing: Packing
    """Where states of the valid positions are kept, P rows in every batch."""
    real: np.ndarray
    """(P,) bool: rows that are not left over."""
    place: np.ndarray
    """(n,) which of all N positions the real rows are."""


class Speech(NamedTuple):
    """U utterances with N positions in all."""

    encoded: tuple[EncodedBatch, ...]
    utterance: np.ndarray
    """(N,) whose position this is: utterance after utterance, however they are batched."""
    part: np.ndarray
    """(U,) TRAIN, VALID or TEST."""
    speaker_part: np.ndarray | None
    """(U,) the same for speaker probes; None where there are no two speakers to tell apart."""
    speaker: np.ndarray
    """(U,) index into `speaker_names`."""
    speaker_names: tuple[str, ...]
    phone: np.ndarray
    """(N, R) phone of each frame of a position, -1 where there is none."""
    phone_names: tuple[str, ...]
    ids: tuple[str, ...]
    origin: str
    """Where the three parts come from."""
    seconds: float
    """What is longer is cut after so many."""


def open_speech(loaded: LoadedRun, train_utterances: int = 0) -> Speech | None:
    """Read and featurize all utterances of the study, one static length for all.

    Probes learn from as many utterances as the study's settings say, unless a number is given.

    None, and a word why, where there are too few.
    """
    splits, origin = choose(loaded, train_utterances)
    if not all(len(each) for each in splits):
        counts = ", ".join(str(len(each)) for each in splits)
        loaded.say(
            f"ablate: {counts} utterances to learn from, to stop by and to test on are too few; "
            "give at least three"
        )
        return None
    frames = static_frames(loaded, splits)
    count = np.concatenate(
        [positions_of(loaded.model.spec.grid, split, frames) for split in splits]
    )
    part = np.repeat(np.arange(3), [len(split) for split in splits])
    batched = [
        batch
        for number, split in enumerate(splits)
        for batch in encoded_batches(loaded, split, frames, np.flatnonzero(part == number), count)
    ]
    encoded = pack_all(batched, count, loaded.passes.devices)
    phone = np.full((count.sum(), loaded.model.spec.grid.frames), -1, np.int32)
    for each, batch in zip(encoded, batched, strict=True):
        phone[each.place] = batch.labels[np.asarray(batch.valid)]
    names = np.concatenate([np.array(split.speaker_names)[split.speakers] for split in splits])
    found, speaker = np.unique(names, return_inverse=True)
    return Speech(
        encoded=encoded,
        utterance=np.repeat(np.arange(len(count)), count),
        part=part,
        speaker_part=speaker_parts(speaker, part) if len(found) > 1 else None,
        speaker=speaker,
        speaker_names=tuple(found.tolist()),
        phone=phone,
        phone_names=tuple(splits[0].phone_names),
        ids=tuple(name for split in splits for name in split.ids),
        origin=origin,
        seconds=frames * loaded.model.spec.grid.hop / SAMPLE_RATE,
    )


def choose(loaded: LoadedRun, train_utterances: int) -> tuple[list[Any], str]:
    """Utterances to learn from, to stop by and to test on, and a word on where they are from."""
    ablate, split = loaded.analysis.ablate, loaded.corpus.split
    most = (
        train_utterances or ablate.train_utterances,
        ablate.valid_utterances,
        ablate.test_utterances,
    )
    if split.name == "test":
        opened = [open_split(split.directory, name) for name in ("train", "valid")]
        splits = [long_enough(loaded.model.spec.grid, each) for each in (*opened, split)]
        origin = f"the train, valid and test splits of {split.directory.name}"
    else:
        split = long_enough(loaded.model.spec.grid, split)
        parts = PATTERN[np.arange(len(split)) % len(PATTERN)]
        splits = [take(split, np.flatnonzero(parts == part)) for part in range(3)]
        origin = f"three parts of the {split.name} split, utterance by utterance"
    return [spread(each, count) for each, count in zip(splits, most, strict=True)], origin


def interleave(speakers: np.ndarray) -> np.ndarray:
    """Parts (U,) of utterances of speakers (U,): each speaker's go to the parts of `PATTERN`."""
    parts = np.empty(len(speakers), np.int64)
    for speaker in np.unique(speakers):
        mine = np.flatnonzero(speakers == speaker)
        parts[mine] = PATTERN[np.arange(len(mine)) % len(PATTERN)]
    return parts


def speaker_parts(speakers: np.ndarray, part: np.ndarray) -> np.ndarray | None:
    """Parts for speaker probes: the given ones where these share their speakers, else new ones.

    None where no speaker has utterances to learn from and to be tested on.
    """
    known = np.unique(speakers[part == TRAIN])
    if np.isin(speakers[part == TEST], known).mean() < 0.9:
        part = interleave(speakers)
        known = np.unique(speakers[part == TRAIN])
    enough = all((part == which).any() for which in range(3))
    tested = np.intersect1d(known, speakers[part == TEST])
    return part if enough and len(tested) > 1 else None


def static_frames(loaded: LoadedRun, splits: list[Any]) -> int:
    """One length for all, in frames: the longest utterance's, at most what the study allows."""
    grid = loaded.model.spec.grid
    longest = max(int(grid.frame_count(split.lengths.astype(np.int64)).max()) for split in splits)
    frames = min(longest, loaded.analysis.ablate.max_frames, loaded.model.spec.frames)
    return max(frames // grid.frames, 1) * grid.frames


def positions_of(grid: Grid, split: Any, frames: int) -> np.ndarray:
    """Positions (U,) of the utterances of a split, when what is over `frames` is cut."""
    return np.minimum(grid.positions(split.lengths.astype(np.int64)), frames // grid.frames)


class Batched(NamedTuple):
    """One batch before it is packed; fields as in `EncodedBatch`."""

    inputs: jax.Array
    targets: jax.Array
    valid: jax.Array
    log_mel: jax.Array
    utterance: np.ndarray
    labels: np.ndarray
    """(B, T, R) phone of each frame, -1 where there is none."""


def encoded_batches(
    loaded: LoadedRun, split: Any, frames: int, number: np.ndarray, count: np.ndarray
) -> Iterator[Batched]:
    """Batches of a split whose utterances have these numbers (n,) among all, of `count` (U,)."""
    devices, module, grid = loaded.passes.devices, loaded.model.module, loaded.model.spec.grid

    def prepare(audio: jax.Array, lengths: jax.Array) -> tuple[jax.Array, ...]:
        inputs, valid = module.prepare(audio, lengths)
        targets = (
            module.targets(audio, lengths) if loaded.model.spec.target_width else valid[..., None]
        )
        return inputs, valid, targets, log_mel_of(audio, lengths, loaded.config.features, grid)

    featurize = jax.jit(by_device(prepare, devices))

    order = dealt(count[number], loaded.passes.size // devices.size)
    split, number = take(split, order), number[order]
    once = batches.eval_batches(split, (frames,), loaded.passes.size, grid, say=lambda _: None)
    for batch in once:
        inputs, valid, targets, log_mel = featurize(
            *place_batch((batch.audio, batch.lengths), devices)
        )
        utterance = np.where(batch.index >= 0, number[batch.index], -1)
        labels = batch.labels
        if labels is None:
            labels = np.full((loaded.passes.size, frames), -1, np.int32)
        labels = labels[:, :frames].reshape(loaded.passes.size, -1, grid.frames)
        yield Batched(inputs, targets, valid, log_mel, utterance, labels)


def log_mel_of(audio: jax.Array, lengths: jax.Array, features: Features, grid: Grid) -> jax.Array:
    """Log-mel frames (B, T, R * F) of the positions of audio (B, N), in the frames of a grid."""
    kind = dataclasses.replace(
        features,
        input="log_mel",
        target="log_mel",
        deltas=0,
        window=grid.frame_window,
        hop=grid.hop,
        n_fft=max(features.n_fft, grid.frame_window),
        target_n_fft=max(features.n_fft, grid.frame_window),
    )
    frames, _, _ = frontend.featurize(audio, lengths, kind)
    positions = grid.positions(audio.shape[1])
    return frames[:, : positions * grid.frames].reshape(len(audio), positions, -1)


def pack_all(
    batched: list[Batched], count: np.ndarray, devices: DeviceMesh
) -> tuple[EncodedBatch, ...]:
    """Batches of utterances of `count` (U,) positions, packed into as many rows each."""
    known = [np.asarray(batch.valid) for batch in batched]
    rows = max(rows_needed(valid, devices.size) for valid in known)
    start = np.cumsum(count) - count
    encoded = []
    for batch, valid in zip(batched, known, strict=True):
        place = start[batch.utterance][:, None] + np.arange(valid.shape[1])
        encoded.append(
            EncodedBatch(
                *batch[:5],
                packing=place_batch(packing_of(valid, rows, devices.size), devices),
                real=real_rows(valid, rows, devices.size),
                place=place[valid],
            )
        )
    return tuple(encoded)
