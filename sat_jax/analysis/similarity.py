"""Covariances of two layers in, how alike their representations are out.

Measures of arXiv:2005.01172 and arXiv:2406.16099, all from covariances (see `moments`), in float64.
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
    """(D, R): standardised neurons times this are uncorrelated, of variance 1."""
    reach: np.ndarray
    """(R, D): products of these with the neurons as they come."""
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
    whitening = vectors[:, real] / np.sqrt(values[real])
    return Layer(
        deviation,
        moving,
        values[real],
        whitening,
        whitening.T / deviation @ covariance,
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
    cross = cross[np.ix_(of.moving, by.moving)]
    correlation = cross / np.outer(of.deviation, by.deviation)
    projected = correlation @ by.whitening, correlation.T @ of.whitening
    canonical = of.whitening.T @ projected[0]  # (R, R2)
    rho, *directions = canonical_correlations(canonical)
    kept = kept_directions(of.values, faithful), kept_directions(by.values, faithful)
    shared = {
        "svcca": mean_correlation(canonical[: kept[0], : kept[1]]),
        "cka": float((cross**2).sum() / (of.size * by.size)),
        "cka_standardised": float(
            (correlation**2).sum() / (of.size_standardised * by.size_standardised)
        ),
    }
    strength = np.abs(correlation)
    best = strength.max(1), strength.max(0)
    return tuple(
        _in_order(
            shared
            | _predicted(projected[side])
            | {
                "maxcorr": float(best[side].mean()),
                "pwcca": _weighted((of, by)[side], rho, directions[side]),
            }
        )
        for side in (0, 1)
    )


def _in_order(found: dict[str, float]) -> dict[str, float]:
    return {name: found[name] for name in MEASURES}


def _predicted(projected: np.ndarray) -> dict[str, float]:
    """linreg of standardised neurons, from their products (D, R) with an orthonormal basis."""
    r2 = np.minimum((projected**2).sum(1), 1.0)
    return {"linreg": float(np.sqrt(r2).mean()), "linreg_r2": float(r2.mean())}


def _weighted(of: Layer, rho: np.ndarray, directions: np.ndarray) -> float:
    """pwcca: each canonical correlation weighted by sum |<h, x>|, its direction h with the neurons
    x of the layer as they come."""
    accounts = np.abs(directions.T @ of.reach).sum(1)
    return float((accounts @ rho) / accounts.sum())


def canonical_correlations(canonical: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlations (r,) of whitened bases with the products (R, R2), the largest first, and their
    directions (R, r) and (R2, r); r is the smaller of R and R2."""
    if canonical.shape[0] > canonical.shape[1]:
        rho, right, left = canonical_correlations(canonical.T)
        return rho, left, right
    values, left = linalg.eigh(canonical @ canonical.T)
    rho, left = np.sqrt(np.clip(values[::-1], 0.0, None)), left[:, ::-1]
    if rho[-1] > PLAIN:
        right = canonical.T @ left / rho
    else:
        # A direction without correlation says nothing of its partner.
        _, right = linalg.eigh(canonical.T @ canonical)
        right = right[:, ::-1][:, : len(rho)]
    return np.minimum(rho, 1.0), left, right


def mean_correlation(canonical: np.ndarray) -> float:
    """Mean canonical correlation of the directions that are left; NaN where there are none."""
    if 0 in canonical.shape:
        return float("nan")
    small = canonical if canonical.shape[0] <= canonical.shape[1] else canonical.T
    values = linalg.eigvalsh(small @ small.T)
    return float(np.sqrt(np.clip(values, 0.0, 1.0)).mean())


def aligned(cross: np.ndarray, own: np.ndarray, other: np.ndarray) -> float:
    """Linear CKA of covariances (Kornblith et al. 2019)."""
    return float((cross**2).sum() / np.sqrt((own**2).sum() * (other**2).sum()))


def best_correlations(of: Layer, by: Layer, cross: np.ndarray) -> np.ndarray:
    """For each neuron of a layer that moves, its largest |correlation| with one of the other's."""
    cross = cross[np.ix_(of.moving, by.moving)]
    return np.abs(cross / np.outer(of.deviation, by.deviation)).max(1)
