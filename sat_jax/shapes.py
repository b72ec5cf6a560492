"""Axis alphabet; samples, frames and positions into each other. Ground floor: plain numbers.

Axes, everywhere: `B` utterance, `N` sample, `T` query position, `S` key position, `F` feature bin,
`D` model width, `H` head, `K` head width, `L` layer, `P` phone, `G` gate set, `M` model.
A frame is one analysis window of audio; a position is `stack` (the papers' R_factor) frames.
Frame `t` covers samples `[t * hop, t * hop + window)`: no frame reaches outside its utterance.
"""

from typing import TypeVar

import numpy as np

SAMPLE_RATE = 16_000

IntOrArray = TypeVar("IntOrArray", int, np.ndarray)


def frame_count(samples: IntOrArray, window: int, hop: int) -> IntOrArray:
    """Whole frames in `samples` samples; 0 where the audio is shorter than one window."""
    frames = (samples - window) // hop + 1
    return frames * (frames > 0)


def sample_count(frames: IntOrArray, window: int, hop: int) -> IntOrArray:
    """Samples that exactly `frames` frames cover (the inverse of `frame_count`)."""
    return (frames - 1) * hop + window


def position_count(frames: IntOrArray, stack: int) -> IntOrArray:
    """Positions made of `stack` frames each; a last position that is not full is dropped."""
    return frames // stack


def frame_centres(frames: int, window: int, hop: int) -> np.ndarray:
    """Centre of each frame in samples, `(T,)` int64: where a frame's phone label is read."""
    return np.arange(frames) * hop + window // 2
