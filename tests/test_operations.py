"""Named operations: heads built to do one thing, and what is large and certain."""

import itertools

import numpy as np
import pytest
from four_phones import PHONES, SILENCE, P, one_each

from sat_jax.analysis.operations import (
    EFFECT,
    Operation,
    is_strong,
    named_operations,
    short_text,
    strength,
)
from sat_jax.analysis.phone_summary import (
    summarise_phones,
)
from sat_jax.records.phones import Interval, PhoneSummary

SEGMENTS = [[0], [1, 1], [2, 2], [1], [0], [3, 3], [2], [0, 0], [3], [1]]


def speech(seed):
    """Labels (14,) of the segments in an order in which no neighbours are alike."""
    rng = np.random.default_rng(seed)
    while True:
        order = [SEGMENTS[i] for i in rng.permutation(len(SEGMENTS))]
        if all(a[0] != b[0] for a, b in itertools.pairwise(order)):
            return np.concatenate(order)


def heads_of(labels):
    """Maps (7, T, T) of heads that do one thing each, all else uniform."""
    t = len(labels)
    segment = np.r_[0, (np.diff(labels) != 0).cumsum()]
    same = labels[:, None] == labels[None, :]
    elsewhere = segment[:, None] != segment[None, :]
    keys = np.broadcast_to(labels, (t, t))
    weights = [
        np.ones((t, t)),
        keys == 0,
        keys != 0,
        np.where(labels[:, None] == 0, 1, same & elsewhere),
        np.where(labels[:, None] == 0, 1, ~same),
        1 + 5 * (keys == 2),
        1 - 0.9 * (keys == 3),
    ]
    maps = np.stack([np.asarray(each, float) for each in weights])
    return maps / maps.sum(-1, keepdims=True)


NAMED = (
    set(),
    {("attends to silence", ""), ("focus", "sil")},
    {("not to silence", ""), ("neglect", "sil")},
    {("same phone elsewhere", "")},
    {("not the same phone elsewhere", "")},
    {("focus", "b")},
    {("neglect", "s")},
)
"""What must be found, in the order of `heads_of`, and the only thing that may be of its kind."""


@pytest.fixture(scope="module")
def built():
    """Operations of the heads of `heads_of`, from utterances of shuffled phones."""
    rows = []
    for seed in range(20):
        labels = speech(seed)
        segment = np.r_[0, (np.diff(labels) != 0).cumsum()]
        inside = segment[:, None] == segment[None, :]
        t = len(labels)
        phone = np.eye(P)[labels]
        noise = np.random.default_rng(seed).uniform(0.9, 1.1, (7, t, t))
        maps = heads_of(labels) * noise
        maps = np.concatenate([maps / maps.sum(-1, keepdims=True), np.full((1, t, t), 1 / t)])
        joint = np.einsum("qm,hqk,kn->hmn", phone, maps, phone) / t
        own = np.einsum("qm,hqk->hm", phone, maps * inside) / t
        rows.append((joint[None, :-1], own[None, :-1], joint[-1], own[-1]))
    attention = one_each(*(np.stack(column) for column in zip(*rows, strict=True)))
    summary = summarise_phones(attention, SILENCE, draws=200)
    return summary, named_operations(summary, PHONES)


def test_heads_are_named_for_what_they_were_built_to_do(built):
    summary, operations = built
    for head, wanted in enumerate(NAMED):
        mine = [op for op in operations if (op.layer, op.head) == (0, head)]
        found = {(op.name, op.phone) for op in mine}
        assert wanted <= found, (head, found)
        strengths = [strength(op.effect) for op in mine]
        assert strengths == sorted(strengths, reverse=True)
        for op in mine:
            assert op.low - 1e-5 <= op.effect <= op.high + 1e-5
            assert (op.low > 1) != (op.high < 1)
            assert op.effect >= EFFECT or op.effect <= 1 / EFFECT
    assert [op.head for op in operations] == sorted(op.head for op in operations)
    assert not [op for op in operations if op.head == 0]
    assert {op.phone for op in operations if op.head == 5 and op.name == "focus"} == {"b"}
    assert {(op.name, op.phone) for op in operations if op.head == 6} == NAMED[6]


