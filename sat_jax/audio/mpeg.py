"""An MP3 file in, whether all the frames that it states are there; a count if it states none.

libsndfile believes the count in the first frame. Where there is none it guesses one from the size
of the file, and reads no further; so the frames are counted here. The form of a frame is that of
ISO/IEC 11172-3 and 13818-3, layer III.
"""

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

from sat_jax.audio.faults import BadItem

_HEAD = 4
_RATES = (44_100, 48_000, 32_000)
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}  # MPEG 1, 2 and 2.5
_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG 2 and 2.5
_EXTRA = 2  # frames that encoders may leave out of their count


class Stream(NamedTuple):
    """The samples of one frame; and, for a file that does not say how many frames it holds, where
    they begin and a frame to put before them that says it."""

    frame: int
    start: int = 0
    count: bytes = b""


class Frame(NamedTuple):
    """Bytes and samples of one frame, and what all frames of a stream have in common."""

    length: int
    samples: int
    stream: tuple[int, int]


def measure(path: Path) -> Stream:
    """Follow the frames of an MP3 file from the first to the last.

    Raises `BadItem` for a file that holds no frame, ends within one, or goes on after the frames
    that it counts, as files do that were joined end to end.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = _find(data, _after_tag(data), None)
        if start is None:
            raise BadItem(
                path, "unreadable audio", "it holds no whole MP3 frame", "copy or encode it again"
            )
        first = _frame(data, start)
        stated = _stated_frames(data[start : start + first.length])
        frames = _count(path, data, start, first.stream)
        if stated is None:
            return Stream(
                first.samples, start, _counting_frame(data[start : start + _HEAD], frames)
            )
    frames -= 1  # the frame that holds the count holds no sound
    if frames > stated + _EXTRA:
        raise BadItem(
            path,
            "audio of another length than its header says",
            f"its header counts {stated} MP3 frames and {frames} follow",
            "encode it again; if recordings were joined, take them apart",
        )
    return Stream(first.samples)


def is_mp3(head: bytes) -> bool:
    """Whether a file begins with an ID3 tag or with a frame of layer III."""
    return head[:3] == b"ID3" or _frame(head, 0) is not None


def _count(path: Path, data: mmap.mmap, at: int, stream: tuple[int, int]) -> int:
    frames = 0
    while at is not None and at < len(data):
        frame = _frame(data, at)
        if frame is None or frame.stream != stream:
            if data[at] == 0xFF and len(data) - at < _HEAD:
                raise _cut(path, frames)
            at = _find(data, at + 1, stream)  # past a tag, or past damage
            continue
        if at + frame.length > len(data):
            raise _cut(path, frames)
        frames += 1
        at += frame.length
    return frames


def _cut(path: Path, frames: int) -> BadItem:
    return BadItem(
        path,
        "truncated audio",
        f"it is truncated or damaged: it ends within MP3 frame {frames + 1}",
        "copy it again",
    )


def _frame(data: bytes | mmap.mmap, at: int) -> Frame | None:
    head = data[at : at + _HEAD]
    if len(head) < _HEAD or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    # Bit rate 0 is free, 15 is none; a free one cannot be followed, and hardly exists.
    if version not in _RATE_DIVISORS or rate == 3 or kbits in (0, 15):
        return None
    samples = 1152 if version == 3 else 576
    bits = 1000 * (_KBITS if version == 3 else _KBITS_LOW)[kbits]
    hertz = _RATES[rate] // _RATE_DIVISORS[version]
    return Frame(samples // 8 * bits // hertz + (head[2] >> 1 & 1), samples, (version, rate))


def _find(data: mmap.mmap, at: int, stream: tuple[int, int] | None) -> int | None:
    """Where the next frame begins that another one, or the end of the file, follows."""
    while (at := data.find(b"\xff", at)) >= 0:
        frame = _frame(data, at)
        if frame is not None and stream in (None, frame.stream):
            after = at + frame.length
            follower = _frame(data, after)
            if after == len(data) or (follower is not None and follower.stream == frame.stream):
                return at
        at += 1
    return None


def _after_tag(data: mmap.mmap) -> int:
    """Where an ID3v2 tag ends, whose size has seven bits a byte."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _counting_frame(head: bytes, frames: int) -> bytes:
    """A frame without sound that states a number of frames, for a stream of such heads."""
    # No checksum, and a bit rate that leaves room: 40 or 64 kbit/s.
    head = bytes([head[0], head[1] | 1, 5 << 4 | head[2] & 0x0C, head[3]])
    is_mono, is_mpeg1 = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    side = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    body = head + bytes(side) + b"Xing" + struct.pack(">II", 1, frames)
    return body.ljust(_frame(head, 0).length, b"\0")


def _stated_frames(frame: bytes) -> int | None:
    for name, offset in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = frame.find(name, _HEAD, 64)
        if at < 0 or len(frame) < at + offset + 4:
            continue
        # Xing and Info say by a flag whether they count frames.
        if name == b"VBRI" or frame[at + 7] & 1:
            return struct.unpack_from(">I", frame, at + offset)[0]
    return None
