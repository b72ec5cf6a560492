"""PyTorch's pickled files in, plain dicts of numpy arrays out; no code of theirs is ever run.

Tensors and plain containers are known. Objects of a few known packages (schedulers, settings) are
passed over: they become `Inert`, which remembers its fields and does nothing. Whatever else a file
asks for is refused by name.
"""

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from sat_jax.errors import InputError

LEGACY = 0x1950A86A20F9469CFC6C
"""The number that files older than PyTorch 1.6 begin with."""
STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
PASSED_OVER = ("optimizers", "schedulers", "torch.optim", "fairseq", "omegaconf", "s3prl")
"""Packages whose objects stand in published checkpoints beside the weights."""
FAULTS = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError)
FAULTS += (
    IndexError,
    RecursionError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    UnicodeDecodeError,
    OverflowError,
)


class Inert:
    """An object of a class that is not loaded: its fields, and nothing that it could do."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        self.arguments = arguments
        self.__dict__.update(fields)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update((str(name), value) for name, value in state.items())

    def __setitem__(self, name: Any, value: Any) -> None:
        self.__dict__[str(name)] = value

    def append(self, value: Any) -> None:
        """Nothing: what it would hold is not needed."""

    def extend(self, values: Any) -> None:
        """Nothing: what it would hold is not needed."""


class StorageKind(NamedTuple):
    """What a storage holds."""

    dtype: Any


class Lazy(NamedTuple):
    """A tensor whose storage may not have been read yet."""

    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


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


class Refused(Exception):
    """A name that a pickle asks for and does not get."""


class _Reader(pickle.Unpickler):
    """An unpickler that makes containers, and `Lazy` tensors by `storages`."""

    def __init__(self, file: BinaryIO, storages: dict[str, Any]) -> None:
        super().__init__(file, encoding="latin1")
        self.storages = storages

    def persistent_load(self, pid: Any) -> str:
        """Remember which storage is meant, and its type."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise Refused(f"a persistent object {pid!r}")
        kind, key, count = pid[1], str(pid[2]), int(pid[4])
        if not isinstance(kind, StorageKind):
            raise Refused(f"a storage of {kind!r}")
        self.storages.setdefault(key, (kind.dtype, count))
        return key

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a global name; raises `Refused` for a name that is not known."""
        full = f"{module}.{name}"
        if full in KNOWN:
            return KNOWN[full]
        if module == "torch" and name in STORAGES:
            return StorageKind(STORAGES[name])
        if module.split(".")[0] in PASSED_OVER or module.startswith("torch.optim"):
            return Inert
        raise Refused(full)


def _tensor(storage: str, offset: int, size: Any, stride: Any, *_: Any) -> Lazy:
    return Lazy(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


def _parameter(data: Lazy, *_: Any) -> Lazy:
    return data


def _scalar(dtype: np.dtype, data: bytes | str = b"") -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    if dtype.hasobject:
        raise Refused("numpy objects")
    return np.frombuffer(raw, dtype)[0].item()


def _dtype(name: str, *_: Any) -> np.dtype:
    # Pickled dtypes set their state afterwards; numbers do not need it.
    kind = np.dtype(str(name))
    if kind.hasobject:
        raise Refused("numpy objects")
    return kind


def _encoded(text: str, *_: Any) -> bytes:
    return text.encode("latin1")


def _nothing(*_: Any) -> None:
    return None


KNOWN: dict[str, Callable[..., Any] | type] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    "torch.device": _nothing,
    "torch.serialization._get_layout": _nothing,
    "argparse.Namespace": Inert,
    "builtins.set": set,
    "__builtin__.set": set,
    "builtins.dict": dict,
    "builtins.list": list,
    "collections.defaultdict": lambda *_: {},
    "pathlib.PosixPath": lambda *parts: "/".join(map(str, parts)),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encoded,
}


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
            found = _Reader(pickled, storages).load()
        arrays = {
            key: np.frombuffer(archive.read(f"{prefix}data/{key}"), dtype, count)
            for key, (dtype, count) in storages.items()
        }
    return _with_arrays(found, arrays)


def _read_legacy(file: BinaryIO) -> Any:
    storages: dict[str, Any] = {}
    if _Reader(file, {}).load() != LEGACY:
        raise ValueError("it does not begin as one")
    for _ in ("version", "system"):
        _Reader(file, {}).load()
    found = _Reader(file, storages).load()
    keys = _Reader(file, {}).load()
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
    return _with_arrays(found, arrays)


def _with_arrays(found: Any, arrays: dict[str, np.ndarray]) -> Any:
    """`found` with its tensors read from `arrays`."""
    if isinstance(found, Lazy):
        return _read(found, arrays[found.storage])
    if isinstance(found, Inert):
        found.__dict__ = {name: _with_arrays(each, arrays) for name, each in vars(found).items()}
        return found
    if isinstance(found, dict):
        return {key: _with_arrays(each, arrays) for key, each in found.items()}
    if isinstance(found, list | tuple):
        return [_with_arrays(each, arrays) for each in found]
    return found


def _read(tensor: Lazy, storage: np.ndarray) -> np.ndarray:
    """A strided tensor as an array of its own; raises `ValueError` where it reaches outside."""
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True)
    )
    inside = min((*tensor.size, *tensor.stride, tensor.offset), default=0) >= 0
    if 0 in tensor.size:
        return np.zeros(tensor.size, storage.dtype)
    if not inside or last >= len(storage):
        raise ValueError("a tensor reaches outside of its storage")
    step = storage.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.size, tuple(step * each for each in tensor.stride)
    )
    return np.array(view)
