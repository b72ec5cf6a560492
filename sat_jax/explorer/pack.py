"""Attention maps in, the bytes that the page holds of them out.

A probability becomes one byte on a log scale, so that both a peak and the tail of a row survive: 0
stands for less than about 10^-DECADES, 1 to 255 for 10^-DECADES to 1 in equal ratios.
"""

import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

DECADES = 5.0
"""Powers of ten that the codes 1 to 255 span."""
RATIO = 10 ** (DECADES / 254)
"""Between the probabilities of neighbouring codes."""
LEVEL = 6
THUMBNAIL = 40
"""Pixels of a map in the overview."""


class PackedMaps(NamedTuple):
    """The maps of all heads of one model on one utterance, as the page holds them."""

    positions: int
    factor: int
    """Positions that a pixel averages along queries and along keys."""
    chunks: tuple[bytes, ...]
    """One head after the other, deflated; empty for pruned heads."""
    thumbnails: bytes
    """All heads at `side` pixels, deflated together; zeros for pruned heads."""
    side: int

    @property
    def size(self) -> int:
        """Bytes on the page, in base64."""
        return sum(base64_size(chunk) for chunk in (*self.chunks, self.thumbnails))


def base64_size(content: bytes) -> int:
    """Bytes of `content` in base64."""
    return -(-len(content) // 3) * 4


def codes_of(probs: np.ndarray) -> np.ndarray:
    """Probabilities of any shape to codes, uint8; at most half a step of the log scale is lost."""
    with np.errstate(divide="ignore"):
        place = 1 + 254 * (1 + np.log10(np.asarray(probs, np.float32)) / DECADES)
    return np.where(place > 0.5, np.clip(np.rint(place), 1, 255), 0).astype(np.uint8)


def block_means(maps: np.ndarray, factor: int) -> np.ndarray:
    """Maps (..., T, T) to means (..., n, n) over blocks of `factor` positions; the last is shorter.

    A mean over keys, not a sum: what is uniform stays 1 / T.
    """
    if factor == 1:
        return np.asarray(maps, np.float32)
    starts = np.arange(0, maps.shape[-1], factor)
    counts = np.diff(np.append(starts, maps.shape[-1])).astype(np.float32)
    summed = np.add.reduceat(np.asarray(maps, np.float32), starts, axis=-1)
    summed = np.add.reduceat(summed, starts, axis=-2)
    return summed / (counts[:, None] * counts)


def deflated(codes: np.ndarray) -> bytes:
    """Codes without a zlib header, as a browser's `deflate-raw` reads them."""
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, -15)
    return deflater.compress(np.ascontiguousarray(codes).tobytes()) + deflater.flush()


def pack_maps(maps: np.ndarray, factor: int) -> PackedMaps:
    """Pack maps (L, H, T, T), NaN for pruned heads, averaged over blocks of `factor` positions."""
    heads = maps.reshape(-1, *maps.shape[-2:])
    positions = maps.shape[-1]
    unknown = np.isnan(heads)
    pruned = unknown.all((1, 2))
    if (unknown.any((1, 2)) & ~pruned).any():
        raise ValueError("maps hold NaN beside numbers: only maps of pruned heads are NaN")
    small = -(-positions // THUMBNAIL)

    def chunk_of(index: int) -> bytes:
        return b"" if pruned[index] else deflated(codes_of(block_means(heads[index], factor)))

    # Deflating lets other threads run.
    with ThreadPoolExecutor() as pool:
        chunks = tuple(pool.map(chunk_of, range(len(heads))))
    side = -(-positions // small)
    thumbnails = np.zeros((len(heads), side, side), np.uint8)
    thumbnails[~pruned] = codes_of(block_means(heads[~pruned], small))
    return PackedMaps(positions, factor, chunks, deflated(thumbnails), side)
