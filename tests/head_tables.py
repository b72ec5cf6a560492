"""Head tables of given metrics, as the heads study would have found them."""

import numpy as np

from sat_jax import files
from sat_jax.records.check import CATEGORIES
from sat_jax.records.heads import RANKED, HeadTable, arrays_of


def head_table(metrics, category=None):
    """A table of `metrics`, name to (L, H) with NaN for pruned heads; all else follows."""
    shape = np.shape(next(iter(metrics.values())))
    pruned = np.isnan(next(iter(metrics.values())))
    if category is None:
        category = np.array(
            [[CATEGORIES[(a + b) % 3] for b in range(shape[1])] for a in range(shape[0])]
        )
    blank = np.where(pruned, np.nan, 1.0)
    ranks = {name: ranks_of(metrics[name]) * blank for name in RANKED}
    return HeadTable(
        name="made up",
        metrics=metrics,
        low=metrics,
        high=metrics,
        ranks=ranks,
        rank_low=ranks,
        rank_high=ranks,
        category=np.where(pruned, "pruned", category),
        category_share=blank,
        utterances=9,
        shares=dict.fromkeys(CATEGORIES, (0.3, 0.2, 0.4)),
    )


def ranks_of(values):
    """1 for the largest."""
    order = np.argsort(-np.ravel(values), kind="stable")
    return (np.argsort(order) + 1.0).reshape(np.shape(values))


def write_head_table(path, metrics):
    """The file in which the heads study hands its table on."""
    values = {name: np.asarray(each, float) for name, each in metrics.items()}
    return files.write_arrays(path, **arrays_of(head_table(values)))
