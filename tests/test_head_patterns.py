"""General cases, the common grid and the handcrafted patterns, on maps that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax.analysis.head_patterns import (
    BANDED,
    DIAGONAL,
    DIFFUSE,
    GRID,
    REACH,
    VERTICAL,
    assign_cases,
    case_measures,
    embedded,
    resized_maps,
)
from sat_jax.config.attention import SynHandcrafted
from sat_jax.model.attention import patterns
from sat_jax.model.attention.scope import Scope
from sat_jax.model.attention.self_attention import ATTENTION

T = 60
QUERY, KEY = np.arange(T)[:, None], np.arange(T)[None, :]


def rows(weights):
    return weights / weights.sum(-1, keepdims=True)


def near(offset, width):
    return rows(np.exp(-0.5 * ((KEY - QUERY - offset) / width) ** 2) + 1e-6)


KNOWN = {
    "own position": (near(0, 0.3), DIAGONAL),
    "own position, blurred": (near(0, 1.0), DIAGONAL),
    "next position": (near(1, 0.3), BANDED),
    "three before": (near(-3, 0.5), BANDED),
    "a band": (rows((abs(KEY - QUERY) <= 4) + 1e-6), BANDED),
    "a few keys": (rows(np.where(np.isin(KEY, (7, 20, 44)), 1.0, 0.01) + 0 * QUERY), VERTICAL),
    "the last third": (rows(np.where(KEY > 40, 1.0, 1e-3) + 0 * QUERY), VERTICAL),
    "uniform": (rows(np.ones((T, T))), DIFFUSE),
    "noise": (rows(np.random.default_rng(0).uniform(0.5, 1, (T, T))), DIFFUSE),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("padding", [0, 9])
def test_known_maps_are_of_their_case(name, padding):
    weights, case = KNOWN[name]
    maps = np.zeros((1, 1, T + padding, T + padding), np.float32)
    maps[0, 0, :T, :T] = weights
    maps[0, 0, T:, 0] = 1  # padded queries attend somewhere, and count for nothing
    valid = jnp.arange(T + padding)[None] < T
    found = case_measures(jnp.asarray(maps), valid)
    assert assign_cases(*(np.asarray(found[key]) for key in ("offsets", "columns"))) == [[case]]


def test_what_cases_are_told_by():
    maps = jnp.asarray(np.eye(T)[None, None], jnp.float32)
    found = case_measures(maps, jnp.ones((1, T), bool))
    np.testing.assert_allclose(found["offsets"][0, 0], np.arange(-REACH, REACH + 1) == 0)
    np.testing.assert_allclose(found["columns"], 0, atol=1e-6)
    one_key = jnp.zeros((1, 1, T, T)).at[..., 5].set(1.0)
    np.testing.assert_allclose(
        case_measures(one_key, jnp.ones((1, T), bool))["columns"], 1 - 1 / T, atol=1e-6
    )


@pytest.mark.parametrize("length", [GRID, 60, 7, 61])
def test_the_common_grid_keeps_rows_and_shape(length):
    rng = np.random.default_rng(length)
    weights = np.zeros((1, 2, 70, 70), np.float32)
    weights[:, :, :length, :length] = rows(rng.uniform(0, 1, (2, length, length)))
    weights[:, :, length:, 0] = 1
    found = np.asarray(resized_maps(jnp.asarray(weights), jnp.arange(70)[None] < length))
    assert found.shape == (1, 2, GRID, GRID)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    if length == GRID:
        np.testing.assert_allclose(found[0], weights[0, :, :GRID, :GRID], atol=1e-5)


def test_of_two_lengths_the_same_shape_is_the_same_map():
    short, long = (np.kron(np.eye(GRID), np.ones((n, n)) / n) for n in (2, 3))
    maps = np.zeros((2, 1, 80, 80), np.float32)
    maps[0, 0, :48, :48], maps[1, 0, :72, :72] = short, long
    valid = jnp.arange(80)[None] < jnp.array([[48], [72]])
    found = np.asarray(resized_maps(jnp.asarray(maps), valid))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    np.testing.assert_allclose(found[0, 0], np.eye(GRID), atol=1e-5)


def test_embeddings_part_what_is_different():
    rng = np.random.default_rng(1)
    kinds = [np.eye(GRID), np.ones((GRID, GRID)) / GRID]
    maps = np.stack([rows(kinds[i % 2] + rng.uniform(0, 0.01, (GRID, GRID))) for i in range(20)])
    for places in embedded(maps, 0).values():
        assert places.shape == (20, 2)
        first, second = places[::2], places[1::2]
        inside = max(np.ptp(first, axis=0).max(), np.ptp(second, axis=0).max())
        assert np.linalg.norm(first.mean(0) - second.mean(0)) > inside
    again = embedded(maps, 0)
    assert all((again[name] == places).all() for name, places in embedded(maps, 0).items())


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_heads_are_embedded_too(count):
    found = embedded(np.full((count, GRID, GRID), 1 / GRID), 0)
    assert {name: places.shape for name, places in found.items()} == {
        "PCA": (count, 2),
        "t-SNE": (count, 2),
    }


def start(positions, faithful=False):
    """Probabilities (7, T, T) with which handcrafted heads begin."""
    config = SynHandcrafted(faithful=faithful)
    module = ATTENTION[SynHandcrafted](config, 8, 8, positions)
    x, scope = jnp.zeros((1, positions, 8)), Scope(jnp.ones((1, positions), bool))
    params = module.init(jax.random.key(0), x, scope)
    return np.asarray(module.apply(params, x, scope))[0, :7]


@pytest.mark.parametrize("positions", [20, 112, 333])
def test_handcrafted_heads_start_with_probabilities_that_show_their_patterns(positions):
    found = start(positions)
    wanted = patterns.handcrafted(positions)
    np.testing.assert_allclose(wanted.sum(-1), 1, atol=1e-12)
    middle = positions // 2
    for name, offset in ((patterns.SELF, 0), (patterns.PREVIOUS, -1), (patterns.NEXT, 1)):
        assert found[name, middle].argmax() == middle + offset
        assert found[name, middle].max() > 0.94
    before, after = found[patterns.BEFORE, middle], found[patterns.AFTER, middle]
    assert before[:middle].sum() > 0.95
    assert after[middle + 1 :].sum() > 0.95
    assert (np.diff(before[:middle]) > 0).all()
    assert (np.diff(after[middle + 1 :]) < 0).all()
    ending, beginning = found[patterns.ENDING, middle], found[patterns.BEGINNING, middle]
    assert (np.diff(ending) > 0).all()
    assert (np.diff(beginning) < 0).all()
    np.testing.assert_allclose(ending, beginning[::-1], atol=1e-6)
    # Off by no more than what is spread over all keys.
    assert 0.5 * np.abs(found - wanted).sum(-1).max() < 0.05


def test_the_authors_logits_have_no_peak():
    faithful = start(333, faithful=True)
    assert faithful[patterns.SELF].max() < 0.01
    wanted = np.exp(patterns.handcrafted(333))
    np.testing.assert_allclose(faithful, wanted / wanted.sum(-1, keepdims=True), atol=1e-6)


def test_where_nothing_is_before_or_after_a_position_attends_to_itself():
    wanted = patterns.handcrafted(9)
    for name in (patterns.PREVIOUS, patterns.BEFORE):
        np.testing.assert_array_equal(wanted[name, 0], np.eye(9)[0])
    for name in (patterns.NEXT, patterns.AFTER):
        np.testing.assert_array_equal(wanted[name, 8], np.eye(9)[8])
