"""Similarity of layers: every measure against its definition on all frames, in float64."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sat_jax.analysis import moments
from sat_jax.analysis.similarity import (
    MEASURES,
    best_correlations,
    canonical_correlations,
    compare,
    layer_of,
    mean_correlation,
)
from sat_jax.study.similarity import layers
from sat_jax.study.similarity.layers import compared

RNG = np.random.default_rng(0)


def basis(columns, tolerance=1e-6):
    """An orthonormal basis of centred columns, and their singular values."""
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    return u[:, s > tolerance * s[0]], s


def leading(columns, drop_crossing):
    """The directions that hold 99 % of the variance."""
    u, s = basis(columns)
    share = np.cumsum(s[: u.shape[1]] ** 2) / (s**2).sum()
    under = (share < 0.99).sum()
    return u[:, : under if drop_crossing else under + 1]


def directly(x, y, faithful=False):
    """All measures of x (N, D) by y (N, E), from their definitions."""
    x, y = (a.astype(np.float64)[:, a.std(0) > 1e-6] for a in (x, y))
    xc, yc = x - x.mean(0), y - y.mean(0)
    xs, ys = xc / xc.std(0), yc / yc.std(0)
    qx, qy = basis(xs)[0], basis(ys)[0]
    r = np.linalg.norm(qy.T @ xs, axis=0) / np.linalg.norm(xs, axis=0)
    u, rho, _ = np.linalg.svd(qx.T @ qy)
    accounts = np.abs((qx @ u[:, : len(rho)]).T @ x).sum(1)

    def cka(a, b):
        return np.linalg.norm(a.T @ b) ** 2 / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)

    canonical = leading(xs, faithful).T @ leading(ys, faithful)
    return {
        "maxcorr": np.abs(xs.T @ ys / len(x)).max(1).mean(),
        "linreg": r.mean(),
        "linreg_r2": (r**2).mean(),
        "svcca": np.linalg.svd(canonical, compute_uv=False).mean(),
        "pwcca": (accounts @ rho) / accounts.sum(),
        "cka": cka(xc, yc),
        "cka_standardised": cka(xs, ys),
    }


def streamed(layers, chunk=70, shards=3):
    pairs = [(i, j) for i in range(len(layers)) for j in range(i, len(layers))]
    found = moments.begin([x[:chunk] for x in layers], pairs, shards)
    for number, first in enumerate(range(0, len(layers[0]), chunk)):
        moments.add(found, [x[first : first + chunk] for x in layers], number % shards)
    return found


def measured(x, y, faithful=False, **how):
    found = moments.covariances(streamed([x, y], **how))
    of, by = (layer_of(own) for own in found.own)
    return compare(of, by, found.cross[0, 1], faithful)


def inputs(kind, n=600):
    shared = RNG.normal(size=(n, 6))
    x = shared @ RNG.normal(size=(6, 14)) + RNG.normal(size=(n, 14)) * np.linspace(0.2, 2, 14)
    y = shared @ RNG.normal(size=(6, 9)) + RNG.normal(size=(n, 9))
    if kind == "random":
        x, y = RNG.normal(size=(n, 14)) + 30, RNG.normal(size=(n, 9)) * 5
    if kind == "rank-deficient":
        x[:, 5], x[:, 6] = x[:, 4], x[:, 2] - x[:, 3]
        y[:, 1] = y[:, 0] * -2
    if kind == "constant":
        x[:, 3], y[:, 0] = 7.0, 0.0
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize("kind", ["random", "correlated", "rank-deficient", "constant"])
def test_all_measures_equal_their_definitions(kind, faithful):
    x, y = inputs(kind)
    found = measured(x, y, faithful)
    expected = directly(x, y, faithful), directly(y, x, faithful)
    for each, wanted in zip(found, expected, strict=True):
        assert tuple(each) == MEASURES
        for name in MEASURES:
            assert abs(each[name] - wanted[name]) < 1e-4, (name, each[name], wanted[name])


def test_wide_layers_of_a_network_equal_their_definitions():
    x = RNG.normal(size=(3000, 160))
    layers = []
    for _ in range(2):
        x = x + np.tanh(x @ RNG.normal(size=(160, 160)) / 160**0.5)
        x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
        layers.append(x.astype(np.float32))
    for each, wanted in zip(
        measured(*layers, chunk=1000), (directly(*layers), directly(*layers[::-1])), strict=True
    ):
        for name in MEASURES:
            assert abs(each[name] - wanted[name]) < 1e-5, (name, each[name], wanted[name])


@pytest.mark.parametrize("smallest", [0.3, 1e-2, 1e-3, 1e-6, 0.0])
def test_close_and_small_canonical_correlations_have_their_own_directions(smallest):
    u, v = (np.linalg.qr(RNG.normal(size=(n, n)))[0] for n in (60, 75))
    wanted = np.append(np.linspace(0.95, 0.4, 55), smallest * np.array([1, 0.9, 0.5, 0.3, 0.2]))
    wanted = np.sort(wanted)[::-1]
    canonical = u * wanted @ v[:, :60].T
    for turned in (False, True):
        rho, left, right = canonical_correlations(canonical.T if turned else canonical)
        np.testing.assert_allclose(rho, wanted, atol=1e-6)
        left, right = (right, left) if turned else (left, right)
        clear = wanted > 1e-4
        for found, true in ((left, u), (right, v[:, :60])):
            alike = np.abs((found * true).sum(0))
            np.testing.assert_allclose(alike[clear], 1.0, atol=1e-4)
            np.testing.assert_allclose(found.T @ found, np.eye(60), atol=1e-3)


def test_directions_without_correlation_count_as_zero_in_the_mean():
    u, v = (np.linalg.qr(RNG.normal(size=(n, n)))[0] for n in (60, 75))
    wanted = np.append(np.linspace(0.95, 0.4, 30), np.zeros(30))
    canonical = u * wanted @ v[:, :60].T
    for each in (canonical, canonical.T):
        assert abs(mean_correlation(each) - wanted.mean()) < 1e-6
    assert np.isnan(mean_correlation(canonical[:0]))


def test_fewer_frames_than_neurons():
    x, y = (a[:8] for a in inputs("correlated"))
    found, expected = measured(x, y, chunk=5, shards=2)[0], directly(x, y)
    # Any direction predicts any other then: only what the definition leaves open is not compared.
    for name in ("maxcorr", "linreg", "cka", "cka_standardised"):
        assert abs(found[name] - expected[name]) < 1e-4


def test_a_layer_is_like_itself_and_turned_or_scaled_layers_are_where_they_should_be():
    x, y = inputs("correlated")
    for each in measured(x, x):
        np.testing.assert_allclose(list(each.values()), 1.0, atol=1e-6)
    turned = np.linalg.qr(RNG.normal(size=(14, 14)))[0]
    before, after = measured(x, y)[1], measured((x @ turned).astype(np.float32), y)[1]
    for name in ("linreg", "pwcca", "cka"):
        assert abs(before[name] - after[name]) < 1e-5
    assert abs(before["maxcorr"] - after["maxcorr"]) > 1e-3
    scaled = measured(x * np.linspace(1, 9, 14, dtype=np.float32), y)[1]
    for name in ("maxcorr", "linreg", "svcca", "cka_standardised"):
        assert abs(before[name] - scaled[name]) < 1e-5
    assert abs(before["cka"] - scaled["cka"]) > 1e-3


def test_chunks_shards_and_passes_change_nothing():
    layers = [*inputs("correlated"), inputs("random")[0]]
    whole = moments.covariances(streamed(layers, chunk=600, shards=1))
    parts = moments.covariances(streamed(layers, chunk=37, shards=5))
    for pair, expected in whole.cross.items():
        np.testing.assert_allclose(parts.cross[pair], expected, atol=2e-4)
    for own, expected in zip(parts.own, whole.own, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6)
    groups = moments.passes_over([14, 9, 14], moments.pairs_of(3), 5, 8 * 5 * 500)
    assert len(groups) > 1
    assert sorted(pair for group in groups for pair in group) == [
        (i, j) for i in range(3) for j in range(i, 3)
    ]
    assert len(moments.passes_over([14, 9, 14], moments.pairs_of(3), 5, 10**9)) == 1


def test_a_layer_without_kept_directions_has_no_svcca_not_even_with_itself():
    x, y = inputs("correlated")
    found = moments.covariances(streamed([np.repeat(x[:, :1], 5, axis=1), y]))
    faithful, corrected = (compared(found, each)["svcca"] for each in (True, False))
    np.testing.assert_array_equal(np.isnan(faithful), [[True, True], [True, False]])
    assert corrected[0, 0] == corrected[1, 1] == faithful[1, 1] == 1
    assert 0 < corrected[0, 1] == corrected[1, 0] < 1


def test_layers_are_compared_on_one_thread(monkeypatch):
    seen = []

    def watched(covariance):
        seen.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")
        return layer_of(covariance)

    monkeypatch.setattr(layers, "layer_of", watched)
    with threadpool_limits(2, user_api="blas"):
        compared(moments.covariances(streamed(list(inputs("random")))), False)
    assert set(seen) == {1}


def test_shards_can_be_left_out_or_counted_twice():
    x, y = inputs("correlated")
    found = moments.covariances(streamed([x, y], chunk=100, shards=3), np.array([2, 0, 1]))
    rows = np.concatenate([np.arange(100 * c, 100 * c + 100) for c in (0, 3, 0, 3, 2, 5)])
    expected = np.cov(x[rows].astype(np.float64).T, ddof=0)
    np.testing.assert_allclose(found.own[0], expected, atol=1e-5)
    with pytest.raises(ValueError, match="no frame"):
        moments.covariances(streamed([x, y]), np.zeros(3))


def test_constant_neurons_are_left_out_and_a_constant_layer_is_an_error():
    x, y = inputs("constant")
    found = moments.covariances(streamed([x, y]))
    of, by = (layer_of(own) for own in found.own)
    assert (~of.moving).nonzero()[0].tolist() == [3]
    best = best_correlations(of, by, found.cross[0, 1])
    kept = np.abs(np.corrcoef(np.delete(x, 3, 1).T, y[:, 1:].T)[:13, 13:])
    np.testing.assert_allclose(best, kept.max(1), atol=1e-5)
    with pytest.raises(ValueError, match="constant"):
        layer_of(np.zeros((4, 4)))
