"""Waveforms `(B, N)` in; power spectra, log-mel, linear, MFCC and delta features `(B, T, F)` out.

Everything here can be jitted (the keyword arguments are static) and is float32. Products with
filter banks ask for full precision, because the default of TPUs and GPUs rounds their inputs to
about three digits.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sat_jax.errors import InputError
from sat_jax.grid import SAMPLE_RATE, frame_count

LOG_FLOOR = 1e-7
DELTA_REACH = 4  # frames to either side: a regression over 9
EMPTY_BAND = (
    "features.mels: {} bands are too narrow for an FFT of {} samples (a band would be empty); use "
    "fewer mels, or a longer features.n-fft and features.target-n-fft"
)


def waveform(audio: Array) -> Array:
    """Float32 audio in [-1, 1): integers are divided by 32768, floats are taken as they are."""
    scale = 1 / 32768 if jnp.issubdtype(audio.dtype, jnp.integer) else 1.0
    return audio.astype(jnp.float32) * jnp.float32(scale)


def hann(window: int) -> np.ndarray:
    """Periodic Hann window, `(window,)` float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)


def frames_of(audio: Array, *, window: int, hop: int) -> Array:
    """Overlapping frames `(B, T, window)`; frame `t` is samples `[t * hop, t * hop + window)`."""
    starts = np.arange(frame_count(audio.shape[1], window, hop)) * hop
    # A gather is as fast on a CPU as reshapes and slices, and fuses with the window.
    return audio[:, starts[:, None] + np.arange(window)]


def power_spectrum(
    audio: Array, *, window: int, hop: int, n_fft: int, method: str = "rfft"
) -> Array:
    """Power spectrum of Hann-windowed frames, `(B, N)` to `(B, T, n_fft // 2 + 1)` float32.

    The window is zero-padded at its end up to `n_fft`. `method` is "rfft" (twice as fast on a
    CPU) or "matmul" (a DFT as one strided convolution, for TPUs, which have no fast FFT); they
    agree to float32 rounding. Samples beyond an utterance only reach frames beyond it.

    Raises:
        InputError: `n_fft` is shorter than the window, or `method` is unknown.
    """
    if n_fft < window:
        raise InputError(
            f"features.n-fft: {n_fft} is shorter than the window of {window} samples; "
            f"set features.n-fft and features.target-n-fft to at least {window}"
        )
    if method not in DFT_METHODS:
        raise InputError(
            f"DFT method {method!r} is unknown; choose one of {', '.join(DFT_METHODS)}"
        )
    real, imaginary = DFT_METHODS[method](waveform(audio), window, hop, n_fft)
    return real**2 + imaginary**2


def dft_by_rfft(audio: Array, window: int, hop: int, n_fft: int) -> tuple[Array, Array]:
    """Real and imaginary part of every frame's DFT, `(B, T, n_fft // 2 + 1)` each."""
    framed = frames_of(audio, window=window, hop=hop) * hann(window)
    spectrum = jnp.fft.rfft(framed, n=n_fft)
    return spectrum.real, spectrum.imag


def dft_by_matmul(audio: Array, window: int, hop: int, n_fft: int) -> tuple[Array, Array]:
    """The same as `dft_by_rfft`, by multiplication with windowed cosines and sines."""
    bins = n_fft // 2 + 1
    # The product is reduced as an integer first: cos of a large float loses digits.
    angle = 2 * np.pi / n_fft * (np.outer(np.arange(window), np.arange(bins)) % n_fft)
    waves = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1) * hann(window)[:, None]
    spectrum = lax.conv_general_dilated(
        audio[:, :, None],
        jnp.asarray(waves[:, None, :], jnp.float32),
        window_strides=(hop,),
        padding="VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision=lax.Precision.HIGHEST,
    )
    return spectrum[..., :bins], spectrum[..., bins:]


