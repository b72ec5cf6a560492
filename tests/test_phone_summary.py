"""Phone summaries and named operations: means, paired draws, and heads built to do one thing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax.analysis.bootstrap import bootstrap_weights
from sat_jax.analysis.operations import (
    EFFECT,
    Operation,
    is_strong,
    named_operations,
    short_text,
    strength,
)
from sat_jax.analysis.phone_summary import (
    Attention,
    concentration,
    leaving,
    relation,
    summarise_phones,
)
from sat_jax.records.phones import Interval, PhoneSummary

PHONES = ("sil", "a", "b", "s")
P, SILENCE = len(PHONES), 0
L, H = 2, 3
INTERVALS = ("concentration", "silence", "own", "same", "towards_silence")


def one_each(joint, own, joint_uniform, own_uniform):
    return Attention(np.ones(len(joint)), joint, own, joint_uniform, own_uniform)


def random_attention(seed, utterances, layers=L, heads=H, rare=3):
    """What `phone_attention` could give: own is a part of the diagonal.

    The rare phone is in the first utterance only, so that some draws lack it.
    """
    rng = np.random.default_rng(seed)
    occurs = np.ones((utterances, P))
    occurs[1:, rare:] = 0
    pairs = occurs[:, :, None] * occurs[:, None, :]
    shape = utterances, layers, heads, P, P

    def shares(size, pairs):
        joint = rng.gamma(2.0, size=size) * pairs
        joint /= joint.sum((-2, -1), keepdims=True)
        diagonal = np.diagonal(joint, axis1=-2, axis2=-1)
        return joint, diagonal * rng.uniform(0.1, 0.9, diagonal.shape)

    return one_each(*shares(shape, pairs[:, None, None]), *shares((utterances, P, P), pairs))


def weighted(attention, weights):
    """Plain means of everything over utterances with weights (U,)."""
    return [np.tensordot(weights, values.astype(np.float64), 1) for values in attention[1:]]


def oracle(attention, weights, silence):
    """The statistics of every head for weights (U,) that sum to 1, by loops over pairs."""
    joint, own, joint_uniform, own_uniform = weighted(attention, weights)

    def elsewhere(joint, own):
        left = joint - np.diag(own)
        return left / left.sum()

    def same(left):
        spoken = [p for p in range(P) if p != silence]
        return sum(left[p, p] for p in spoken) / sum(left[p, n] for p in spoken for n in range(P))

    def related(joint, uniform):
        ratio = np.full((P, P), np.nan)
        for m, n in np.ndindex(P, P):
            if uniform[m, n] > 0:
                ratio[m, n] = (joint[m, n] - uniform[m, n]) / uniform[m, n]
        return ratio

    left_uniform = elsewhere(joint_uniform, own_uniform)
    found = {name: np.zeros(joint.shape[:2]) for name in ("silence", "own", "same")}
    found |= {name: np.zeros(joint.shape) for name in ("relation", "elsewhere")}
    found["concentration"] = np.zeros(own.shape)
    found["towards_silence"] = np.zeros(joint.shape[:2])
    for at in np.ndindex(joint.shape[:2]):
        found["relation"][at] = related(joint[at], joint_uniform)
        found["elsewhere"][at] = related(elsewhere(joint[at], own[at]), left_uniform)
        for n in range(P):
            column = [x for x in found["relation"][at][:, n] if not np.isnan(x)]
            found["concentration"][at][n] = sum(column) / len(column) if column else np.nan
        found["silence"][at] = joint[at][:, silence].sum() if silence >= 0 else np.nan
        found["towards_silence"][at] = found["silence"][at] / joint_uniform[:, silence].sum()
        found["own"][at] = own[at].sum()
        found["same"][at] = same(elsewhere(joint[at], own[at])) / same(left_uniform)
    return found


def value_of(summary, name):
    found = getattr(summary, name)
    return found.value if isinstance(found, Interval) else found


@pytest.mark.parametrize("silence", [SILENCE, 2, -1])
def test_values_and_intervals_are_those_of_resampled_utterances(silence):
    attention = random_attention(0, 12)
    summary = summarise_phones(attention, silence, draws=60, seed=3)
    for name, wanted in oracle(attention, np.full(12, 1 / 12), silence).items():
        np.testing.assert_allclose(
            value_of(summary, name), wanted, rtol=1e-4, atol=1e-5, err_msg=name
        )
    # Every draw takes the same utterances for every head and for uniform attention as well.
    weights = np.asarray(bootstrap_weights(jax.random.key(3), 12, 60), np.float64)
    drawn = [oracle(attention, each, silence) for each in weights]
    for name in INTERVALS:
        values = np.stack([each[name] for each in drawn])
        if np.isnan(values).all():
            assert name in ("silence", "towards_silence") and silence == -1
            assert np.isnan(np.array(getattr(summary, name))).all()
            continue
        ends = np.nanpercentile(values, (2.5, 97.5), axis=0)
        for end, wanted in zip(getattr(summary, name)[1:], ends, strict=True):
            np.testing.assert_allclose(end, wanted, rtol=1e-4, atol=1e-5, err_msg=name)
    chance = attention.joint_uniform[:, :, silence].sum(1).mean() if silence >= 0 else np.nan
    assert summary.silence_uniform == pytest.approx(chance, rel=1e-5, nan_ok=True)
    assert summary.own_uniform == pytest.approx(attention.own_uniform.sum(1).mean(), rel=1e-5)


def test_groups_of_unequal_size_give_the_mean_over_utterances():
    attention = random_attention(1, 12)
    sizes = [1, 5, 2, 4]
    firsts = np.cumsum([0, *sizes[:-1]])
    grouped = Attention(*(np.add.reduceat(values, firsts) for values in attention))
    assert grouped.n.tolist() == sizes
    summary = summarise_phones(grouped, SILENCE, draws=50, seed=5)
    for name, wanted in oracle(attention, np.full(12, 1 / 12), SILENCE).items():
        np.testing.assert_allclose(
            value_of(summary, name), wanted, rtol=1e-4, atol=1e-5, err_msg=name
        )
    # A draw of groups is a draw of all the utterances in them.
    drawn = []
    for weights in np.asarray(bootstrap_weights(jax.random.key(5), 4, 50), np.float64):
        each = np.repeat(weights, sizes)
        drawn.append(oracle(attention, each / each.sum(), SILENCE)["own"])
    ends = np.percentile(drawn, (2.5, 97.5), axis=0)
    np.testing.assert_allclose(np.array(summary.own[1:]), ends, rtol=1e-4)


def test_intervals_contain_the_value_and_are_as_wide_as_the_standard_error():
    utterances = 300
    attention = random_attention(2, utterances, 1, 2, rare=P)
    summary = summarise_phones(attention, SILENCE, draws=1000)
    for name in INTERVALS:
        value, low, high = getattr(summary, name)
        assert (low < value).all() and (value < high).all(), name
    shares = {"silence": attention.joint[..., SILENCE].sum(-1), "own": attention.own.sum(-1)}
    for name, each in shares.items():
        _, low, high = getattr(summary, name)
        wanted = 2 * 1.96 * each.std(0) / np.sqrt(utterances)
        np.testing.assert_allclose(high - low, wanted, rtol=0.15)


def test_utterances_that_are_all_alike_leave_no_width():
    one = random_attention(3, 1)
    alike = Attention(*(np.repeat(values, 12, axis=0) for values in one))
    summary = summarise_phones(alike, SILENCE, draws=60)
    for name in INTERVALS:
        value, low, high = getattr(summary, name)
        np.testing.assert_allclose(low, value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(high, value, rtol=1e-5, atol=1e-6)


def test_uniform_attention_is_indifferent_for_certain():
    attention = random_attention(5, 12)
    heads = (12, L, H)
    uniform = attention._replace(
        joint=np.broadcast_to(attention.joint_uniform[:, None, None], (*heads, P, P)),
        own=np.broadcast_to(attention.own_uniform[:, None, None], (*heads, P)),
    )
    summary = summarise_phones(uniform, SILENCE, draws=60)
    for part in summary.concentration:
        np.testing.assert_allclose(part, 0, atol=1e-5)
    for part in (*summary.same, *summary.towards_silence):
        np.testing.assert_allclose(part, 1, atol=1e-4)
    assert named_operations(summary, PHONES) == []


def test_attention_that_is_not_a_number_is_nothing():
    attention = random_attention(8, 12)
    attention.joint[3, 1, 2], attention.own[3, 1, 2] = np.nan, np.nan
    summary = summarise_phones(attention, SILENCE, draws=60)
    for name in ("relation", "elsewhere", *INTERVALS):
        assert np.isnan(value_of(summary, name)[1, 2]).all(), name
    assert not [op for op in named_operations(summary, PHONES) if (op.layer, op.head) == (1, 2)]


def test_a_phone_that_never_occurs_is_undefined_and_left_out_of_means():
    attention = random_attention(6, 12)
    absent = attention._replace(**{
        name: values * np.where(np.arange(P) == 3, 0, 1)
        for name, values in attention._asdict().items() if name != "n"
    })  # fmt: skip
    absent.joint[..., 3, :] = absent.joint_uniform[..., 3, :] = 0
    summary = summarise_phones(absent, SILENCE, draws=60)
    assert np.isnan(summary.relation[..., 3]).all() and np.isnan(summary.relation[..., 3, :]).all()
    assert not np.isnan(summary.relation[..., :3, :3]).any()
    assert np.isnan(np.array(summary.concentration)[..., 3]).all()
    wanted = summary.relation[..., :3, :3].mean(-2)
    np.testing.assert_allclose(summary.concentration.value[..., :3], wanted, rtol=1e-5, atol=1e-6)
    assert not any(op.phone == "s" for op in named_operations(summary, PHONES))


def test_relation_concentration_and_leaving_by_hand():
    joint = jnp.array([[0.2, 0.1], [0.4, 0.3]])
    uniform = jnp.array([[0.1, 0.2], [0.2, 0.0]])
    got = relation(joint, uniform)
    np.testing.assert_allclose(got, [[1, -0.5], [1, np.nan]], rtol=1e-6)
    np.testing.assert_allclose(concentration(got), [1, -0.5], rtol=1e-6)
    np.testing.assert_allclose(
        leaving(joint, jnp.array([0.1, 0.3])), np.array([[1, 1], [4, 0]]) / 6, rtol=1e-5
    )
    assert not leaving(jnp.diag(jnp.array([0.6, 0.4])), jnp.array([0.6, 0.4])).any()


# Operations.

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
