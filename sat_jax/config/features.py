"""Settings of spectral features: what frames are and what is computed of each."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Features:
    """Spectral frames: the input and the target of a model of stacked frames, and what every figure
    and every spectral baseline shows."""

    recipe: Literal["plain", "s3prl", "kaldi"] = "plain"
    """How frames are cut and computed. plain: as librosa does, from whole windows; s3prl: windows
    centred at every hop, audio mirrored at its ends and brought to one level; kaldi: its filter
    bank."""
    input: Literal["log_mel", "linear", "mfcc"] = "log_mel"
    """What goes into the model."""
    target: Literal["log_mel", "linear"] = "log_mel"
    """What the masked frames are predicted as (linear: log power spectrogram)."""
    window: int = 400
    """Analysis window in samples of 16 kHz (400 is 25 ms)."""
    hop: int = 160
    """Samples between frames (160 is 10 ms)."""
    n_fft: int = 400
    """FFT length of the input; the window is zero-padded up to it."""
    target_n_fft: int = 400
    """FFT length of the target; a linear target has target_n_fft / 2 + 1 bins."""
    mels: int = 80
    """Mel bands."""
    mfccs: int = 13
    """Cepstral coefficients of an mfcc input."""
    deltas: int = 0
    """Orders of time derivatives appended to the input (0, 1 or 2)."""
    target_deltas: int = 0
    """The same for the target."""
    level: float = -25.0
    """Decibels of its root mean square that an utterance is brought to, by the recipe s3prl."""
    normalize: bool = True
    """Zero mean and unit variance per utterance and bin (CMVN), over valid frames only."""
