"""Similarity of attention heads against plain loops over heads, queries and keys."""

import jax
import numpy as np
import pytest

from sat_jax.analysis.head_similarity import (
    HEAD_MEASURES,
    between_layers,
    flat_measures,
    head_pairs,
)

T, N, G = 9, 6, 4
paired = jax.jit(head_pairs, static_argnums=2)


@pytest.fixture(scope="module")
def maps():
    """Maps of 6 valid positions of 9: padded keys get 0, padded queries anything."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(G, T, T)) * np.array([0.2, 1, 3, 8])[:, None, None]
    logits[..., N:] = -np.inf
    maps = np.exp(logits)
    maps /= maps.sum(-1, keepdims=True)
    maps[0, 2, :N] = 1 / N
    return maps.astype(np.float32)


VALID = np.arange(T) < N


def by_loops(a, b, faithful):
    a, b = a.astype(np.float64), b.astype(np.float64)
    n = len(a)
    fro = np.sqrt(((a - b) ** 2).sum())
    pearson, js = [], []
    for p, q in zip(a, b, strict=True):
        constant = p.std() < 1e-7 or q.std() < 1e-7
        pearson.append(0.0 if constant else np.corrcoef(p, q)[0, 1])
        m = (p + q) / 2
        js.append(sum(0.5 * (r[r > 0] * np.log(r[r > 0] / m[r > 0])).sum() for r in (p, q)))
    if faithful:
        return 1 - fro, np.mean(pearson) * (n - 1) / n, 1 - np.mean(js)
    return 1 - fro / np.sqrt(2 * n), np.mean(pearson), 1 - np.mean(js) / np.log(2)


@pytest.mark.parametrize("faithful", [False, True])
def test_pairs_of_heads_equal_plain_loops(maps, faithful):
    found = paired(maps, VALID, faithful)
    for i in range(G):
        for j in range(G):
            expected = by_loops(maps[i, :N, :N], maps[j, :N, :N], faithful)
            ours = [float(found[name][i, j]) for name in HEAD_MEASURES]
            np.testing.assert_allclose(ours, expected, atol=2e-4 if i == j else 1e-5)


def test_padding_changes_nothing(maps):
    short = paired(maps[:, :N, :N], np.ones(N, bool), False)
    for name, value in paired(maps, VALID, False).items():
        np.testing.assert_allclose(value, short[name], atol=1e-5)


def test_opposite_maps_are_as_far_apart_as_can_be():
    left, right = np.zeros((2, 5, 5), np.float32)
    left[:, 0] = right[:, 4] = 1
    found = paired(np.stack([left, right]), np.ones(5, bool), False)
    assert float(found["attn_fro"][0, 1]) == pytest.approx(0, abs=1e-6)
    assert float(found["attn_js"][0, 1]) == pytest.approx(0, abs=1e-6)
    assert float(found["attn_pearson"][0, 1]) == pytest.approx(-0.25)


def test_a_layer_is_compared_head_by_best_head():
    pairs = np.array([[1, 0.2, 0.9, 0.1], [0.2, 1, 0.3, 0.4], [0.9, 0.3, 1, 0], [0.1, 0.4, 0, 1]])
    assert between_layers(pairs, np.array([0, 1]), np.array([2, 3])) == pytest.approx(0.65)


def test_flattened_maps_are_compared_as_columns(maps):
    flat = maps[:, :N, :N].reshape(G, -1).astype(np.float64)
    found = paired(maps, VALID, False)
    count = float(found["count"])
    assert count == N * N
    sums = np.asarray(found["sums"], np.float64)
    covariance = np.asarray(found["products"]) / count - np.outer(sums, sums) / count**2
    np.testing.assert_allclose(covariance, np.cov(flat, ddof=0), atol=1e-6)
    ours = flat_measures(covariance, np.array([0, 1]), np.array([2, 3]))
    x, y = flat[:2].T - flat[:2].mean(1), flat[2:].T - flat[2:].mean(1)
    cka = np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
    assert ours["attn_cka"] == pytest.approx(cka, abs=1e-4)
    rho = np.linalg.svd(np.linalg.qr(x)[0].T @ np.linalg.qr(y)[0], compute_uv=False)
    assert ours["attn_svcca"] == pytest.approx(rho.mean(), abs=1e-3)
