"""What one process of a cluster knows in, what all of them know out.

For what processes work out by themselves, each on its own devices, and for what lies on the disk of
one of them: it travels through JAX's runtime, so that hosts need no disk in common. Every process
has to make the same calls in the same order. In a run of one process all of this is free. Values
are pickled: both ends are this program.
"""

import contextlib
import functools
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from sat_jax.errors import InputError, Interrupted

T = TypeVar("T")

PIECE = 2**26
"""Most bytes of a process that travel at a time."""


def everywhere(value: T) -> list[T]:
    """The values of all processes, in their order, on every one of them."""
    if jax.process_count() == 1:
        return [value]
    return [pickle.loads(content) for content in _all_bytes(pickle.dumps(value))]


def from_leader(make: Callable[[], T]) -> T:
    """What `make` gives on process 0, on every process; where it raises `InputError`, all do.

    For what lies on the disk of process 0 only, or may not be written yet when others look.
    """
    if jax.process_count() == 1:
        return make()
    content = b""
    if jax.process_index() == 0:
        try:
            content = pickle.dumps((make(), None))
        except InputError as error:
            content = pickle.dumps((None, error))
    size = int(multihost_utils.broadcast_one_to_all(np.int64(len(content))))
    value, error = pickle.loads(_sent(np.frombuffer(content, np.uint8), size))
    if error:
        raise error
    return value


def gathered(tree: Any) -> Any:
    """The arrays of all devices as numpy arrays on process 0, one after the other; None on others.

    Only one of them at a time is whole on a device.
    """
    leaves, structure = jax.tree.flatten(tree)
    whole = [_whole(leaf) for leaf in leaves]
    return jax.tree.unflatten(structure, whole) if jax.process_index() == 0 else None


def dealt(tree: Any, abstract: Any) -> Any:
    """Numpy arrays of process 0 on the shardings of `abstract`, the same to the bit.

    `tree` is None on the other processes. Every process holds one whole array at a time.
    """
    wanted, structure = jax.tree.flatten(abstract)
    leaves = jax.tree.leaves(tree) if jax.process_index() == 0 else [None] * len(wanted)
    placed = []
    for leaf, want in zip(leaves, wanted, strict=True):
        whole = sent(leaf, want.shape, want.dtype)
        placed.append(
            jax.make_array_from_callback(want.shape, want.sharding, lambda at, w=whole: w[at])
        )
    return jax.tree.unflatten(structure, placed)


def sent(array: np.ndarray | None, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array of process 0, on every process; what the others give is not looked at."""
    if jax.process_count() == 1:
        return np.asarray(array)
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8) if _leads() else None
    return _sent(content, size).view(dtype).reshape(shape)


@contextlib.contextmanager
def leaving_together() -> Iterator[None]:
    """At the end of the context every process waits for all others; also where all are interrupted.

    For what process 0 does last: a process that leaves before it would count as lost.
    """
    try:
        yield
    except Interrupted:
        everywhere(None)
        raise
    everywhere(None)


def in_turns(count: int) -> np.ndarray:
    """The numbers below `count` that are this process's when all take theirs in turns."""
    return np.arange(jax.process_index(), count, jax.process_count())


def joined(count: int, own: Sequence[T]) -> list[T]:
    """What each process made of its numbers of `in_turns`, as one list in the order of numbers."""
    parts = everywhere(list(own))
    return [parts[number % len(parts)][number // len(parts)] for number in range(count)]


def _all_bytes(content: bytes) -> list[bytes]:
    """The bytes of all processes: how many first, as arrays have to be of one shape."""
    sizes = multihost_utils.process_allgather(np.int32(len(content))).tolist()
    padded = np.zeros(_padded(max(sizes)), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    found = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(found, sizes, strict=True)]


def _sent(content: np.ndarray | None, size: int) -> np.ndarray:
    """So many bytes of process 0 (size,), on every process."""
    found = np.empty(size, np.uint8)
    for start in range(0, size, PIECE):
        end = min(start + PIECE, size)
        piece = np.zeros(_padded(end - start), np.uint8)
        if _leads():
            piece[: end - start] = content[start:end]
        found[start:end] = multihost_utils.broadcast_one_to_all(piece)[: end - start]
    return found


def _padded(size: int) -> int:
    """The length that so many bytes travel in: few lengths, as a program is compiled for each."""
    return 1 << max(size - 1, 255).bit_length()


def _whole(leaf: jax.Array) -> np.ndarray | None:
    """A global array on process 0; None on the others."""
    if not leaf.is_fully_replicated:
        leaf = _replicate(leaf.sharding.mesh)(leaf)
    return np.asarray(leaf.addressable_data(0)) if _leads() else None


@functools.cache
def _replicate(mesh: Any) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(lambda leaf: leaf, out_shardings=NamedSharding(mesh, P()))


def _leads() -> bool:
    return jax.process_index() == 0
