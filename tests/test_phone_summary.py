"""Phone summaries: means, paired draws, what is undefined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from four_phones import PHONES, SILENCE, P, one_each

from sat_jax.analysis.bootstrap import bootstrap_weights
from sat_jax.analysis.operations import named_operations
from sat_jax.analysis.phone_summary import (
    Attention,
    concentration,
    leaving,
    relation,
    summarise_phones,
)
from sat_jax.records.phones import Interval

L, H = 2, 3
INTERVALS = ("concentration", "silence", "own", "same", "towards_silence")


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
    joint, own, _, joint_uniform, own_uniform, _ = weighted(attention, weights)

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
        recurring=np.broadcast_to(attention.recurring_uniform[:, None, None], (*heads, P)),
    )
    summary = summarise_phones(uniform, SILENCE, draws=60)
    for part in summary.concentration:
        np.testing.assert_allclose(part, 0, atol=1e-5)
    for part in (*summary.same, *summary.towards_silence):
        np.testing.assert_allclose(part, 1, atol=1e-4)
    assert named_operations(summary, PHONES) == []


def test_attention_that_is_not_a_number_is_nothing():
    attention = random_attention(8, 12)
    for values in (attention.joint, attention.own, attention.recurring):
        values[3, 1, 2] = np.nan
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
        leaving(joint, jnp.array([0.1, 0.0])), np.array([[1, 1], [4, 0]]) / 6, rtol=1e-5
    )
    assert not leaving(jnp.diag(jnp.array([0.6, 0.4])), jnp.zeros(2)).any()
