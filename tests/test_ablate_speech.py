"""Who learns on what in the ablation study, and what the tasks are about."""

import re
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax.config import Ablation
from sat_jax.study.ablate.corpus import (
    TEST,
    TRAIN,
    VALID,
    Speech,
    interleave,
    speaker_parts,
)
from sat_jax.study.ablate.measure import mean_frame_error
from sat_jax.study.ablate.tasks import pooled_means, probe_tasks


def test_of_five_utterances_of_a_speaker_three_train():
    speakers = np.array([7, 3, 7, 7, 3, 7, 7, 7, 3])
    parts = interleave(speakers)
    assert parts[speakers == 7].tolist() == [TRAIN, TEST, VALID, TRAIN, TRAIN, TRAIN]
    assert parts[speakers == 3].tolist() == [TRAIN, TEST, VALID]


def test_parts_that_share_their_speakers_stay():
    part = np.array([TRAIN] * 4 + [VALID] * 2 + [TEST] * 2)
    shared = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(speaker_parts(shared, part), part)
    # Of ten tested utterances one may have an unknown speaker.
    long = np.array([TRAIN, TRAIN, VALID] + [TEST] * 10)
    one = np.array([0, 1, 0] + [0, 1] * 4 + [0, 9])
    np.testing.assert_array_equal(speaker_parts(one, long), long)
    two = np.array([0, 1, 0] + [0, 1] * 4 + [8, 9])
    assert (speaker_parts(two, long) != long).any()


def test_parts_of_other_speakers_are_cut_within_each_speaker():
    part = np.repeat([TRAIN, VALID, TEST], 5)
    apart = np.repeat([0, 1, 2], 5)
    found = speaker_parts(apart, part)
    np.testing.assert_array_equal(found, interleave(apart))
    for speaker in range(3):
        assert set(found[apart == speaker]) == {TRAIN, VALID, TEST}


@pytest.mark.parametrize(
    ("speakers", "part"),
    [
        # One utterance each; one speaker alone with more; none to stop by.
        ([0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 2, 2]),
        ([0, 0, 0, 0, 1, 2], [0, 0, 1, 2, 2, 2]),
        ([0, 0, 1, 1], [0, 0, 2, 2]),
    ],
)
def test_without_speakers_on_both_sides_there_are_no_parts(speakers, part):
    assert speaker_parts(np.array(speakers), np.array(part)) is None


def speech_by_hand():
    """Five utterances of 2, 1, 1, 2 and 1 positions of three frames."""
    owner = np.array([0, 0, 1, 2, 3, 3, 4])
    phone = np.array(
        [[0, 0, 1], [1, 1, -1], [1, -1, -1], [2, 2, 2], [1, 1, 0], [-1, 2, 2], [1, 0, -1]]
    )
    return Speech(
        encoded=(),
        utterance=owner,
        part=np.array([TRAIN, TRAIN, VALID, TEST, TEST]),
        speaker_part=np.array([TRAIN, TRAIN, VALID, TEST, TEST]),
        speaker=np.array([1, 0, 1, 1, 0]),
        speaker_names=("ann", "bob"),
        phone=phone,
        phone_names=("a", "b", "c"),
        ids=tuple("vwxyz"),
        origin="by hand",
        seconds=1.0,
    )


def test_questions_are_about_the_rows_of_their_parts():
    said = []
    tasks = probe_tasks(Ablation(), speech_by_hand(), said.append, 128)
    assert said == []
    phone, frame, whole = tasks
    assert [q.name for q in tasks] == ["phone", "speaker-frame", "speaker-utterance"]
    for task in (phone, frame):
        assert task.train.rows.tolist() == [0, 1, 2]
        assert task.valid.rows.tolist() == [3]
        assert task.test.rows.tolist() == [4, 5, 6]
        assert task.owner.tolist() == [0, 0, 1]
        assert task.tested.tolist() == [3, 4]
        assert not task.pooled
        assert task.budget.hidden == 128
        assert task.budget.steps == Ablation().mlp_steps
    np.testing.assert_array_equal(phone.test.labels, speech_by_hand().phone[4:])
    assert [e.labels.ravel().tolist() for e in (frame.train, frame.valid, frame.test)] == [
        *([1, 1, 0], [1], [1, 1, 0])
    ]
    assert [e.rows.tolist() for e in (whole.train, whole.valid, whole.test)] == [
        *([0, 1], [2], [3, 4])
    ]
    assert whole.test.labels.tolist() == [[1], [0]]
    assert whole.owner.tolist() == [0, 1]
    assert whole.tested.tolist() == [3, 4]
    assert whole.pooled
    assert whole.budget.hidden == 0
    assert [q.classes for q in tasks] == [3, 2, 2]
    for task in probe_tasks(Ablation(), speech_by_hand(), said.append):
        assert task.budget.hidden == 0
        assert task.budget.steps == Ablation().probe_steps


def test_chance_is_the_commonest_class_of_training():
    phone, frame, whole = probe_tasks(Ablation(), speech_by_hand(), print)
    # Training: a 2, b 4; test: b, b, a, c, c, b, a.
    assert phone.chance() == pytest.approx(3 / 7)
    assert phone.frames().tolist() == [5, 2]
    # Training: bob twice, ann once; test: bob twice, ann once.
    assert frame.chance() == pytest.approx(2 / 3)
    assert frame.frames().tolist() == [2, 1]
    # A tie in training goes to the first one.
    assert whole.chance() == pytest.approx(1 / 2)
    assert whole.frames().tolist() == [1, 1]


def test_probe_steps_are_whole_evaluations():
    for steps in (10, 150, 7, 31, 26):
        (task,) = probe_tasks(
            Ablation(tasks=("phone",), probe_steps=steps), speech_by_hand(), print
        )
        budget = task.budget
        assert budget.steps == steps
        assert steps % budget.every == 0
        assert budget.every <= 25
        assert budget.batch == 3


def test_tasks_without_labels_are_left_out_in_words():
    bare = speech_by_hand()._replace(phone_names=(), speaker_part=None)
    said = []
    assert probe_tasks(Ablation(), bare, said.append) == ()
    assert [re.search("ablate: (.*) is left out", line).group(1) for line in said] == [
        *("phone", "speaker-frame", "speaker-utterance")
    ]
    said.clear()
    assert probe_tasks(Ablation(tasks=("reconstruction",)), bare, said.append) == ()
    assert said == []


def test_pooled_means_are_those_of_utterances():
    features = np.random.default_rng(0).normal(size=(2, 7, 3)).astype(np.float32)
    owner = speech_by_hand().utterance
    found = pooled_means(jnp.asarray(features), owner)
    for utterance in range(5):
        expected = features[:, owner == utterance].mean(1)
        np.testing.assert_allclose(found[:, utterance], expected, atol=1e-6)


def test_error_of_the_mean_is_that_of_a_plain_loop_over_test_utterances():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(4, 9, 6)).astype(np.float32)
    lengths = np.array([9, 5, 7, 3])
    valid = np.arange(9) < lengths[:, None]
    batch = SimpleNamespace(targets=targets, valid=valid, utterance=np.array([2, 0, 1, -1]))
    speech = SimpleNamespace(encoded=(batch,), part=np.array([TEST, TRAIN, TEST]))
    errors = []
    for row in (0, 1):
        frames = targets[row, : lengths[row]]
        mean = sum(frames) / lengths[row]
        errors.append(sum(abs(frame - mean).mean() for frame in frames) / lengths[row])
    assert mean_frame_error(speech) == pytest.approx(sum(errors) / 2, rel=1e-5)
