"""Covariances of two layers in, how alike their representations are out.

Measures of arXiv:2005.01172 and arXiv:2406.16099, all from covariances (see `moments`). Whitening
is in float64; what comes after has a norm of 1 and is in float32 where that leaves no trace.
`of` is the layer whose neurons are asked, `by` the one that they are compared with: maxcorr, linreg
and pwcca are not symmetric. Constant neurons are left out.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

CLIP = 1e-12
"""Eigenvalues below this share of the largest are taken for 0."""
PLAIN = 1e-4
"""Correlations over this tell the directions of one side by those of the other."""
BLURRED = 0.02
"""Directions of correlations under this, which float32 mixes, are told apart in float64."""
ROUNDING = 1e-6
"""What float32 may add to an eigenvalue of a matrix of norm 1."""
UNMOVED = 1e-5
"""How far a mean correlation may be off."""
KEPT = 0.99
"""Share of the variance that svcca keeps."""
MEASURES = ("maxcorr", "linreg", "linreg_r2", "svcca", "pwcca", "cka", "cka_standardised")
"""All measures, from single neurons to whole layers."""


class Layer(NamedTuple):
    """What is known of one layer's neurons; D are those that are not constant."""

    deviation: np.ndarray
    """(D,) standard deviations."""
    moving: np.ndarray
    """Which of all its neurons are not constant, bool."""
    values: np.ndarray
    """(R,) eigenvalues of the correlations, the largest first, those of 0 left out."""
    whitening: np.ndarray
    """(D, R): centred neurons times this are uncorrelated, of variance 1."""
    loadings: np.ndarray
    """(R, D): correlations of these with the neurons, float32."""
    size: float
    """Frobenius norm of the covariances."""
    size_standardised: float
    """The same of the correlations."""


def layer_of(covariance: np.ndarray) -> Layer:
    """A layer from the covariance (D, D) of all of its neurons.

    Raises `ValueError` where every neuron is constant.
    """
    variance = np.diag(covariance)
    moving = variance > CLIP * max(float(variance.max()), np.finfo(np.float64).tiny)
    if not moving.any():
        raise ValueError("all neurons of the layer are constant")
    covariance = covariance[np.ix_(moving, moving)]
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    values, vectors = linalg.eigh(correlation)
    values, vectors = values[::-1], vectors[:, ::-1]
    real = values > CLIP * values[0]
    values, vectors = values[real], vectors[:, real]
    return Layer(
        deviation,
        moving,
        values,
        vectors / np.sqrt(values) / deviation[:, None],
        (vectors * np.sqrt(values)).T.astype(np.float32),
        float(np.linalg.norm(covariance)),
        float(np.linalg.norm(correlation)),
    )


def kept_directions(values: np.ndarray, faithful: bool) -> int:
    """How many directions, the largest first, svcca keeps of eigenvalues (R,): those that hold
    `KEPT` of the variance. `faithful` drops the one that crosses the line, as published code."""
    share = np.cumsum(values) / values.sum()
    under = int((share < KEPT).sum())
    return under if faithful else min(under + 1, len(values))


def compare(
    of: Layer, by: Layer, cross: np.ndarray, faithful: bool = False
) -> tuple[dict[str, float], dict[str, float]]:
    """All `MEASURES` of two layers with the cross-covariance (D, D2) of all of their neurons: of
    the first by the second, and of the second by the first."""
    cross = _moving(of, by, cross)
    canonical = of.whitening.T @ cross @ by.whitening  # (R, R2)
    rho, *directions = canonical_correlations(canonical)
    kept = kept_directions(of.values, faithful), kept_directions(by.values, faithful)
    correlation = _correlation(of, by, cross)
    shared = {
        "svcca": mean_correlation(canonical[: kept[0], : kept[1]]),
        "cka": _squares(cross) / (of.size * by.size),
        "cka_standardised": _squares(correlation) / (of.size_standardised * by.size_standardised),
    }
    strength = np.abs(correlation, out=correlation)
    best = strength.max(1), strength.max(0)
    return tuple(
        _in_order(
            shared
            | {"maxcorr": float(best[side].mean(dtype=np.float64))}
            | _by_loadings(layer, rho, directions[side])
        )
        for side, layer in enumerate((of, by))
    )


