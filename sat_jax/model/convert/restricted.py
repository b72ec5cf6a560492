"""A pickle in, plain containers, numbers and tensors to be read out; no code of it is ever run.

Objects of a few known packages (schedulers, settings) are passed over: they become `Inert`, which
remembers its fields and does nothing. Whatever else a file asks for is refused by name.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

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
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
PASSED_OVER = ("optimizers", "schedulers", "torch.optim", "fairseq", "omegaconf", "s3prl", "typing")
"""Packages whose objects stand in published checkpoints beside the weights."""


class Refused(Exception):
    """A name that a pickle asks for and does not get."""


class Inert:
    """An object of a class that is not loaded: its fields, and nothing that it could do."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        self.arguments = arguments
        self.__dict__.update(fields)

    def __setstate__(self, state: Any) -> None:
        # With slots the state is a pair: what is in the dict, and what is in the slots.
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update((str(name), value) for name, value in part.items())

    def __setitem__(self, name: Any, value: Any) -> None:
        self.__dict__[str(name)] = value

    def append(self, value: Any) -> None:
        """Nothing: what it would hold is not needed."""

    def extend(self, values: Any) -> None:
        """Nothing: what it would hold is not needed."""

    def add(self, value: Any) -> None:
        """Nothing: what it would hold is not needed."""


class Maker:
    """A function that a pickle may call and, unlike a plain one, not change."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *arguments: Any) -> Any:
        """What the function makes of these."""
        return self._make(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise Refused(f"a change of its reader ({name})")

    def __setstate__(self, state: Any) -> None:
        raise Refused("a change of its reader")


class NumberKind:
    """A numpy dtype, which a pickle makes little- or big-endian after it has made it."""

    def __init__(self, name: str) -> None:
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "biufcSU":
            raise Refused(f"numpy's {name!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class StorageKind(NamedTuple):
    """What a storage holds."""

    dtype: Any


class Lazy(NamedTuple):
    """A tensor whose storage may not have been read yet."""

    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Reader(pickle.Unpickler):
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
        known = self.storages.setdefault(key, (kind.dtype, count))
        if known != (kind.dtype, count) or count < 0:
            raise ValueError(f"storage {key} is said to be of two kinds")
        return key

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a global name; raises `Refused` for a name that is not known."""
        full = f"{module}.{name}"
        if full in KNOWN:
            return KNOWN[full]
        if module == "torch" and name in STORAGES:
            return StorageKind(STORAGES[name])
        if module == "torch" and name in DTYPES:
            return name
        if module.split(".")[0] in PASSED_OVER or module.startswith("torch.optim"):
            return Inert
        raise Refused(full)


def _tensor(storage: str, offset: int, size: Any, stride: Any, *_: Any) -> Lazy:
    return Lazy(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


def _parameter(data: Lazy, *_: Any) -> Lazy:
    return data


def _scalar(kind: NumberKind, data: bytes | str = b"") -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, kind.dtype)[0].item()


def _dtype(name: str, *_: Any) -> NumberKind:
    return NumberKind(str(name))


def _encoded(text: str, *_: Any) -> bytes:
    return text.encode("latin1")


def _nothing(*_: Any) -> None:
    return None


MADE: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.device": _nothing,
    "torch.serialization._get_layout": _nothing,
    "collections.defaultdict": lambda *_: {},
    "pathlib.PosixPath": lambda *parts: "/".join(map(str, parts)),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encoded,
}
INERT = ("argparse.Namespace", "numpy.ndarray", "numpy.core.multiarray._reconstruct")
INERT += ("numpy._core.multiarray._reconstruct",)
BUILTINS = ("builtins", "__builtin__")
"""Their name today, and in the protocol that torch.save uses."""
TYPES = ("int", "long", "float", "str", "unicode", "bool", "bytes", "object")
INERT += tuple(f"{module}.{name}" for module in BUILTINS for name in TYPES)
KNOWN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch.Size": tuple,
    **{f"{module}.{kind.__name__}": kind for module in BUILTINS for kind in (set, dict, list)},
    **{name: Maker(make) for name, make in MADE.items()},
    **dict.fromkeys(INERT, Inert),
}
"""Every name of which a pickle gets more than a refusal."""
