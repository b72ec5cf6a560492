"""Make tests/references/s3prl_features.npz: what s3prl's own code computes of 0.31 s of audio.

.venv/bin/python parity/make_s3prl_features.py

s3prl computes features by torchaudio, which `make parity` does not bring along: install version
2.11.0 with `pip install --no-deps`. Only its Python functions are used: where its compiled library
does not fit the installed PyTorch, delete `torchaudio/lib/*.so`.
"""

import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
LEVEL = -25


def main() -> None:
    """Log-mel frames, every fourth bin of the log power spectrum, and Kaldi's filter bank."""
    from s3prl.upstream.baseline.extracter import get_extracter
    from s3prl.upstream.baseline.preprocessor import get_preprocessor
    from signals import speech

    wave = torch.tensor(speech(4960) / 32768, dtype=torch.float32)
    mel = {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True}
    audio = {"win_ms": 25, "hop_ms": 10, "n_freq": 201, "n_mels": 80, "n_mfcc": 13}
    audio |= {"input": mel, "target": {**mel, "feat_type": "linear"}}
    preprocessor, _, _ = get_preprocessor(audio)
    level = wave * 10 ** (LEVEL / 20) / (wave.pow(2).mean().sqrt() + 1e-10)
    log_mel, linear = preprocessor(level[None, None], wavs_len=[len(wave)])
    bank = {"num_mel_bins": 80, "frame_length": 25.0, "frame_shift": 10.0, "use_log_fbank": True}
    kaldi = {"kaldi": {"feat_type": "fbank", "fbank": bank}, "cmvn": {"use_cmvn": True}}
    extracter, _, _ = get_extracter(kaldi | {"delta": {"order": 2, "win_length": 5}})
    found = {"log_mel": log_mel[0], "linear": linear[0, :, ::4], "kaldi": extracter(wave)}
    arrays = {name: each.numpy() for name, each in found.items()}
    np.savez_compressed(ROOT / "tests" / "references" / "s3prl_features.npz", **arrays)


if __name__ == "__main__":
    main()
