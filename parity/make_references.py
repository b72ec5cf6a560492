"""Make the small references that `make test` compares with, by the programs that are the truth.

.venv/bin/python parity/make_references.py
"""

import sys
from pathlib import Path

import librosa
import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def spectra() -> None:
    """tests/references/spectra.npz: log-mel frames and MFCCs of one second, and mel filters."""
    from signals import speech

    signal = speech(16_000).astype(np.float64) / 32768
    how = {"n_fft": 400, "hop_length": 160, "window": "hann", "center": False}
    power = np.abs(librosa.stft(signal, dtype=np.complex128, **how)) ** 2
    filters = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80)
    mel = np.log(filters @ power + 1e-7)
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=13)
    found = {"log_mel": mel.T, "mfcc": mfcc.T, "filters": filters.T}
    found = {name: array.astype(np.float32) for name, array in found.items()}
    np.savez_compressed(ROOT / "tests" / "references" / "spectra.npz", **found)


if __name__ == "__main__":
    (ROOT / "tests" / "references").mkdir(exist_ok=True)
    spectra()
