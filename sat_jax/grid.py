"""Axis alphabet; samples, frames and positions into each other. Ground floor: plain numbers.

Axes, everywhere: `B` utterance, `N` sample, `T` query position, `S` key position, `F` feature bin,
`D` model width, `H` head, `K` head width, `L` layer, `P` phone, `G` gate set, `M` model.
A frame is one analysis window of audio; a position is `stack` (the papers' R_factor) frames.
Frame `t` covers samples `[t * hop, t * hop + window)`: no frame reaches outside its utterance.
"""

from typing import Any, NamedTuple, TypeVar

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


def frame_centres(frames: int, window: int, hop: int) -> np.ndarray:
    """Centre of each frame in samples, `(T,)` int64: where a frame's phone label is read."""
    return np.arange(frames) * hop + window // 2


class Grid(NamedTuple):
    """Where the positions of a model lie in audio of `SAMPLE_RATE`.

    Position `t` covers samples `[t * stride, t * stride + window)`, none reaches outside its
    utterance. It stands for `frames` frames, one `hop` apart, each with a phone label of its own.

    With a `reach`, audio goes on for so many samples at both ends (mirrored): position `t` covers
    `[t * stride - reach, t * stride - reach + window)`. The last positions then depend on where the
    audio ends, so that an utterance is heard to its last sample and not cut to what they need.
    """

    stride: int
    """Samples between positions."""
    window: int
    """Samples that a position covers."""
    frames: int = 1
    """Frames of a position; has to divide the stride."""
    reach: int = 0
    """Samples by which audio goes on at either end: half of the windows that are centred."""

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return self.stride // self.frames

    @property
    def frame_window(self) -> int:
        """Samples that a frame covers."""
        return self.window - (self.frames - 1) * self.hop

    @property
    def seconds(self) -> float:
        """Seconds between positions."""
        return self.stride / SAMPLE_RATE

    def positions(self, samples: IntOrArray) -> IntOrArray:
        """Whole positions in `samples` samples; 0 where the audio is shorter than one."""
        return self._count(samples, self.window, self.stride)

    def samples(self, positions: IntOrArray) -> IntOrArray:
        """Samples that exactly so many positions, at least 1, cover; with a reach the most."""
        return self._most(positions, self.window, self.stride)

    def covered(self, samples: IntOrArray) -> IntOrArray:
        """Samples that the whole positions in `samples` samples cover; 0 where there is none."""
        positions = self.positions(samples)
        most = self.samples(positions)
        return (most - (most - samples) * (most > samples)) * (positions > 0)

    def centre(self, position: IntOrArray) -> IntOrArray:
        """Sample at the centre of a position, rounded down."""
        return position * self.stride + self.window // 2 - self.reach

    def _count(self, samples: IntOrArray, window: int, hop: int) -> IntOrArray:
        return frame_count(samples + 2 * self.reach, window, hop) * (samples > 0)

    def _most(self, count: IntOrArray, window: int, hop: int) -> IntOrArray:
        return sample_count(count, window, hop) - 2 * self.reach + (hop - 1) * (self.reach > 0)

    def valid(self, lengths: Any, positions: int) -> Any:
        """Which of so many positions are real: lengths (B,) in samples to bool (B, positions)."""
        return np.arange(positions) < self.positions(lengths)[:, None]

    def frame_count(self, samples: IntOrArray) -> IntOrArray:
        """Frames in `samples` samples; the last ones may not fill a position."""
        return self._count(samples, self.frame_window, self.hop)

    def frame_samples(self, frames: IntOrArray) -> IntOrArray:
        """Samples that exactly so many frames, at least 1, cover; with a reach the most."""
        return self._most(frames, self.frame_window, self.hop)

    def whole_frames(self, samples: IntOrArray) -> IntOrArray:
        """Frames of the whole positions in `samples` samples."""
        return self.positions(samples) * self.frames

    def frame_centres(self, frames: int) -> np.ndarray:
        """Centre of each frame in samples, (frames,) int64: where its phone label is read."""
        return frame_centres(frames, self.frame_window, self.hop) - self.reach


def stacked_grid(window: int, hop: int, stack: int, reach: int = 0) -> Grid:
    """The grid of positions that are `stack` frames of `window` samples, `hop` apart."""
    return Grid(stack * hop, window + (stack - 1) * hop, stack, reach)
