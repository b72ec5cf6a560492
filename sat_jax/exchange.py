"""What one process of a cluster knows in, what all of them know out.

For what processes work out by themselves, each on its own devices: results travel through JAX's
runtime, so that hosts need no disk in common. Every process has to make the same calls in the same
order. In a run of one process all of this is free. Values are pickled: both ends are this program.
"""

import pickle
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from sat_jax.errors import InputError

T = TypeVar("T")


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
    value, error = pickle.loads(_all_bytes(content)[0])
    if error:
        raise error
    return value


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
    # Few lengths, as the gathering is compiled for each.
    padded = np.zeros(1 << max(max(sizes) - 1, 255).bit_length(), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    found = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(found, sizes, strict=True)]
