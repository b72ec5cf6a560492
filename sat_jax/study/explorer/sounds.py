"""Utterances in, what is heard and seen of them on the page out: sound, spectrogram, phones."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import soundfile

from sat_jax.explorer.pack import base64_size, deflated
from sat_jax.features import frontend
from sat_jax.grid import SAMPLE_RATE
from sat_jax.study.heads import seen_samples, strip_features
from sat_jax.study.loaded_run import LoadedRun

DARKEST, BRIGHTEST = 1.0, 99.8
"""Percentiles of an utterance's log-mel values that its grey levels span."""


class Sound(NamedTuple):
    """One utterance of the page."""

    entry: dict[str, Any]
    """As the page's script reads it."""
    blobs: dict[str, bytes]

    @property
    def size(self) -> int:
        """Bytes on the page."""
        return sum(base64_size(blob) for blob in self.blobs.values())


def sounds_of(loaded: LoadedRun, split: Any) -> list[Sound]:
    """What the page has of every utterance besides maps, cut to what the model covers."""
    utterances = [split[i] for i in range(len(split))]
    audio = [each.audio[: seen_samples(loaded, len(each.audio))] for each in utterances]
    spectra = spectrograms(loaded, audio)
    return [
        sound_of(number, utterance, heard, split.phone_names, spectrum, loaded)
        for number, (utterance, heard, spectrum) in enumerate(
            zip(utterances, audio, spectra, strict=True)
        )
    ]


def spectrograms(loaded: LoadedRun, audio: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Log-mel spectrograms (frames, F) of recordings, in frames of the model's own labels."""
    features = strip_features(loaded)
    lengths = np.array([len(each) for each in audio], np.int32)
    padded = np.zeros((len(audio), lengths.max()), np.int16)
    for row, each in zip(padded, audio, strict=True):
        row[: len(each)] = each
    frames = loaded.model.spec.grid.frame_count(lengths.astype(np.int64))
    seen = jax.jit(lambda *of: frontend.featurize(*of, features)[0])(padded, lengths)
    return [np.asarray(each[:count]) for each, count in zip(seen, frames, strict=True)]


def sound_of(
    number: int,
    utterance: Any,
    audio: np.ndarray,
    phone_names: Sequence[str],
    spectrum: np.ndarray,
    loaded: LoadedRun,
) -> Sound:
    """One utterance: FLAC keeps every sample in about half of the bytes."""
    grid = loaded.model.spec.grid
    file = io.BytesIO()
    soundfile.write(file, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    low, high = np.percentile(spectrum, (DARKEST, BRIGHTEST))
    levels = np.clip((spectrum - low) / max(high - low, 1e-6), 0, 1)
    phones = [
        {
            "start": start / SAMPLE_RATE,
            "end": min(end, len(audio)) / SAMPLE_RATE,
            "label": phone_names[label],
        }
        for start, end, label in utterance.phones.tolist()
        if start < len(audio)
    ]
    entry = {
        "id": utterance.id,
        "speaker": utterance.speaker,
        "seconds": len(audio) / SAMPLE_RATE,
        "phones": phones,
        "sound": f"sound-{number}",
        "spectrogram": {
            "blob": f"spectrogram-{number}",
            "frames": len(spectrum),
            "bins": spectrum.shape[1],
            "hop": grid.hop / SAMPLE_RATE,
            "start": (grid.frame_window / 2 - grid.reach) / SAMPLE_RATE,
        },
    }
    blobs = {
        f"sound-{number}": file.getvalue(),
        f"spectrogram-{number}": deflated(np.rint(255 * levels).astype(np.uint8)),
    }
    return Sound(entry, blobs)
