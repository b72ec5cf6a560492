"""Head metrics: the closed forms of the paper's definitions, a numpy oracle, and padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sat_jax.analysis.head_metrics import (
    CAD,
    MEASURES,
    RADII,
    REACH,
    cumulative_diagonality,
    mass_within,
    measure_heads,
    modal_offset,
    offset_profile,
)

T = 23

jitted_heads = jax.jit(measure_heads)


def measure(probs, valid=None):
    """Every measure of one map (T, T) as floats, without the curve."""
    valid = np.ones(len(probs), bool) if valid is None else valid
    maps = jnp.asarray(probs)[None, None]
    return {k: float(v[0, 0]) for k, v in jitted_heads(maps, valid[None]).items() if k != CAD}


def random_maps(rng, batch, heads, t, lengths):
    """Softmax maps with padded keys at 0 and garbage in the rows of padded queries."""
    probs = np.zeros((batch, heads, t, t), np.float32)
    for row, n in enumerate(lengths):
        sharp = np.exp(rng.normal(size=(heads, n, n)) * rng.uniform(0.1, 6, (heads, 1, 1)))
        probs[row, :, :n, :n] = sharp / sharp.sum(-1, keepdims=True)
        probs[row, :, n:] = rng.uniform(0, 1, (heads, t - n, t))
    return probs, np.arange(t) < np.asarray(lengths)[:, None]


def oracle(a):
    """The formulas, one map, in float64 and with loops over queries and keys."""
    a = a.astype(np.float64)
    t = len(a)

    def entropy(p):
        return -sum(x * np.log(x) for x in p if x > 0)

    pairs = [(k - q, a[q, k]) for q in range(t) for k in range(t)]
    mean_offset = sum(o * x for o, x in pairs) / t
    expected = {
        "globalness": np.mean([entropy(row) for row in a]),
        "verticality": -entropy(a.mean(0)),
        "diagonality": -sum(abs(o) * x for o, x in pairs) / t**2,
        "weight": a.max(),
        "mean_offset": mean_offset,
        "offset_spread": np.sqrt(sum((o - mean_offset) ** 2 * x for o, x in pairs) / t),
    }
    for r in RADII:
        expected[f"mass_within_{r}"] = sum(x for o, x in pairs if abs(o) <= r) / t
    expected["modal_offset"] = max(range(1 - t, t), key=lambda o: np.trace(a, o))
    by_distance = np.zeros(max(t, REACH + 1))
    for o, x in pairs:
        by_distance[abs(o)] += x / t
    expected[CAD] = by_distance.cumsum()[: REACH + 1]
    return expected


def test_uniform_map():
    got = measure(np.full((T, T), 1 / T))
    assert got["globalness"] == pytest.approx(np.log(T), rel=1e-5)
    assert got["verticality"] == pytest.approx(-np.log(T), rel=1e-5)
    assert got["diagonality"] == pytest.approx(-(T**2 - 1) / (3 * T) / T, rel=1e-5)
    assert got["weight"] == pytest.approx(1 / T)
    assert got["mean_offset"] == pytest.approx(0, abs=1e-5)
    assert got["mass_within_1"] == pytest.approx((3 * T - 2) / T**2, rel=1e-5)


def test_identity_map():
    got = measure(np.eye(T))
    expected = {"globalness": 0, "verticality": -np.log(T), "diagonality": 0, "weight": 1}
    expected |= {"mean_offset": 0, "offset_spread": 0, "mass_within_1": 1}
    assert {k: got[k] for k in expected} == pytest.approx(expected, abs=1e-6)


def test_one_key_column():
    column = np.zeros((T, T))
    column[:, 4] = 1
    got = measure(column)
    assert got["globalness"] == got["verticality"] == 0
    assert got["mean_offset"] == pytest.approx(4 - (T - 1) / 2, rel=1e-6)


@pytest.mark.parametrize("shift", [1, 3, -2])
def test_shifted_diagonal(shift):
    shifted = np.zeros((T, T))
    shifted[np.arange(T), np.clip(np.arange(T) + shift, 0, T - 1)] = 1
    got = measure(shifted)
    s = abs(shift)
    clipped = (s * (T - s) + s * (s - 1) / 2) / T
    assert got["globalness"] == 0
    assert got["diagonality"] == pytest.approx(-clipped / T, rel=1e-5)
    assert got["diagonality"] == pytest.approx(-s / T, rel=0.1)
    assert got["mean_offset"] == pytest.approx(np.sign(shift) * clipped, rel=1e-5)


def test_single_position():
    got = measure(np.ones((1, 1)))
    zero = {k: v for k, v in got.items() if not k.startswith("mass") and k != "weight"}
    assert set(zero.values()) == {0.0}
    assert got["weight"] == got["mass_within_1"] == 1


def test_every_measure_is_the_numpy_oracle():
    rng = np.random.default_rng(0)
    lengths = [17, 9, 1]
    probs, valid = random_maps(rng, 3, 4, 17, lengths)
    got = jitted_heads(probs, valid)
    for row, n in enumerate(lengths):
        for head in range(4):
            expected = oracle(probs[row, head, :n, :n])
            assert set(got) == set(expected) == {*MEASURES, CAD}
            for name, value in expected.items():
                assert got[name][row, head] == pytest.approx(value, rel=2e-5, abs=2e-5), name


def test_padding_and_batching_change_nothing():
    rng = np.random.default_rng(1)
    probs, valid = random_maps(rng, 4, 3, 12, [12, 7, 5, 12])
    got = jitted_heads(probs, valid)
    alone = jitted_heads(probs[1:2, :, :7, :7], valid[1:2, :7])
    for name, values in alone.items():
        np.testing.assert_allclose(got[name][1], values[0], rtol=1e-5, atol=1e-6)
    order = [2, 0, 3, 1]
    permuted = jitted_heads(probs[order], valid[order])
    for name, values in permuted.items():
        np.testing.assert_allclose(values, got[name][np.array(order)], rtol=1e-6)


def test_low_precision_maps_are_measured_in_float32():
    rng = np.random.default_rng(2)
    probs, valid = random_maps(rng, 1, 2, 64, [64])
    exact = jitted_heads(probs, valid)
    rounded = jitted_heads(jnp.asarray(probs, jnp.bfloat16), valid)
    for name, values in rounded.items():
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(values, exact[name], rtol=0.02, atol=0.05)


def test_offset_profile_is_the_sum_of_each_diagonal():
    rng = np.random.default_rng(3)
    probs, valid = random_maps(rng, 2, 1, 9, [9, 6])
    got = offset_profile(jnp.asarray(probs), jnp.asarray(valid)[:, None])
    for row, n in enumerate((9, 6)):
        a = probs[row, 0].copy()
        a[n:] = 0
        expected = [np.trace(a, offset) / n for offset in range(-8, 9)]
        np.testing.assert_allclose(got[row, 0], expected, atol=1e-6)
        assert got[row, 0].sum() == pytest.approx(1, abs=1e-5)


def test_the_curve_over_distances_is_a_sum_over_pairs_and_ends_at_one():
    rng = np.random.default_rng(4)
    lengths = [17, 9, 1]
    probs, valid = random_maps(rng, 3, 4, 17, lengths)
    curve = jax.jit(cumulative_diagonality, static_argnums=2)
    for reach in (0, 5, 16, 40):
        got = np.asarray(curve(probs, valid[:, None], reach))
        assert got.shape == (3, 4, reach + 1)
        for row, n in enumerate(lengths):
            distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
            for r in range(reach + 1):
                wanted = (probs[row, :, :n, :n] * (distance <= r)).sum((1, 2)) / n
                np.testing.assert_allclose(got[row, :, r], wanted, rtol=1e-5)
            np.testing.assert_allclose(got[row, :, n - 1 :], 1, rtol=1e-5)
        assert (np.diff(got, axis=-1) >= -1e-6).all()


def test_the_curve_is_the_mass_within_each_radius():
    rng = np.random.default_rng(5)
    probs, valid = random_maps(rng, 3, 4, 17, [17, 9, 1])
    got = jitted_heads(probs, valid)
    for r in RADII:
        np.testing.assert_allclose(got[CAD][..., r], got[f"mass_within_{r}"], rtol=1e-5)
    within = jax.jit(mass_within, static_argnums=0)(0, probs, valid[:, None])
    np.testing.assert_allclose(got[CAD][..., 0], within, rtol=1e-5)


def test_the_modal_offset_of_shifted_permutations_is_the_shift():
    rng = np.random.default_rng(6)
    shifts = [-9, -2, 0, 1, 5, 11]
    maps = np.zeros((len(shifts), T, T), np.float32)
    for shift, shifted in zip(shifts, maps, strict=True):
        shifted[np.arange(T), (np.arange(T) + shift) % T] = 1
    blurred = 0.9 * maps + 0.1 * random_maps(rng, 1, len(shifts), T, [T])[0][0]
    for each in (maps, blurred):
        got = jax.jit(modal_offset)(each, np.ones((len(shifts), T), bool))
        assert got.tolist() == shifts