def test_effects_are_ratios_to_uniform_attention(built):
    summary, operations = built
    by_name = {(op.head, op.name, op.phone): op for op in operations}
    assert by_name[1, "attends to silence", ""].effect == pytest.approx(
        1 / summary.silence_uniform, rel=1e-4
    )
    assert by_name[2, "not to silence", ""].effect == 0
    assert by_name[2, "neglect", "sil"].effect == pytest.approx(0, abs=1e-6)
    assert by_name[4, "not the same phone elsewhere", ""].effect == pytest.approx(0, abs=1e-4)
    assert by_name[5, "focus", "b"].effect == pytest.approx(
        1 + summary.concentration.value[0, 5, 2], rel=1e-6
    )


def certain(shape, value):
    return Interval(*(np.full(shape, value) for _ in range(3)))


def plain_summary(**changes):
    """A summary of two heads that do nothing, less the changes."""
    fields = {
        "relation": np.zeros((1, 2, P, P)),
        "elsewhere": np.zeros((1, 2, P, P)),
        "concentration": certain((1, 2, P), 0.0),
        "silence": certain((1, 2), 0.2),
        "silence_uniform": 0.2,
        "own": certain((1, 2), 0.1),
        "own_uniform": 0.1,
        "same": certain((1, 2), 1.0),
        "towards_silence": certain((1, 2), 1.0),
    }
    return PhoneSummary(**({"seen": np.full(P, 50)} | fields | changes))


def test_what_is_not_known_is_never_named():
    assert named_operations(plain_summary(), PHONES) == []
    unknown = plain_summary(
        concentration=certain((1, 2, P), np.nan),
        same=certain((1, 2), np.nan),
        towards_silence=certain((1, 2), np.nan),
    )
    assert named_operations(unknown, PHONES) == []


def test_what_too_few_utterances_show_is_never_named():
    strong = certain((1, 2, P), 3.0)
    everywhere = plain_summary(concentration=strong)
    assert len(named_operations(everywhere, PHONES)) == 2 * P
    seen = np.full(P, 50)
    seen[1] = 4
    named = named_operations(plain_summary(concentration=strong, seen=seen), PHONES)
    assert {op.phone for op in named} == set(PHONES) - {PHONES[1]}
    none = plain_summary(same=certain((1, 2), 9.0), seen=np.full(P, 4))
    assert named_operations(none, PHONES) == []


@pytest.mark.parametrize(
    ("value", "low", "high", "strong"),
    [
        (1.5, 1.2, 2, True),
        (1.49, 1.4, 1.6, False),
        (3, 0.9, 9, False),
        (1 / 1.5, 0.3, 0.9, True),
        (0.7, 0.6, 0.8, False),
        (0.1, 0.01, 1.01, False),
        (0, 0, 0, True),
        (np.nan, 2, 3, False),
        (3, np.nan, np.nan, False),
    ],
)
def test_an_operation_is_large_and_certain(value, low, high, strong):
    assert is_strong(value, low, high) == strong


def test_operations_of_one_head_come_with_the_strongest_first():
    value = np.zeros((1, 2, P))
    value[0, 1] = [1.0, 0.1, -0.9, 3.0]
    same = np.array([[1.0, 0.2]])
    summary = plain_summary(
        concentration=Interval(value, value, value), same=Interval(same, same, same)
    )
    assert named_operations(summary, PHONES) == [
        Operation(0, 1, "neglect", "b", pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1)),
        Operation(0, 1, "not the same phone elsewhere", "", 0.2, 0.2, 0.2),
        Operation(0, 1, "focus", "s", 4, 4, 4),
        Operation(0, 1, "focus", "sil", 2, 2, 2),
    ]


def test_strength_is_alike_in_both_directions():
    assert strength(4) == pytest.approx(strength(0.25)) == pytest.approx(np.log(4))
    assert strength(1) == 0
    assert strength(0) > strength(1e-3) > strength(0.5)


def operation(name, phone=""):
    return Operation(0, 0, name, phone, 2.0, 1.8, 2.2)


def test_short_text_names_few_phones_and_every_other_operation():
    assert short_text([]) == ""
    assert short_text([operation("attends to silence")]) == "attends to silence"
    many = [operation("neglect", "a"), operation("not the same phone elsewhere")]
    many += [operation("focus", phone) for phone in ("s", "z", "f", "v", "th")]
    assert short_text(many) == "focus: s, z, f +2; neglect: a; not the same phone elsewhere"
    assert (
        short_text(many, most=5)
        == "focus: s, z, f, v, th; neglect: a; not the same phone elsewhere"
    )
