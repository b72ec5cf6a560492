"""Make the small references that `make test` compares with, by the programs that are the truth.

.venv/bin/python parity/make_references.py
"""

import json
import sys
import tempfile
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


def raw_audio() -> None:
    """tests/references/raw_audio.{json,npz}: configs and names of tensors, states of the models."""
    from made_up_weights import audio_of
    from tiny_models import VARIANTS, states_of, tiny_model

    described, states = {}, {}
    samples = (audio_of(6000) / 32768).astype(np.float32)
    for variant in VARIANTS:
        model = tiny_model(variant)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            config = json.loads(Path(folder, "config.json").read_text())
        shapes = {k: list(v.shape) for k, v in model.state_dict().items() if v.ndim}
        described[variant] = {"config": config, "shapes": shapes}
        hidden, _, output, logits = states_of(model, samples)
        states[f"{variant}/hidden"] = np.stack(hidden)[:, 0]
        states[f"{variant}/output"] = (logits if output is None else output)[0]
    text = json.dumps(described, indent=1)
    (ROOT / "tests" / "references" / "raw_audio.json").write_text(text + "\n")
    np.savez_compressed(ROOT / "tests" / "references" / "raw_audio.npz", **states)


if __name__ == "__main__":
    (ROOT / "tests" / "references").mkdir(exist_ok=True)
    spectra()
    raw_audio()
