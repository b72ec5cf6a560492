"""Raw maps of a few named utterances in, one npz each out and back: the only maps kept on disk."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from sat_jax.files import write_arrays, write_whole
from sat_jax.grid import SAMPLE_RATE


class Sample(NamedTuple):
    """One utterance as a model saw it."""

    id: str
    maps: np.ndarray
    """(L, H, T, T), rows are queries; padding is cut off; on disk float16."""
    spectrogram: np.ndarray
    """(frames, F) log-mel float32."""
    audio: np.ndarray
    """(N,) int16 at 16 kHz."""
    phones: np.ndarray
    """(n, 3) int32 start and end in samples, label; no rows if the corpus has none."""


def save_sample(path: Path, sample: Sample) -> None:
    """Write a sample, whole or not at all; raises `InputError` where that is not possible."""
    write_arrays(path, **sample._replace(maps=sample.maps.astype(np.float16))._asdict())


def save_sound(path: Path, audio: np.ndarray) -> Path:
    """Write int16 audio (N,) of 16 kHz as wav, whole or not at all; raises as `save_sample`."""
    content = io.BytesIO()
    soundfile.write(content, audio, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return write_whole(path, content.getvalue())


def load_sample(path: Path) -> Sample:
    """Read what `save_sample` wrote."""
    with np.load(path) as stored:
        return Sample(**{**{k: stored[k] for k in stored}, "id": str(stored["id"])})
