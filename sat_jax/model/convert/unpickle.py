"""PyTorch's pickled files in, plain dicts of numpy arrays out; no code of theirs is ever run.

What a file may ask for stands in `restricted`.
"""

import math
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sat_jax.errors import InputError
from sat_jax.model.convert.restricted import Inert, Lazy, Reader, Refused

LEGACY = 0x1950A86A20F9469CFC6C
"""The number that files older than PyTorch 1.6 begin with."""
LARGEST = 10**8
"""Elements of a tensor that repeats its storage (an expanded one); a larger one is an attack."""
FAULTS = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError)
FAULTS += (
    IndexError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    OverflowError,
    OSError,
)


def read_pickle(path: Path) -> Any:
    """What a file of `torch.save` holds, its tensors as numpy arrays (copies).

    Raises `InputError` for what is no such file, is cut off, or asks for anything but data.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_zip(file) if zipped else _read_legacy(file)
    except Refused as refused:
        raise InputError(
            f"{path}: asks for {refused}, which is no tensor and no plain container: refused, and "
            "nothing was executed; give a file of weights only (safetensors, best of all)"
        ) from None
    except FAULTS as error:
        raise InputError(
            f"{path}: not a whole PyTorch file ({error or type(error).__name__}): download or copy "
            "it again"
        ) from None


def _read_zip(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        (main,) = [name for name in names if name.endswith("data.pkl")] or [""]
        if not main:
            raise ValueError("no data.pkl inside; is it a TorchScript file or another archive?")
        if main.removesuffix("data.pkl") + "constants.pkl" in names:
            raise ValueError("it is a TorchScript program, not a file of weights")
        prefix = main.removesuffix("data.pkl")
        order = prefix + "byteorder"
        if order in names and archive.read(order) != b"little":
            raise ValueError("its numbers are big-endian")
        storages: dict[str, Any] = {}
        with archive.open(main) as pickled:
            found = Reader(pickled, storages).load()
        arrays = {}
        for key, (dtype, count) in storages.items():
            entry = archive.getinfo(f"{prefix}data/{key}")
            if entry.file_size != np.dtype(dtype).itemsize * count:
                raise ValueError(f"storage {key} has not the size that it says")
            arrays[key] = np.frombuffer(archive.read(entry), dtype, count)
    return _with_arrays(found, arrays, {})


def _read_legacy(file: BinaryIO) -> Any:
    storages: dict[str, Any] = {}
    if Reader(file, {}).load() != LEGACY:
        raise ValueError("it does not begin as one")
    for _ in ("version", "system"):
        Reader(file, {}).load()
    found = Reader(file, storages).load()
    keys = Reader(file, {}).load()
    arrays = {}
    for key in map(str, keys):
        dtype, count = storages[key]
        (written,) = struct.unpack("<q", file.read(8))
        if written != count:
            raise ValueError(f"storage {key} has {written} numbers in place of {count}")
        size = np.dtype(dtype).itemsize * count
        data = file.read(size)
        if len(data) != size:
            raise EOFError("it ends in the middle of a tensor")
        arrays[key] = np.frombuffer(data, dtype)
    return _with_arrays(found, arrays, {})


def _with_arrays(found: Any, arrays: dict[str, np.ndarray], made: dict[int, Any]) -> Any:
    """`found` with its tensors read from `arrays`; `made` are the objects met so far.

    Objects may refer to each other in a circle, as the nodes of omegaconf do.
    """
    if isinstance(found, Lazy):
        return _read(found, arrays[found.storage])
    if not isinstance(found, Inert | dict | list | tuple):
        return found
    if id(found) in made:
        return made[id(found)]
    if isinstance(found, Inert):
        made[id(found)] = found
        fields = {name: _with_arrays(each, arrays, made) for name, each in vars(found).items()}
        found.__dict__.update(fields)
        return found
    whole: Any = {} if isinstance(found, dict) else []
    made[id(found)] = whole
    if isinstance(found, dict):
        whole.update((key, _with_arrays(each, arrays, made)) for key, each in found.items())
    else:
        whole.extend(_with_arrays(each, arrays, made) for each in found)
    return whole


def _read(tensor: Lazy, storage: np.ndarray) -> np.ndarray:
    """A strided tensor as an array of its own; raises `ValueError` where it reaches outside."""
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True)
    )
    if min((*tensor.size, *tensor.stride, tensor.offset), default=0) < 0:
        raise ValueError("a tensor has a negative size, stride or place")
    if 0 in tensor.size:
        return np.zeros(tensor.size, storage.dtype)
    if last >= len(storage) or math.prod(tensor.size) > max(len(storage), LARGEST):
        raise ValueError("a tensor reaches outside of its storage")
    step = storage.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.size, tuple(step * each for each in tensor.stride)
    )
    return np.array(view)
