"""Segmentation: the literal definition of supplement 2, and counts of boundaries that it finds."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from segment_oracles import block_diagonal, oracle, oracle_hits, oracle_minima

from sat_jax.analysis.segment_score import (
    SCORES,
    count_hits,
    half_frame_times,
    score,
)
from sat_jax.analysis.segmentation import (
    boundary_counts,
    distances,
    furthest,
    mean_distance,
    mean_similarity,
    minima,
    overlap,
    reaches,
)
from sat_jax.records.boundaries import TOLERANCE, targets

T = 20
ALPHAS = np.array([0.3, 1.5])
"""Multiples of the mean distance."""
BETAS = np.array([[0.6, 0.93, 4.0], [0.9, 1.1, 2.5]])
"""The largest are so large that rows do not resemble even themselves enough."""
WINDOW, HOP = 400, 160
FIRST = WINDOW / 2
"""Centre of the first frame, in samples."""
BATCH = 8


def softmax_rows(rng):
    logits = rng.normal(size=(T, T)).cumsum(0) * rng.uniform(0.3, 2)
    sharp = np.exp(logits - logits.max(1, keepdims=True))
    return sharp / sharp.sum(1, keepdims=True)


def one_differs(rng):
    rows = np.tile(rng.normal(size=T), (T, 1))
    rows[rng.integers(2, 10)] += 3
    return rows


KINDS = {
    "noise": lambda rng: rng.normal(size=(T, T)),
    "walk": lambda rng: rng.normal(size=(T, T)).cumsum(0),
    "line": lambda rng: np.arange(T)[:, None] * rng.normal(size=T) + rng.normal(size=(T, T)) / 9,
    "attention": softmax_rows,
    "blocks": lambda rng: block_diagonal(rng.permutation([4, 1, 2, 6, 3, 4])),
    "equal": lambda rng: np.tile(rng.normal(size=T), (T, 1)),
    "one differs": one_differs,
}


def cases():
    """Rows (n, T) of every kind, as long as the batch and shorter."""
    for seed, (kind, make) in itertools.product(range(2), KINDS.items()):
        rows = make(np.random.default_rng(seed)).astype(np.float32)
        yield f"{kind} {seed}", rows
        yield f"{kind} {seed}, short", rows[: 13 + seed]
    yield "two frames", np.float32(KINDS["noise"](np.random.default_rng(2))[:2])
    yield "one frame", np.float32(KINDS["noise"](np.random.default_rng(3))[:1])


CASES = dict(cases())


def scale(rows):
    """Mean distance of two different rows, 1 where there is none."""
    n = len(rows)
    apart = np.sqrt(((rows[:, None].astype(np.float64) - rows[None]) ** 2).sum(-1))
    return apart.sum() / (n * (n - 1)) if apart.any() else 1.0


@functools.cache
def expected(name, stack):
    """Scores and boundaries of a case for every alpha and beta, as `boundaries` gives them."""
    rows = CASES[name]
    scores = np.zeros((*BETAS.shape, T * stack), int)
    found = np.zeros((*BETAS.shape, 2 * T * stack - 1), bool)
    for a, b in np.ndindex(BETAS.shape):
        s, margin = oracle(np.repeat(rows, stack, 0), ALPHAS[a] * scale(rows), BETAS[a, b])
        assert margin > 2e-5, f"{name} has no margin: rounding would decide"
        scores[a, b, : len(s)] = s
        found[a, b, : 2 * len(s) - 1] = oracle_minima(s)
    return scores, found


@functools.partial(jax.jit, static_argnames="stack")
def seen(rows, valid, alpha, beta, stack):
    """Scores of a batch, and its counts with each half frame in turn as the only target."""

    def utterance(rows, valid, alpha):
        apart = distances(rows, valid)
        target = jnp.eye(2 * T * stack - 1, dtype=jnp.int32) - 1
        count = functools.partial(boundary_counts, alpha=alpha, beta=beta, stack=stack)
        counts = jax.vmap(lambda one: count(apart, valid, one))(target)
        similarity = jax.vmap(lambda a: mean_similarity(apart, valid, a))(alpha)
        limit = -alpha[:, None, None] * jnp.log(beta[:, :, None] * similarity[:, None])
        extents = reaches(*furthest(apart), jnp.where(valid, limit, 0).reshape(-1, T))
        scores = jax.vmap(lambda left, right: overlap(left, right, stack))(*extents)
        return scores.reshape(*beta.shape, -1), jnp.moveaxis(counts, 0, 2)

    return jax.vmap(utterance)(rows, valid, alpha)


def boundaries(many, alphas, stack):
    """Scores (n, A, G, frames) and boundaries at half frames (n, A, G, ...) of rows [(n, T)].

    Each is padded to T rows with garbage, of which some is not even a number.
    """
    size = -(-len(many) // BATCH) * BATCH
    rows = np.random.default_rng(9).normal(size=(size, T, T)).astype(np.float32) * 50
    rows[:, -1] = np.nan
    lengths, alpha = np.ones(size, int), np.ones((size, len(ALPHAS)), np.float32)
    for i, values in enumerate(many):
        rows[i, : len(values)], lengths[i], alpha[i] = values, len(values), alphas[i]
    valid = np.arange(T) < lengths[:, None]
    parts = [
        seen(*(x[first : first + BATCH] for x in (rows, valid, alpha)), np.float32(BETAS), stack)
        for first in range(0, size, BATCH)
    ]
    scores, counts = (np.concatenate(x)[: len(many)] for x in zip(*parts, strict=True))
    # A boundary is a hit for its own target only, so that hits add up to predictions.
    np.testing.assert_array_equal(counts[..., 0].sum(-1), counts[..., 0, 1])
    return scores, counts[..., 0]


def alphas_of(names):
    return [ALPHAS * scale(CASES[name]) for name in names]


@pytest.mark.parametrize("stack", [1, 3])
def test_scores_and_boundaries_are_the_literal_definition(stack):
    scores, found = boundaries([*CASES.values()], alphas_of(CASES), stack)
    for i, name in enumerate(CASES):
        s, places = expected(name, stack)
        np.testing.assert_array_equal(scores[i], s, err_msg=name)
        np.testing.assert_array_equal(found[i], places, err_msg=name)
    known = [expected(name, stack)[0][..., : 13 * stack] for name in CASES if "frame" not in name]
    assert any((s == 0).any() and (s > 0).any() for each in known for s in each.reshape(6, -1)), (
        "no case has rows that do not resemble themselves beside rows that do"
    )


def test_two_frames_or_one_have_no_boundary():
    _, found = boundaries([CASES["two frames"], CASES["one frame"]], [ALPHAS] * 2, 1)
    assert not found.any()


def test_repeating_rows_and_columns_of_attention_is_a_matter_of_alpha():
    maps = [CASES[name].astype(np.float64) for name in ("attention 0", "attention 1", "blocks 1")]
    alphas = [ALPHAS * scale(each) / 2 for each in maps]
    scores, _ = boundaries(maps, [alpha * np.sqrt(3) for alpha in alphas], 3)
    for i, each in enumerate(maps):
        frames = np.repeat(np.repeat(each, 3, 0), 3, 1)
        frames /= frames.sum(1, keepdims=True)
        for a, b in np.ndindex(BETAS.shape):
            s, margin = oracle(frames, alphas[i][a], BETAS[a, b])
            assert margin > 2e-5
            np.testing.assert_array_equal(scores[i, a, b], s)


WHOLE = [name for name, rows in CASES.items() if len(rows) == T]


@pytest.mark.parametrize(
    ("change", "stretch"),
    [
        (lambda rows: rows + np.linspace(-3, 3, T, dtype=np.float32), 1),
        (lambda rows: rows * 17, 17),
        (lambda rows: rows / 1000, 1e-3),
        (lambda rows: rows[:, np.random.default_rng(5).permutation(T)], 1),
    ],
    ids=["common offset", "larger rows", "smaller rows", "features in another order"],
)
def test_what_does_not_change_resemblance_changes_nothing(change, stretch):
    alphas = [alpha * stretch for alpha in alphas_of(WHOLE)]
    scores, _ = boundaries([change(CASES[name]) for name in WHOLE], alphas, 3)
    for i, name in enumerate(WHOLE):
        np.testing.assert_array_equal(scores[i], expected(name, 3)[0], err_msg=name)


def test_backwards_speech_has_its_boundaries_backwards():
    scores, found = boundaries([CASES[name][::-1] for name in WHOLE], alphas_of(WHOLE), 3)
    for i, name in enumerate(WHOLE):
        s, places = expected(name, 3)
        np.testing.assert_array_equal(scores[i], s[..., ::-1], err_msg=name)
        np.testing.assert_array_equal(found[i], places[..., ::-1], err_msg=name)


def test_distances_are_those_of_pairs_and_padding_is_infinitely_far():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(T, T)).astype(np.float32) + 30
    rows[14:] = np.nan
    valid = np.arange(T) < 14
    apart = jax.jit(distances)(rows, valid)
    pairs = np.sqrt(((rows[:14, None].astype(np.float64) - rows[None, :14]) ** 2).sum(-1))
    np.testing.assert_allclose(apart[:14, :14], pairs, rtol=1e-5)
    assert np.isinf(apart[14:]).all() and np.isinf(apart[:, 14:]).all()
    assert mean_distance(apart, valid) == pytest.approx(pairs.sum() / (14 * 13), rel=1e-5)
    assert mean_distance(apart, np.arange(T) < 1) == 0
    got = mean_similarity(apart, valid, jnp.float32(4.0))
    np.testing.assert_allclose(got[:14], np.exp(-pairs / 4).mean(1), rtol=1e-5)


def test_a_threshold_that_is_only_met_is_not_exceeded():
    place = np.array([0, 1, 3, 4, 10.0])
    apart = np.abs(place[:, None] - place[None, :]).astype(np.float32)
    limits = np.array([[3] * 5, [6] * 5, [np.inf] * 5, [0] * 5, [-1] * 5], np.float32)
    left, right = jax.jit(lambda apart, limit: reaches(*furthest(apart), limit))(apart, limits)
    assert left.tolist() == [
        [0, 1, 1, 1, 0],
        [0, 1, 2, 3, 0],
        [0, 1, 2, 3, 4],
        [-1] * 5,
        [-1] * 5,
    ]
    assert right.tolist() == [
        [1, 1, 1, 0, 0],
        [3, 2, 1, 0, 0],
        [4, 3, 2, 1, 0],
        [-1] * 5,
        [-1] * 5,
    ]


def test_a_plateau_is_one_minimum_at_its_centre_and_ends_are_none():
    rng = np.random.default_rng(0)
    many = rng.integers(0, 3, (400, 11))
    found, twice = jax.jit(jax.vmap(minima))(jnp.asarray(many))
    for s, is_found, places in zip(many, np.asarray(found), np.asarray(twice), strict=True):
        assert places[is_found].tolist() == np.flatnonzero(oracle_minima(s)).tolist()
    assert oracle_minima([2, 1, 1, 2, 0]).nonzero()[0].tolist() == [3]


@jax.jit
def count_grid(rows, valid, target, alpha):
    beta = jnp.asarray(BETAS, jnp.float32)

    def utterance(rows, valid, target, alpha):
        return boundary_counts(distances(rows, valid), valid, target, alpha, beta, 3)

    return jax.vmap(utterance)(rows, valid, target, alpha)


def counted(many, alphas, references):
    """Hits and predictions (n, A, G, 2) of rows [(n, T)] of 3 frames, references [(m,)]."""
    times = half_frame_times(T * 3, FIRST, HOP)
    rows = np.full((len(many), T, T), 7, np.float32)
    for i, values in enumerate(many):
        rows[i, : len(values)] = values
    valid = np.arange(T) < np.array([len(values) for values in many])[:, None]
    target = np.stack([targets(known, times) for known in references])
    return np.asarray(count_grid(rows, valid, target, np.float32(alphas)))


def test_counts_are_those_of_a_loop_over_references():
    rng = np.random.default_rng(0)
    times = half_frame_times(T * 3, FIRST, HOP)
    names = [*CASES, *CASES]
    references = [
        np.sort(rng.choice(T * 3 * HOP + WINDOW, size, replace=False))
        for size in rng.choice([0, 1, 4, 12, 40, 400], len(names))
    ]
    # Predictions fall exactly between two references, and exactly on the tolerance.
    references[0] = times[20:60:2] + np.resize([-80, 80], 20)
    references[1] = times[20:100:20] + TOLERANCE
    counts = counted([CASES[name] for name in names], alphas_of(names), references)
    for i, (name, known) in enumerate(zip(names, references, strict=True)):
        for a, b in np.ndindex(BETAS.shape):
            predicted = times[expected(name, 3)[1][a, b]]
            wanted = [oracle_hits(known, predicted), len(predicted)]
            assert counts[i, a, b].tolist() == wanted, name
            assert count_hits(known, predicted) == wanted[0], name
    assert counts[..., 0].sum() > 100


def test_counts_do_not_depend_on_the_batch():
    names = [*CASES, *CASES]
    known = [np.arange(700, 9000, 700 + 60 * i) for i in range(len(names))]
    rows, alphas = [CASES[name] for name in names], alphas_of(names)
    counts = counted(rows, alphas, known)
    order = np.random.default_rng(1).permutation(len(names))
    again = counted(*([x[i] for i in order] for x in (rows, alphas, known)))
    np.testing.assert_array_equal(again, counts[order])


def test_blocks_between_true_boundaries_have_an_r_value_of_100():
    rng = np.random.default_rng(0)
    lengths = [rng.permutation([1, 2, 3, 4, 10]) for _ in range(2 * len(CASES))]
    maps = [block_diagonal(each) for each in lengths]
    # The label of a frame is read at its centre: the change is within half a hop of the middle.
    between = [each.cumsum()[:-1] * 3 * HOP + FIRST - HOP / 2 for each in lengths]
    known = [each + rng.uniform(-HOP / 2, HOP / 2, len(each)) for each in between]
    counts = counted(maps, [[0.25, 0.25]] * len(maps), known)
    hits, predicted = counts[:, 0, 1].sum(0)
    got = score(hits, predicted, sum(map(len, known)))
    assert got == dict.fromkeys(SCORES, 100) | {"over_segmentation": 0}


def test_an_utterance_of_padding_alone_counts_nothing():
    alphas, known = [ALPHAS] * len(CASES) * 2, [np.arange(1000, 9000, 900)] * len(CASES) * 2
    assert not counted([np.zeros((0, T))] * len(alphas), alphas, known).any()
