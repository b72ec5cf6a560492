"""PyTorch's files written by hand, without PyTorch: opcodes of pickles, and both containers."""

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

KINDS = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


def plain(value) -> bytes:
    """A number, a text or None."""
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, of: str) -> bytes:
    """What stands in a module under a name."""
    return f"c{module}\n{of}\n".encode()


def several(*items: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(items) + b"t"


def listed(*items: bytes) -> bytes:
    """A list."""
    return b"(" + b"".join(items) + b"l"


def mapped(items: dict[str, bytes]) -> bytes:
    """A dict."""
    return b"(" + b"".join(plain(key) + value for key, value in items.items()) + b"d"


def called(function: bytes, *arguments: bytes) -> bytes:
    """What a function returns (REDUCE)."""
    return function + several(*arguments) + b"R"


def built(thing: bytes, state: bytes) -> bytes:
    """A thing with a state given to it (BUILD)."""
    return thing + state + b"b"


def storage(kind: str, key: str, count: int, *more: bytes) -> bytes:
    """A reference to numbers that lie outside of the pickle (BINPERSID)."""
    held = name("torch", kind)
    return several(plain("storage"), held, plain(key), plain("cpu"), plain(count), *more) + b"Q"


def tensor(stored: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A tensor as PyTorch pickles it."""
    hooks = called(name("collections", "OrderedDict"))
    sizes, strides = several(*map(plain, size)), several(*map(plain, stride))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return called(rebuild, stored, plain(offset), sizes, strides, b"\x89", hooks)


def whole(array: np.ndarray, key: str) -> bytes:
    """An array as a tensor in row-major order."""
    strides = tuple(step // array.itemsize for step in np.zeros(array.shape, array.dtype).strides)
    return tensor(storage(KINDS[array.dtype.name], key, array.size), 0, array.shape, strides)


def write_zip(path: Path, body: bytes, data: dict[str, np.ndarray], order: bytes = b"little"):
    """A file of PyTorch 1.6 and later."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("any/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("any/byteorder", order)
        archive.writestr("any/version", "3\n")
        for key, array in data.items():
            archive.writestr(f"any/data/{key}", array.tobytes())
    return path


def write_legacy(path: Path, body: bytes, data: dict[str, np.ndarray]):
    """A file of earlier versions: five pickles, then the storages."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    parts = [pickle.dumps(each, 2) for each in head]
    parts += [b"\x80\x02" + body + b".", pickle.dumps(sorted(data), 2)]
    parts += [struct.pack("<q", data[key].size) + data[key].tobytes() for key in sorted(data)]
    path.write_bytes(b"".join(parts))
    return path
