"""Made-up audio, and how far two spectra of it are apart."""

import numpy as np


def speech(samples: int, seed: int = 0) -> np.ndarray:
    """Int16 audio with what speech has: a gliding harmonic tone, noise, and a pause."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    pitch = 2 * np.pi * (120 * time + 30 * time**2)
    tone = sum(np.sin(k * pitch) / k for k in range(1, 30))
    tone *= np.where((time * 4).astype(int) % 3 == 2, 0, 1)
    return (3000 * tone + 100 * rng.standard_normal(samples)).astype(np.int16)


def noise(samples: int) -> np.ndarray:
    return (3000 * np.random.default_rng(7).standard_normal(samples)).astype(np.int16)


def amplitude_error(power: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of amplitudes, as a share of the strongest bin of the same frame."""
    strongest = np.sqrt(expected.max(axis=0))
    return float((np.abs(np.sqrt(power) - np.sqrt(expected)) / strongest).max())
