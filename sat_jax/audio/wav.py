"""An audio file in, int16 mono samples of 16 kHz out; or one line that says why not.

libsndfile decodes; what it does not check is checked before, in headers.py.
"""

import io
import mmap
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from sat_jax.audio.faults import BadItem
from sat_jax.audio.headers import Header, check_header, no_samples, truncated
from sat_jax.grid import SAMPLE_RATE

SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
    *(".aif", ".aiff", ".aifc", ".caf", ".sph"),
)
"""What a tree is searched for, in any case."""

UNREAD = (
    *(".m4a", ".m4b", ".mp4", ".aac", ".3gp", ".wma", ".amr", ".webm", ".mka"),
    *(".mp2", ".ac3", ".ape", ".wv", ".spx", ".ra", ".au", ".snd"),
)
"""Endings of audio files that are not read, and are not to be passed over without a word."""

SHORTEST = 400
"""Samples of one 25 ms window."""

_LONGEST = 4 * 3600 * SAMPLE_RATE
_EXACT = "PCM_16"
_OVERSHOOT = 2.0  # lossy codecs go a little past full scale; more is another unit


class Recording(NamedTuple):
    """int16 samples `(N,)` of 16 kHz; the file's own rate (Hz); what was done, to be told."""

    audio: np.ndarray
    rate: int
    notes: tuple[str, ...]


def read_audio(path: Path) -> Recording:
    """Read a file as mono 16 kHz: channels are averaged, other rates resampled without dither.

    16-bit samples of a mono 16 kHz file come back as they are. Raises `BadItem` (an `InputError`)
    for a file that is empty, truncated, unreadable, not audio, not finite, beyond full scale,
    shorter than one 25 ms window or longer than four hours.
    """
    path = Path(path)
    header = check_header(path)
    with _open(path, header) as file:
        rate, channels, promised = file.samplerate, file.channels, file.frames
        if promised > _LONGEST * max(1, rate // SAMPLE_RATE):
            raise _too_long(path)
        exact = file.subtype == _EXACT and rate == SAMPLE_RATE and channels == 1
        try:
            samples = file.read(dtype="int16" if exact else "float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise truncated(path, f"libsndfile stops ({error.error_string.strip()})") from error
    # Some MP3 encoders count the frame that holds the count, and no sound.
    if len(samples) < promised - (header.mp3.frame if header.mp3 else 0):
        raise truncated(path, f"its header promises {promised} samples and {len(samples)} follow")
    if not len(samples):
        raise no_samples(path)
    audio = samples[:, 0] if exact else _to_int16(path, samples, rate)
    if len(audio) < SHORTEST:
        raise BadItem(
            path,
            "audio shorter than one window",
            f"{len(audio) / SAMPLE_RATE:.4f} s is shorter than one window of 25 ms",
            "delete it, or join it to its neighbour",
        )
    return Recording(audio, rate, _notes(audio, rate, channels, header))


def _open(path: Path, header: Header) -> soundfile.SoundFile:
    try:
        if header.size_field is not None:
            return soundfile.SoundFile(_with_size(path, header.size_field))
        if header.mp3 and header.mp3.count:
            frames = path.read_bytes()[header.mp3.start :]
            return soundfile.SoundFile(io.BytesIO(header.mp3.count + frames))
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise BadItem(
            path,
            "unreadable audio",
            f"libsndfile cannot read it ({error.error_string.strip()})",
            "convert it to wav or flac (shortened SPHERE: sph2pipe -f wav)",
        ) from error


def _with_size(path: Path, at: int) -> mmap.mmap:
    """A wav file in memory, with the size that its recorder did not come to write."""
    with open(path, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    view[at : at + 4] = struct.pack("<I", min(len(view) - at - 4, 0xFFFFFFFF))
    return view


def _to_int16(path: Path, samples: np.ndarray, rate: int) -> np.ndarray:
    finite = np.isfinite(samples).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise BadItem(
            path,
            "NaN or Inf samples",
            f"{(~finite).sum()} samples are NaN or Inf, the first at {first / rate:.3f} s",
            "export it again",
        )
    peak = float(np.abs(samples).max())
    if peak > _OVERSHOOT:
        raise BadItem(
            path,
            "samples beyond full scale",
            f"float samples reach {peak:g}, expected -1 to 1",
            "divide them by their full scale",
        )
    mono = samples.mean(axis=1, dtype=np.float32)
    if rate != SAMPLE_RATE:
        # As float, because resampling integers dithers: not the same bits twice.
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    return np.clip(np.rint(mono * 32768), -32768, 32767).astype(np.int16)


def _notes(audio: np.ndarray, rate: int, channels: int, header: Header) -> tuple[str, ...]:
    notes = []
    if header.size_field is not None:
        notes.append("with a header that says 0 bytes and were read to the end of the file")
    if not audio.any():
        notes.append("digital silence from end to end")
    if rate != SAMPLE_RATE:
        notes.append(f"{rate} Hz and were resampled to {SAMPLE_RATE} Hz")
    if channels > 1:
        notes.append(f"of {channels} channels and were mixed down to one")
    return tuple(notes)


def _too_long(path: Path) -> BadItem:
    return BadItem(
        path,
        "audio of unknown length or over four hours",
        "its length is unknown or over four hours",
        "cut it at pauses, or encode it again with its length in the header",
    )
