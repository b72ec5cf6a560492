"""States of a layer and what is known of the same positions in, how much it holds of that out.

After Pasad, Chou and Livescu (arXiv:2107.04734): projection-weighted canonical correlations with
log-mel frames, phones and speakers, here fitted on some utterances and scored on others; and the
mutual information of phones with clusters of the states.
"""

import numpy as np
from scipy import linalg
from sklearn.cluster import MiniBatchKMeans

from sat_jax.analysis.moments import Moments, covariances
from sat_jax.analysis.one_thread import one_thread

RIDGE = 1e-3
"""Shrinkage of correlations between neurons, as a share of their variance."""
CONSTANT = 1e-10
"""Columns whose variance is below this share of the largest are left out."""


@one_thread()
def held_out_correlations(moments: Moments, content: int) -> np.ndarray:
    """How well layer 0 and layer `content` of moments agree on each shard, learned on the others.

    Canonical directions are those of the other shards. Their correlations on the shard are weighted
    by how much of the content each accounts for (pwcca); a negative one counts as 0. (S,), NaN for
    a shard without frames or with constant content.
    """
    shards = len(moments.count)
    scores = np.full(shards, np.nan)
    for shard in range(shards):
        own = np.arange(shards) == shard
        if not (moments.count[shard] > 1 and moments.count[~own].sum() > 1):
            continue
        learned, tested = (covariances(moments, w.astype(float)) for w in (~own, own))
        scores[shard] = _score(
            *(learned.own[0], learned.own[content], learned.cross[0, content]),
            *(tested.own[0], tested.own[content], tested.cross[0, content]),
        )
    return scores


def _score(
    xx: np.ndarray,
    yy: np.ndarray,
    xy: np.ndarray,
    test_xx: np.ndarray,
    test_yy: np.ndarray,
    test_xy: np.ndarray,
) -> float:
    x, y = (np.diag(c) > CONSTANT * np.diag(c).max() for c in (xx, yy))
    if not (x.any() and y.any()):
        return float("nan")
    left, right = _whitening(xx[np.ix_(x, x)]), _whitening(yy[np.ix_(y, y)])
    u, _, v = np.linalg.svd(left.T @ xy[np.ix_(x, y)] @ right, full_matrices=False)
    a, b = left @ u, right @ v.T
    accounts = np.abs(b.T @ yy[np.ix_(y, y)]).sum(1)
    common = (a * (test_xy[np.ix_(x, y)] @ b)).sum(0)
    spread = (a * (test_xx[np.ix_(x, x)] @ a)).sum(0)
    spread = spread * (b * (test_yy[np.ix_(y, y)] @ b)).sum(0)
    there = spread > 1e-20
    rho = np.where(there, common / np.sqrt(np.where(there, spread, 1.0)), 0.0)
    return float((accounts @ np.clip(rho, 0.0, 1.0)) / accounts.sum())


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """(D, D): columns times this are uncorrelated, up to `RIDGE`."""
    deviation = np.sqrt(np.diag(covariance))
    values, vectors = linalg.eigh(covariance / np.outer(deviation, deviation))
    return vectors / np.sqrt(np.maximum(values, 0.0) + RIDGE) / deviation[:, None]


def clusters_of(train: np.ndarray, test: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Cluster (n,) of each test row (n, D), by k-means on train rows (N, D), standardised."""
    mean, deviation = train.mean(0), np.maximum(train.std(0), 1e-8)
    k = min(clusters, len(train))
    means = MiniBatchKMeans(k, n_init=3, batch_size=2048, random_state=seed)
    means.fit((train - mean) / deviation)
    return means.predict((test - mean) / deviation)


def shared_information(clusters: np.ndarray, labels: np.ndarray) -> float:
    """Mutual information of clusters (n,) and labels (n,) as a share of the labels' entropy; rows
    whose label is negative are left out. NaN where all labels are the same."""
    known = labels >= 0
    clusters, labels = clusters[known], labels[known]
    if len(np.unique(labels)) < 2:
        return float("nan")
    counts = np.zeros((clusters.max() + 1, labels.max() + 1))
    np.add.at(counts, (clusters, labels), 1.0)
    joint = counts / counts.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    information = (joint[there] * np.log(joint[there] / apart[there])).sum()
    share = joint.sum(0)
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
    return float(information / entropy)
