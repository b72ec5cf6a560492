"""A run's directory: one process trains in it at a time, and files appear in it whole."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from sat_jax.errors import WRITE_ERRORS, InputError, unwritable, writing

LOCK = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

# Open for as long as this process lives: the operating system takes a lock back when its process
# ends, in whatever way.
_held: list[int] = []


def take(directory: Path, say: Callable[[str], None]) -> InputError | None:
    """Make the run's directory and lock it until this process ends.

    Returns the error of a directory that cannot be written, for the caller to raise if it has to
    write there. Raises `InputError` where another process trains in it, saying which and since
    when. Where the file system has no locks, that is said.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise InputError(
                    f"{directory}: {_holder(directory / LOCK)} is training in it: wait for it or "
                    "end it, or give another --run-dir"
                ) from None
            if error.errno not in NO_LOCKS:
                raise
            say(
                f"{directory}: this file system has no locks, so nothing keeps a second training "
                "out: start only one"
            )
        os.ftruncate(lock, 0)
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.write(lock, json.dumps(me).encode())
    except OSError as error:
        if error.errno not in WRITE_ERRORS:
            raise
        return unwritable(directory, error)
    _held.append(lock)
    return None


def is_taken(directory: Path) -> bool:
    """Whether a process trains in the directory, as far as this machine can know."""
    try:
        lock = os.open(directory / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)


def token(directory: Path) -> str:
    """What the process that took the directory last wrote into it; nothing where it is not seen."""
    with contextlib.suppress(OSError):
        return (directory / LOCK).read_text(errors="replace")
    return ""


def _holder(lock: Path) -> str:
    try:
        who = json.loads(lock.read_text())
        return f"process {who['pid']} on {who['host']}, since {who['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or as it was before, even after a power failure."""
    temporary = path.with_suffix(".tmp")
    with writing(path):
        with open(temporary, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
