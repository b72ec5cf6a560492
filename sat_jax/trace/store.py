"""Raw maps of a few named utterances in, one npz each out and back: the only maps kept on disk."""

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """One utterance as a model saw it."""

    id: str
    maps: np.ndarray
    """(L, H, T, T) float16, rows are queries; padding is cut off."""
    spectrogram: np.ndarray
    """(frames, F) log-mel float32."""
    audio: np.ndarray
    """(N,) int16 at 16 kHz."""
    phones: np.ndarray
    """(n, 3) int32 start and end in samples, label; no rows if the corpus has none."""


def save_sample(path: Path, sample: Sample) -> None:
    """Write a sample, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **{k: np.asarray(v) for k, v in sample._asdict().items()})
    temporary.replace(path)


def load_sample(path: Path) -> Sample:
    """Read what `save_sample` wrote."""
    with np.load(path) as stored:
        return Sample(**{**{k: stored[k] for k in stored}, "id": str(stored["id"])})
