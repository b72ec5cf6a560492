"""A subject in, the speech that ablations are asked about out: batches, labels, who learns on what.

Probes learn from training utterances, stop by validation utterances and are tested on test
utterances: the splits of the corpus where its test split is analysed, otherwise parts of what is
analysed. Speaker probes need every speaker on all sides; where the splits do not give that, their
parts are cut by utterance within each speaker.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax.audio import dataset
from sat_jax.config import Config
from sat_jax.features import batches, frontend
from sat_jax.mesh import by_device, place_batch
from sat_jax.model.mockingjay import stack_frames
from sat_jax.shapes import SAMPLE_RATE, frame_count
from sat_jax.study.subject import Subject, long_enough, longest_frames, spread

TRAIN, VALID, TEST = range(3)
PATTERN = np.array([TRAIN, TEST, VALID, TRAIN, TRAIN])
"""Parts of utterances in turn where no split says them."""


class Heard(NamedTuple):
    """One batch as the model hears it, on the devices."""

    inputs: jax.Array
    """(B, T, stack * F)."""
    targets: jax.Array
    """(B, T, stack * F2)."""
    valid: jax.Array
    """(B, T) bool."""
    utterance: np.ndarray
    """(B,) number of each row among all utterances; -1 in a filler row."""


class Speech(NamedTuple):
    """U utterances with N positions in all."""

    heard: tuple[Heard, ...]
    utterance: np.ndarray
    """(N,) whose position this is, in the order of the batches."""
    part: np.ndarray
    """(U,) TRAIN, VALID or TEST."""
    speaker_part: np.ndarray | None
    """(U,) the same for speaker probes; None where there are no two speakers to tell apart."""
    speaker: np.ndarray
    """(U,) index into `speaker_names`."""
    speaker_names: tuple[str, ...]
    phone: np.ndarray
    """(N, stack) phone of each frame of a position, -1 where there is none."""
    phone_names: tuple[str, ...]
    ids: tuple[str, ...]
    origin: str
    """Where the three parts come from."""
    seconds: float
    """What is longer is cut after so many."""


def open_speech(subject: Subject) -> Speech | None:
    """Read and featurise all utterances of the study, one static length for all.

    None, and a word why, where there are too few.
    """
    splits, origin = choose(subject)
    if not all(len(each) for each in splits):
        counts = ", ".join(str(len(each)) for each in splits)
        subject.say(
            f"ablate: {counts} utterances to learn from, to stop by and to test on are too few; "
            "give at least three"
        )
        return None
    config = subject.config
    frames = static_frames(subject, splits)
    heard, phones, first = [], [], 0
    for split in splits:
        rows, labels = hear(config, split, frames, subject.size, subject.devices, first)
        heard += rows
        phones += labels
        first += len(split)
    owner = np.concatenate(
        [np.repeat(each.utterance, np.asarray(each.valid).sum(1)) for each in heard]
    )
    part = np.repeat(np.arange(3), [len(split) for split in splits])
    names = np.concatenate([np.array(split.speaker_names)[split.speakers] for split in splits])
    found, speaker = np.unique(names, return_inverse=True)
    return Speech(
        heard=tuple(heard),
        utterance=owner,
        part=part,
        speaker_part=speaker_parts(speaker, part) if len(found) > 1 else None,
        speaker=speaker,
        speaker_names=tuple(found.tolist()),
        phone=np.concatenate(phones),
        phone_names=tuple(splits[0].phone_names),
        ids=tuple(name for split in splits for name in split.ids),
        origin=origin,
        seconds=frames * config.features.hop / SAMPLE_RATE,
    )


def choose(subject: Subject) -> tuple[list[Any], str]:
    """Utterances to learn from, to stop by and to test on, and a word on where they are from."""
    ablate, split = subject.analysis.ablate, subject.split
    most = ablate.train_utterances, ablate.valid_utterances, ablate.test_utterances
    if split.name == "test":
        opened = [dataset.open_split(split.directory, name) for name in ("train", "valid")]
        splits = [long_enough(subject.config, each) for each in (*opened, split)]
        origin = f"the train, valid and test splits of {split.directory.name}"
    else:
        split = long_enough(subject.config, split)
        parts = PATTERN[np.arange(len(split)) % len(PATTERN)]
        splits = [dataset.take(split, np.flatnonzero(parts == part)) for part in range(3)]
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


def static_frames(subject: Subject, splits: list[Any]) -> int:
    """One length for all, in frames: the longest utterance's, at most what the study allows."""
    features, stack = subject.config.features, subject.config.model.stack
    longest = max(
        int(frame_count(split.lengths.astype(np.int64), features.window, features.hop).max())
        for split in splits
    )
    frames = min(longest, subject.analysis.ablate.max_frames, longest_frames(subject.config))
    return max(frames // stack, 1) * stack


def hear(
    config: Config, split: Any, frames: int, size: int, devices: DeviceMesh, first: int
) -> tuple[list[Heard], list[np.ndarray]]:
    """Batches of a split whose utterances are numbered from `first`, and phones of positions."""
    stack, features = config.model.stack, config.features
    featurise = by_device(functools.partial(frontend.featurise, features=features), devices)

    @jax.jit
    def listen(audio: jax.Array, lengths: jax.Array) -> tuple[jax.Array, ...]:
        inputs, targets, count = featurise(audio, lengths)
        return *stack_frames(inputs, count, stack), stack_frames(targets, count, stack)[0]

    heard, phones = [], []
    for batch in batches.eval_batches(split, (frames,), size, features, stack, say=lambda _: None):
        inputs, valid, targets = listen(*place_batch((batch.audio, batch.lengths), devices))
        number = np.where(batch.index >= 0, batch.index + first, -1)
        heard.append(Heard(inputs, targets, valid, number))
        labels = batch.labels
        if labels is None:
            labels = np.full((len(number), frames), -1, np.int32)
        positions = labels[:, : frames // stack * stack].reshape(len(number), -1, stack)
        phones.append(positions[np.asarray(valid)])
    return heard, phones