def mel_filters(n_fft: int, mels: int) -> np.ndarray:
    """Triangular mel filters of unit area from 0 Hz to 8 kHz, `(n_fft // 2 + 1, mels)` float32.

    The scale is that of Slaney's Auditory Toolbox (1998): linear up to 1 kHz, logarithmic above.

    Raises:
        InputError: bands are so narrow that one of them holds no bin of the DFT.
    """
    hertz = np.linspace(0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    edges = hertz_of_mel(np.linspace(0, mel_of_hertz(SAMPLE_RATE / 2), mels + 2))
    filters = triangles(hertz, edges) * 2 / (edges[2:] - edges[:-2])
    return filters.astype(np.float32)


def triangles(bins: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Filters (bins, bands) that rise from 0 at one edge to 1 at the next and fall to the third.

    Both are on one scale, which the slopes are straight on. Raises `InputError` for a band that
    holds no bin.
    """
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rise = (bins[:, None] - low) / (centre - low)
    fall = (high - bins[:, None]) / (high - centre)
    filters = np.maximum(0, np.minimum(rise, fall))
    if not filters.any(axis=0).all():
        raise InputError(EMPTY_BAND.format(len(centre), 2 * (len(bins) - 1)))
    return filters


def mel_of_hertz(hertz: np.ndarray | float) -> np.ndarray:
    """Slaney's mel scale: 3 mel per 200 Hz up to 1 kHz, 27 mel per factor of 6.4 above."""
    hertz = np.asarray(hertz, dtype=np.float64)
    logarithmic = 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4)
    return np.where(hertz < 1000, hertz * 3 / 200, logarithmic)


def hertz_of_mel(mel: np.ndarray) -> np.ndarray:
    """The inverse of `mel_of_hertz`."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))


def log_mel(power: Array, mels: int) -> Array:
    """Log mel energies, `(B, T, n_fft // 2 + 1)` power to `(B, T, mels)`: log(mel + 1e-7)."""
    filters = mel_filters(2 * (power.shape[-1] - 1), mels)
    return jnp.log(jnp.matmul(power, filters, precision=lax.Precision.HIGHEST) + LOG_FLOOR)


def linear(power: Array) -> Array:
    """Log power spectrum, `(B, T, n_fft // 2 + 1)` power to the same shape: log(power + 1e-7).

    Bins 60 dB below the strongest of their frame hold float32 rounding: some are off by 5e-4.
    """
    return jnp.log(power + LOG_FLOOR)


def mfcc(log_mels: Array, coefficients: int) -> Array:
    """First cepstral coefficients, `(B, T, mels)` to `(B, T, coefficients)`: orthonormal DCT-II.

    Raises:
        InputError: more coefficients than mel bands.
    """
    mels = log_mels.shape[-1]
    if coefficients > mels:
        raise InputError(
            f"features.mfccs: {coefficients} coefficients need as many mel bands, and "
            f"features.mels is {mels}; use at most {mels}"
        )
    order = np.arange(coefficients)
    cosines = np.cos(np.pi / mels * np.outer(np.arange(mels) + 0.5, order))
    cosines *= np.where(order == 0, np.sqrt(1 / mels), np.sqrt(2 / mels))
    return jnp.matmul(log_mels, cosines.astype(np.float32), precision=lax.Precision.HIGHEST)


def deltas(features: Array, valid: Array, reach: int = DELTA_REACH) -> Array:
    """Slope of each bin over 2 * reach + 1 frames, `(B, T, F)` to the same (HTK book, eq. 5.16).

    `valid` is `(B, T)` bool, real frames first. The first and last real frame are repeated beyond
    the ends, so that padding changes nothing; padded frames come out as 0. The second derivative
    is this function applied twice.
    """
    last = jnp.maximum(valid.sum(axis=1) - 1, 0)
    final = jnp.take_along_axis(features, last[:, None, None], axis=1)
    filled = jnp.where(valid[:, :, None], features, final)
    filled = jnp.pad(filled, ((0, 0), (reach, reach), (0, 0)), mode="edge")
    length = features.shape[1]

    def shifted(by: int) -> Array:
        return lax.slice_in_dim(filled, reach + by, reach + by + length, axis=1)

    steps = range(1, reach + 1)
    slope = sum(k * (shifted(k) - shifted(-k)) for k in steps) / (2 * sum(k * k for k in steps))
    return jnp.where(valid[:, :, None], slope, 0)


DFT_METHODS = {"rfft": dft_by_rfft, "matmul": dft_by_matmul}