def _moving(of: Layer, by: Layer, cross: np.ndarray) -> np.ndarray:
    if of.moving.all() and by.moving.all():
        return cross
    return cross[np.ix_(of.moving, by.moving)]


def _correlation(of: Layer, by: Layer, cross: np.ndarray) -> np.ndarray:
    """(D, D2) in float32, of the cross-covariance of neurons that move."""
    return (cross / of.deviation[:, None] / by.deviation).astype(np.float32)


def _squares(x: np.ndarray) -> float:
    return float(np.linalg.norm(x)) ** 2


def _in_order(found: dict[str, float]) -> dict[str, float]:
    return {name: found[name] for name in MEASURES}


def _by_loadings(layer: Layer, rho: np.ndarray, directions: np.ndarray) -> dict[str, float]:
    """linreg and pwcca of a layer's neurons, from the correlations of its canonical directions
    (R, r) with them.

    The other layer tells of a standardised neuron, squared, each direction's loading times its
    canonical correlation. pwcca weighs the latter by sum |<h, x>|, h the direction and x the
    neurons as they come.
    """
    loadings = np.abs(directions.T.astype(np.float32) @ layer.loadings)  # (r, D)
    accounts = loadings @ layer.deviation.astype(np.float32)
    r2 = np.minimum((rho**2).astype(np.float32) @ loadings**2, 1.0)
    return {
        "linreg": float(np.sqrt(r2).mean(dtype=np.float64)),
        "linreg_r2": float(r2.mean(dtype=np.float64)),
        "pwcca": float(accounts @ rho / accounts.sum(dtype=np.float64)),
    }


def canonical_correlations(canonical: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlations (r,) of whitened bases with the products (R, R2), the largest first but for
    rounding, and their directions (R, r) and (R2, r); r is the smaller of R and R2.

    In float32, and the smallest in float64; all of them where one is nearly 0.
    """
    if canonical.shape[0] > canonical.shape[1]:
        rho, right, left = canonical_correlations(canonical.T)
        return rho, left, right
    for kind in (np.float32, np.float64):
        products = canonical.astype(kind)
        _, left = linalg.eigh(products @ products.T, driver="evd")
        left = left[:, ::-1]
        right = products.T @ left
        rho = _norms(right)
        blurred = rho < BLURRED
        if kind is np.float32 and blurred.sum() > 1:
            left[:, blurred], right[:, blurred] = _told_apart(canonical, left[:, blurred])
            rho = _norms(right)
        if rho[-1] > PLAIN:
            return np.minimum(rho, 1.0), left, right / rho.astype(kind)
    # A direction without correlation says nothing of its partner.
    _, right = linalg.eigh(canonical.T @ canonical)
    return np.minimum(rho, 1.0), left, right[:, ::-1][:, : len(rho)]


def _norms(columns: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->j", columns, columns, dtype=np.float64))


def _told_apart(canonical: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The canonical directions (R, m) in the span of `left` (R, m), the largest first, and their
    products (R2, m)."""
    right = canonical.T @ left
    _, turn = linalg.eigh(right.T @ right)
    return left @ turn[:, ::-1], right @ turn[:, ::-1]


def mean_correlation(canonical: np.ndarray) -> float:
    """Mean canonical correlation of the directions that are left; NaN where there are none."""
    if 0 in canonical.shape:
        return float("nan")
    small = canonical if canonical.shape[0] <= canonical.shape[1] else canonical.T
    for kind in (np.float32, np.float64):
        products = small.astype(kind)
        values = np.clip(linalg.eigvalsh(products @ products.T).astype(np.float64), 0.0, 1.0)
        if (np.sqrt(values + ROUNDING) - np.sqrt(values)).mean() < UNMOVED:
            break
    return float(np.sqrt(values).mean())


def aligned(cross: np.ndarray, own: np.ndarray, other: np.ndarray) -> float:
    """Linear CKA of covariances (Kornblith et al. 2019)."""
    return float((cross**2).sum() / np.sqrt((own**2).sum() * (other**2).sum()))


def best_correlations(of: Layer, by: Layer, cross: np.ndarray) -> np.ndarray:
    """For each neuron of a layer that moves, its largest |correlation| with one of the other's."""
    return np.abs(_correlation(of, by, _moving(of, by, cross))).max(1)
