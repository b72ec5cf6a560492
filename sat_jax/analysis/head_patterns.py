"""Attention maps in, what they look like out: maps on a common grid, general cases, embeddings.

The four general cases are those of arXiv:2006.05174, section 5 (diagonal; shifted or banded near
the diagonal; vertical; diffuse). `assign_cases` says by which rule a head belongs to one.
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

GRID = 24
"""Cells on each side of the common grid."""
REACH = 5
"""Positions around the query that are near."""
NEAR, TIGHT, COLUMNS = 0.5, 0.5, 0.25
"""Thresholds of `assign_cases`."""
DIAGONAL, BANDED, VERTICAL, DIFFUSE = CASES = (
    "diagonal",
    "shifted or banded",
    "vertical",
    "diffuse",
)


def resized_maps(maps: jax.Array, valid: jax.Array) -> jax.Array:
    """Maps (B, H, T, T) as (B, H, GRID, GRID): attention of a part of the queries on a part of the
    keys, where each utterance's valid (B, T) positions are cut into GRID equal parts.

    Rows are means over queries, columns sums over keys, so that rows still sum to 1; a position
    that two parts share counts in both by its share.
    """
    t = maps.shape[-1]
    length = valid.sum(-1)[:, None, None].astype(jnp.float32)
    edges = jnp.arange(GRID + 1) * (length / GRID)  # (B, 1, GRID + 1)
    low, high = edges[..., :-1], edges[..., 1:]
    place = jnp.arange(t, dtype=jnp.float32)[None, :, None]
    share = jnp.clip(jnp.minimum(place + 1, high) - jnp.maximum(place, low), 0.0, 1.0)  # (B, T, G)
    rows = share / jnp.maximum(share.sum(1, keepdims=True), 1e-9)
    return jnp.einsum("btg,bhts,bsk->bhgk", rows, maps, share, precision="highest")


def case_measures(maps: jax.Array, valid: jax.Array) -> dict[str, jax.Array]:
    """What the general cases are told by, of maps (B, H, T, T) with valid (B, T) positions.

    `offsets` (B, H, 2 REACH + 1): mean attention of a query on the key -REACH ... REACH positions
    away; `columns` (B, H): how far the mean over queries is from the same attention for all keys,
    as half the sum of absolute differences (0 to 1).
    """
    t = maps.shape[-1]
    count = jnp.maximum(valid.sum(-1), 1)[:, None].astype(jnp.float32)
    queries = maps * valid[:, None, :, None]
    place = jnp.arange(t)
    away = place[None, :] - place[:, None]
    offsets = jnp.stack(
        [
            jnp.sum(queries * (away == offset), axis=(-2, -1)) / count
            for offset in range(-REACH, REACH + 1)
        ],
        axis=-1,
    )
    mean = queries.sum(-2) / count[..., None]
    uniform = valid[:, None, :] / count[..., None]
    return {"offsets": offsets, "columns": 0.5 * jnp.abs(mean - uniform).sum(-1)}


def assign_cases(offsets: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """General case (...) of heads from means of `case_measures`: offsets (..., R), columns (...).

    At least half of the attention within REACH positions: diagonal where the own position and its
    two neighbours hold at least half of that and no offset but 0 is the largest, else shifted or
    banded. Of the others, vertical where `columns` is at least 0.25, else diffuse.
    """
    near = offsets.sum(-1)
    tight = offsets[..., REACH - 1 : REACH + 2].sum(-1) >= TIGHT * near
    centred = offsets.argmax(-1) == REACH
    return np.where(
        near >= NEAR,
        np.where(tight & centred, DIAGONAL, BANDED),
        np.where(columns >= COLUMNS, VERTICAL, DIFFUSE),
    )


def embedded(maps: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Two-dimensional places (n, 2) of n maps (n, GRID, GRID), by PCA and by t-SNE.

    Coordinates are square roots of the entries, so that distances are Hellinger's. Fewer than four
    maps have no t-SNE and all stand where PCA puts them.
    """
    rows = np.sqrt(np.maximum(maps.reshape(len(maps), GRID * GRID), 0))
    if len(rows) < 2:
        return {"PCA": np.zeros((len(rows), 2)), "t-SNE": np.zeros((len(rows), 2))}
    with np.errstate(invalid="ignore"):  # equal maps have no variance to share out
        linear = PCA(2, random_state=seed).fit_transform(rows)
    if len(rows) < 4:
        return {"PCA": linear, "t-SNE": linear}
    perplexity = min(15.0, (len(rows) - 1) / 3)
    start = linear / max(linear[:, 0].std(), 1e-9) * 1e-4
    near = TSNE(2, perplexity=perplexity, init=start, random_state=seed).fit_transform(rows)
    return {"PCA": linear, "t-SNE": near}
