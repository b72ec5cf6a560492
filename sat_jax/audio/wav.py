"""An audio file in, int16 mono samples of 16 kHz out; or one line that says why not.

libsndfile reads wav, flac, ogg and NIST SPHERE, and is silent where a file ends before its header
says; so the headers are compared with the file here.
"""

import os
import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from sat_jax.audio.faults import BadItem
from sat_jax.shapes import SAMPLE_RATE

SUFFIXES = (".wav", ".flac", ".ogg")
"""What a tree is searched for, in any case."""

SHORTEST = 400
"""Samples of one 25 ms window."""

_LONGEST = 4 * 3600 * SAMPLE_RATE
_EXACT = "PCM_16"
_OVERSHOOT = 2.0  # lossy codecs go a little past full scale; more is another unit
_HEADER = 64 << 10
_UNKNOWN_SIZE = 0x7FFF0000  # written by programs that stream and cannot go back


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
    _check_container(path)
    with _open(path) as file:
        rate, channels, promised = file.samplerate, file.channels, file.frames
        if promised > _LONGEST * max(1, rate // SAMPLE_RATE):
            raise _too_long(path)
        exact = file.subtype == _EXACT and rate == SAMPLE_RATE and channels == 1
        try:
            samples = file.read(dtype="int16" if exact else "float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _truncated(path, f"libsndfile stops ({error.error_string.strip()})") from error
    if len(samples) < promised:
        raise _truncated(path, f"its header promises {promised} samples and {len(samples)} follow")
    if not len(samples):
        raise BadItem(path, "empty audio", "it holds no samples", "delete or replace it")
    audio = samples[:, 0] if exact else _to_int16(path, samples, rate)
    if len(audio) < SHORTEST:
        raise BadItem(
            path,
            "audio shorter than one window",
            f"{len(audio) / SAMPLE_RATE:.4f} s is shorter than one window of 25 ms",
            "delete it, or join it to its neighbour",
        )
    return Recording(audio, rate, _notes(rate, channels))


def _open(path: Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise BadItem(
            path,
            "unreadable audio",
            f"libsndfile cannot read it ({error.error_string.strip()})",
            "convert it to wav or flac (shortened SPHERE: sph2pipe -f wav)",
        ) from error


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


def _notes(rate: int, channels: int) -> tuple[str, ...]:
    notes = []
    if rate != SAMPLE_RATE:
        notes.append(f"{rate} Hz and were resampled to {SAMPLE_RATE} Hz")
    if channels > 1:
        notes.append(f"of {channels} channels and were mixed down to one")
    return tuple(notes)


def _check_container(path: Path) -> None:
    """Compare the sizes in a header with the size of the file."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _HEADER))
            tail = file.read()
    except OSError as error:
        raise BadItem(
            path, "unreadable audio", f"cannot be opened ({error.strerror})", "check the file"
        ) from error
    if not size:
        raise BadItem(path, "empty audio", "the file is empty", "delete or replace it")
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        _check_riff(path, size)
    elif head[:7] == b"NIST_1A":
        _check_sphere(path, head, size)
    elif head[:4] == b"OggS":
        _check_ogg(path, tail)


def _check_ogg(path: Path, tail: bytes) -> None:
    """The last page is whole and says that it is the last (flag 4); no page is over 64 KiB."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4 or len(page) < 27 + page[26] + sum(page[27:][: page[26]]):
        raise _truncated(path, "its last page is missing or not whole")


def _check_riff(path: Path, size: int) -> None:
    with open(path, "rb") as file:
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                left = size - file.tell()
                if left < length < _UNKNOWN_SIZE:
                    raise _truncated(path, f"its header promises {length} bytes and {left} follow")
                return
            file.seek(length + length % 2, os.SEEK_CUR)
    raise _truncated(path, "it ends before its samples")


def _check_sphere(path: Path, head: bytes, size: int) -> None:
    fields = {
        name: int(value)
        for name, value in re.findall(rb"(?m)^(\w+) -i (\d+)\s*$", head.partition(b"end_head")[0])
    }
    lines = head.split(b"\n", 2)
    wanted = (b"sample_count", b"channel_count", b"sample_n_bytes")
    if len(lines) < 3 or not lines[1].strip().isdigit() or b"end_head" not in head:
        raise _truncated(path, "its SPHERE header is not complete")
    if b"shorten" in head or not all(name in fields for name in wanted):
        return  # libsndfile says what is wrong with these
    promised = fields[b"sample_count"] * fields[b"channel_count"] * fields[b"sample_n_bytes"]
    left = size - int(lines[1])
    if left < promised:
        raise _truncated(path, f"its header promises {promised} bytes and {left} follow")


def _truncated(path: Path, detail: str) -> BadItem:
    return BadItem(
        path, "truncated audio", f"it is truncated or damaged: {detail}", "copy it again"
    )


def _too_long(path: Path) -> BadItem:
    return BadItem(
        path,
        "audio of unknown length or over four hours",
        "its length is unknown or over four hours",
        "cut it at pauses, or encode it again with its length in the header",
    )
