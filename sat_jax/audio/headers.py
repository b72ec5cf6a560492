"""The bytes of an audio file in, what libsndfile does not say about them out, or a fault.

libsndfile is silent where a file ends before its header says, so the two are compared here.
"""

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sat_jax.audio.faults import BadItem
from sat_jax.audio.mpeg import Stream, is_mp3, measure

_HEADER = 64 << 10
_UNKNOWN_SIZE = 0x7FFF0000  # written by programs that stream and cannot go back


class Header(NamedTuple):
    """What is to be known before a file is given to libsndfile.

    `size_field` is where a wav file says that it holds 0 bytes although samples follow.
    """

    mp3: Stream | None = None
    size_field: int | None = None


class _Chunks(NamedTuple):
    """A container of chunks: where the first begins, the form of their heads, their alignment."""

    start: int
    head: str
    samples: bytes
    align: int


_RIFF = _Chunks(12, "<4sI", b"data", 2)
_AIFF = _Chunks(12, ">4sI", b"SSND", 2)
_CAF = _Chunks(8, ">4sq", b"data", 1)


def check_header(path: Path) -> Header:
    """Compare the sizes in a header with the size of the file.

    Raises `BadItem` for a file that cannot be opened, is empty, or ends too early.
    """
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
        return _check_chunks(path, size, _RIFF)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _check_chunks(path, size, _AIFF)
    if head[:4] == b"caff":
        return _check_chunks(path, size, _CAF)
    if head[:7] == b"NIST_1A":
        _check_sphere(path, head, size)
    elif head[:4] == b"OggS":
        _check_ogg(path, tail)
    elif is_mp3(head) or (path.suffix.lower() == ".mp3" and head[:4] != b"fLaC"):
        return Header(mp3=measure(path))
    return Header()


def truncated(path: Path, detail: str) -> BadItem:
    """The fault of a file that ends before it should."""
    return BadItem(
        path, "truncated audio", f"it is truncated or damaged: {detail}", "copy it again"
    )


def no_samples(path: Path) -> BadItem:
    """The fault of a file that is whole and holds nothing."""
    return BadItem(path, "empty audio", "it holds no samples", "delete or replace it")


def _check_ogg(path: Path, tail: bytes) -> None:
    """The last page is whole and says that it is the last (flag 4); no page is over 64 KiB."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4 or len(page) < 27 + page[26] + sum(page[27:][: page[26]]):
        raise truncated(path, "its last page is missing or not whole")


def _check_chunks(path: Path, size: int, kind: _Chunks) -> Header:
    with open(path, "rb") as file:
        file.seek(kind.start)
        while (chunk := _next_chunk(file, kind)) is not None:
            name, length = chunk
            left = size - file.tell()
            if name == kind.samples:
                if left < length < _UNKNOWN_SIZE:
                    raise truncated(path, f"its header promises {length} bytes and {left} follow")
                if length == 0 and left and kind is _RIFF:
                    return _check_unsized(path, file, size)
                return Header()
            file.seek(max(0, length) + length % kind.align, os.SEEK_CUR)
    raise truncated(path, "it ends before its samples")


def _check_unsized(path: Path, file: BinaryIO, size: int) -> Header:
    """After 0 bytes of samples come other chunks, or the samples of a recording that was cut."""
    start = file.tell()
    while (chunk := _next_chunk(file, _RIFF)) is not None:
        name, length = chunk
        if not (name.isascii() and name.decode("ascii").isprintable()):
            break
        file.seek(length + length % 2, os.SEEK_CUR)
        if file.tell() >= size:
            if file.tell() - size > length % 2:
                break
            raise no_samples(path)
    return Header(size_field=start - 4)


def _next_chunk(file: BinaryIO, kind: _Chunks) -> tuple[bytes, int] | None:
    head = file.read(struct.calcsize(kind.head))
    if len(head) < struct.calcsize(kind.head):
        return None
    return struct.unpack(kind.head, head)


def _check_sphere(path: Path, head: bytes, size: int) -> None:
    fields = {
        name: int(value)
        for name, value in re.findall(rb"(?m)^(\w+) -i (\d+)\s*$", head.partition(b"end_head")[0])
    }
    lines = head.split(b"\n", 2)
    wanted = (b"sample_count", b"channel_count", b"sample_n_bytes")
    if len(lines) < 3 or not lines[1].strip().isdigit() or b"end_head" not in head:
        raise truncated(path, "its SPHERE header is not complete")
    if b"shorten" in head or not all(name in fields for name in wanted):
        return  # libsndfile says what is wrong with these
    promised = fields[b"sample_count"] * fields[b"channel_count"] * fields[b"sample_n_bytes"]
    left = size - int(lines[1])
    if left < promised:
        raise truncated(path, f"its header promises {promised} bytes and {left} follow")
