"""Attention between phones: the paper's sum over frames, uniform attention, own segments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from sat_jax.analysis.phone_maps import (
    phone_attention,
    phone_frames,
    same_segment,
    uniform_phone_attention,
)
from sat_jax.analysis.phone_summary import leaving, relation, same_share

B, H, T, P = 8, 3, 9, 5
STACKS = (1, 2, 3)


def relate(probs, valid, labels, stack):
    """Joint, own and recurring, then the same for uniform attention, of one batch."""
    frames = phone_frames(labels, valid, stack, P)
    return *phone_attention(probs, valid, frames), *uniform_phone_attention(valid, frames)


related = functools.partial(jax.jit, static_argnames="stack")(relate)


def runs(rng, frames):
    """Labels (frames,) in runs, of which neighbours may have the same label; P - 1 never occurs."""
    lengths = rng.integers(1, 5, frames)
    return np.repeat(rng.integers(0, P - 1, frames), lengths)[:frames]


def softmax_maps(rng, n):
    sharp = np.exp(rng.normal(size=(H, n, n)) * rng.uniform(0.1, 5, (H, 1, 1)))
    return sharp / sharp.sum(-1, keepdims=True)


def special_maps(n):
    """Identity, one column, uniform."""
    column = np.zeros((n, n))
    column[:, n // 2] = 1
    return np.stack([np.eye(n), column, np.full((n, n), 1 / n)])


def batch(seed, stack):
    """Maps with garbage in the rows of padding, valid, labels with frames that fill no position.

    Of every batch, the first map is special, the second utterance is all silence (0), the third one
    position long.
    """
    rng = np.random.default_rng(seed)
    lengths = np.array([T, T, 1, *rng.integers(2, T + 1, B - 3)])
    probs = np.zeros((B, H, T, T), np.float32)
    labels = np.full((B, T * stack + 2), -1, np.int32)
    for row, n in enumerate(lengths):
        probs[row, :, :n, :n] = softmax_maps(rng, n) if row else special_maps(n)
        probs[row, :, n:] = rng.uniform(0, 1, (H, T - n, T))
        # Of frames that do not fill a position there are up to stack - 1.
        labels[row, : n * stack + stack - 1] = runs(rng, n * stack + stack - 1)
    labels[1] = np.where(labels[1] >= 0, 0, -1)
    return probs, np.arange(T) < lengths[:, None], labels, lengths


def oracle(probs, labels, stack):
    """One map (n, n) repeated to frames; labels (frames,): joint (P, P), own and recurring (P,)."""
    maps = np.repeat(np.repeat(probs.astype(np.float64), stack, 0), stack, 1)
    maps /= maps.sum(1, keepdims=True)
    t = len(maps)
    joint, own, recurring = np.zeros((P, P)), np.zeros(P), np.zeros(P)
    for q in range(t):
        np.add.at(joint[labels[q]], labels[:t], maps[q] / t)
        first, last = q, q
        while first > 0 and labels[first - 1] == labels[q]:
            first -= 1
        while last < t - 1 and labels[last + 1] == labels[q]:
            last += 1
        own[labels[q]] += maps[q, first : last + 1].sum() / t
        others = [k for k in range(t) if labels[k] == labels[q] and not first <= k <= last]
        recurring[labels[q]] += maps[q, others].sum() / t
    return joint, own, recurring


@pytest.mark.parametrize("stack", STACKS)
def test_sums_over_positions_are_the_sums_over_frames(stack):
    for seed in range(4):
        probs, valid, labels, lengths = batch(seed, stack)
        found = related(probs, valid, labels, stack)
        for row, n in enumerate(lengths):
            for head in range(H):
                wanted = oracle(probs[row, head, :n, :n], labels[row], stack)
                for got, part in zip(found[:3], wanted, strict=True):
                    np.testing.assert_allclose(got[row, head], part, rtol=1e-5, atol=1e-6)
            uniform = oracle(np.full((n, n), 1 / n), labels[row], stack)
            for got, part in zip(found[3:], uniform, strict=True):
                np.testing.assert_allclose(got[row], part, rtol=1e-5, atol=1e-6)
        for shares in (found[0], found[3]):
            np.testing.assert_allclose(shares.sum((-2, -1)), 1, rtol=1e-5)


@pytest.mark.parametrize("stack", STACKS)
def test_closed_forms(stack):
    probs, valid, labels, lengths = batch(5, stack)
    joint, own, _, joint_uniform, own_uniform, _ = (
        np.asarray(x) for x in related(probs, valid, labels, stack)
    )
    frames = labels[0, : T * stack]
    share = np.bincount(frames, minlength=P) / len(frames)
    identity, column, uniform = joint[0]
    # A position that attends to itself gives each of its frames to all of its frames.
    inside = frames.reshape(T, stack)
    pairs = [(m, n) for group in inside for m in group for n in group]
    wanted = np.zeros((P, P))
    np.add.at(wanted, tuple(np.transpose(pairs)), 1 / len(pairs))
    np.testing.assert_allclose(identity, wanted, atol=1e-6)
    key = np.bincount(inside[T // 2], minlength=P) / stack
    np.testing.assert_allclose(column, np.outer(share, key), atol=1e-6)
    np.testing.assert_allclose(uniform, np.outer(share, share), atol=1e-6)
    np.testing.assert_allclose(own[0, 2], own_uniform[0], atol=1e-6)
    of_uniform = np.asarray(relation(joint[0, 2], joint_uniform[0]))
    occurs = np.outer(share, share) > 0
    np.testing.assert_allclose(of_uniform[occurs], 0, atol=1e-5)
    assert np.isnan(of_uniform[~occurs]).all() and np.isnan(of_uniform[P - 1]).all()
    # Silence only: one segment, and everything stays in it.
    only = np.zeros((P, P))
    only[0, 0] = 1
    for shares in (*joint[1], joint_uniform[1]):
        np.testing.assert_allclose(shares, only, atol=1e-6)
    np.testing.assert_allclose(own[1], np.tile(only[0], (H, 1)), atol=1e-6)
    assert lengths[2] == 1
    np.testing.assert_allclose(own[2].sum(-1), (own_uniform[2]).sum(), atol=1e-6)
    np.testing.assert_allclose(joint[2], np.tile(joint_uniform[2], (H, 1, 1)), atol=1e-6)


def test_frames_of_a_phone_fill_positions_and_leftover_frames_are_dropped():
    labels = np.array([[3, 3, 3, 0, 0, 1, 1, 2], [1, 1, 2, 2, 2, -1, -1, -1]])
    valid = np.array([[True] * 3, [True, True, False]])
    frames = phone_frames(labels, valid, 2, 4)
    counts = [[[0, 0, 0, 2], [1, 0, 0, 1], [1, 1, 0, 0]], [[0, 2, 0, 0], [0, 0, 2, 0], [0] * 4]]
    assert np.asarray(frames.counts).tolist() == counts
    assert frames.labels.tolist() == [
        [[3, 3], [3, 0], [0, 1]],
        [[1, 1], [2, 2], [-1, -1]],
    ]
    assert frames.segment.tolist() == [[[0, 0], [0, 1], [1, 2]], [[0, 0], [1, 1], [-1, -1]]]


def test_segments_are_counted_by_frames_and_neighbours_of_one_label_are_one():
    probs, valid, labels, lengths = batch(7, 3)
    frames = phone_frames(labels, valid, 3, P)
    got = np.asarray(same_segment(frames.segment))
    for row, n in enumerate(lengths):
        y = labels[row, : n * 3]
        wanted = np.zeros((3, T, T))
        for q, k in np.ndindex(len(y), len(y)):
            between = y[min(q, k) : max(q, k) + 1]
            wanted[q % 3, q // 3, k // 3] += (between == y[q]).all()
        np.testing.assert_array_equal(got[row], wanted)


@pytest.mark.parametrize("stack", STACKS)
def test_neither_padding_nor_the_batch_matters(stack):
    probs, valid, labels, lengths = batch(11, stack)
    whole = related(probs, valid, labels, stack)
    order = np.random.default_rng(0).permutation(B)
    garbage = probs[order]
    labels = labels[order]
    for row, n in enumerate(lengths[order]):
        garbage[row, :, n:] = 1e9
        # Labels of padding, if there are any, count as little as its attention.
        labels[row, n * stack :] = row % P
    again = related(garbage, valid[order], labels, stack)
    for before, after in zip(whole, again, strict=True):
        np.testing.assert_allclose(after, before[order], rtol=1e-6, atol=1e-7)


def test_an_utterance_alone_is_as_it_is_in_a_batch():
    probs, valid, labels, lengths = batch(12, 2)
    whole = related(probs, valid, labels, 2)
    n = lengths[4]
    part = np.s_[4:5]
    alone = related(probs[part, :, :n, :n], valid[part, :n], labels[part, : 2 * n], 2)
    for before, after in zip(whole, alone, strict=True):
        np.testing.assert_allclose(after[0], before[4], rtol=1e-5, atol=1e-7)


def test_devices_do_not_matter():
    probs, valid, labels, _ = batch(13, 2)
    auto = (jax.sharding.AxisType.Auto,)
    over = NamedSharding(jax.make_mesh((8,), ("data",), axis_types=auto), PartitionSpec("data"))
    placed = [jax.device_put(x, over) for x in (probs, valid, labels)]
    shared = jax.jit(functools.partial(relate, stack=2), out_shardings=over)(*placed)
    for one, many in zip(related(probs, valid, labels, 2), shared, strict=True):
        assert len(many.sharding.device_set) == 8
        np.testing.assert_allclose(many, one, rtol=1e-6, atol=1e-7)


def test_low_precision_maps_are_summed_in_float32():
    probs, valid, labels, _ = batch(14, 2)
    low = jnp.asarray(probs, jnp.bfloat16)
    got = related(low, valid, labels, 2)
    exact = related(np.asarray(low, np.float32), valid, labels, 2)
    for one, other in zip(got, exact, strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_leaves_where_attention_stays_in_its_segment(seed):
    rng = np.random.default_rng(seed)
    t = 300
    labels = np.repeat(rng.integers(0, P, t), rng.integers(1, 12, t))[:t][None]
    valid = np.ones((1, t), bool)
    frames = phone_frames(jnp.asarray(labels), jnp.asarray(valid), 1, P)
    inside = np.asarray(same_segment(frames.segment))[0, 0]
    maps = inside * rng.uniform(0, 1, (t, t)) ** 4
    maps = (maps / maps.sum(1, keepdims=True)).astype(np.float32)
    joint, own, recurring = related(maps[None, None], valid, labels, 1)[:3]
    assert own.sum() == pytest.approx(1, rel=1e-5)
    assert not np.asarray(recurring).any()
    assert not np.asarray(leaving(joint, recurring)).any()


def test_little_that_recurs_is_not_rounded_away():
    labels = np.array([[1, 1, 0, 1, 1]])
    little = 2.0**-30
    maps = np.eye(5, dtype=np.float32)
    maps[0, 4] = little
    recurring = np.asarray(related(maps[None, None], np.ones((1, 5), bool), labels, 1)[2])
    assert recurring[0, 0, 1] == np.float32(little) / 5


def test_what_leaves_is_what_a_mask_of_frames_leaves():
    for seed in range(3):
        probs, valid, labels, lengths = batch(20 + seed, 2)
        joint, _, recurring, joint_uniform, _, recurring_uniform = related(probs, valid, labels, 2)
        got = np.asarray(leaving(joint, recurring))
        by_chance = np.asarray(leaving(joint_uniform, recurring_uniform))
        for row, n in enumerate(lengths):
            y = labels[row, : 2 * n]
            segment = np.r_[0, (np.diff(y) != 0).cumsum()]
            for head, left in enumerate((*got[row], by_chance[row])):
                a = probs[row, head, :n, :n] if head < H else np.full((n, n), 1 / n)
                a = np.repeat(np.repeat(a.astype(np.float64), 2, 0), 2, 1)
                a[segment[:, None] == segment[None, :]] = 0
                wanted = np.zeros((P, P))
                np.add.at(wanted, (y[:, None], y[None, :]), a)
                wanted /= wanted.sum() or 1
                np.testing.assert_allclose(left, wanted, atol=2e-6)


def test_same_share_is_the_diagonal_of_what_is_not_silence():
    joint = np.random.default_rng(0).uniform(size=(4, P, P)).astype(np.float32)
    spoken = joint[:, [0, 1, 3, 4]]
    diagonal = sum(joint[:, p, p] for p in (0, 1, 3, 4))
    np.testing.assert_allclose(same_share(joint, 2), diagonal / spoken.sum((1, 2)), rtol=1e-5)
    every = np.trace(joint, axis1=1, axis2=2) / joint.sum((1, 2))
    np.testing.assert_allclose(same_share(joint, -1), every, rtol=1e-5)
    assert same_share(jnp.eye(P), 0) == 1
