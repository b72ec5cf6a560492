"""What a user can mend, in one line. Ground floor: imports no other part."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path


class InputError(ValueError):
    """Something that the user gave is wrong: one line with the file or field, and the cure.

    The scripts print it without a traceback and exit with `status`.
    """

    status = 2


class Interrupted(InputError):
    """The user asked to end, and everything is saved: SIGTERM."""

    status = 143


WRITE_ERRORS = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the quota is used up", "free some space"),
    errno.EFBIG: ("a file may not grow any more", "raise the limit on file sizes"),
    errno.EACCES: ("permission denied", "make it writable"),
    errno.EPERM: ("permission denied", "make it writable"),
    errno.EROFS: ("the file system is read-only", "make it writable"),
    errno.ENOTDIR: ("a part of this path is a file", "name a directory"),
    errno.EEXIST: ("this path is a file", "name a directory"),
    errno.ENOENT: ("it cannot be made", "name a directory"),
    errno.EIO: ("the disk reports an error", "look after the disk"),
    errno.ESTALE: ("the network file system is gone", "mount it again"),
}
"""Errors of the operating system that are about where we write: what happened, and the cure."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unwritable(path: Path | str, error: OSError, option: str = "--run-dir") -> InputError:
    """What an error of `WRITE_ERRORS` means for `path`, and the cure."""
    what, cure = WRITE_ERRORS[error.errno]
    if error.errno in FULL:
        return InputError(
            f"{path}: {what}: {cure}; what was saved before is whole, and the same command goes on"
        )
    return InputError(f"{path}: {what}: {cure}, or give another {option}")


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn what the operating system says against writing `path` into an `InputError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in WRITE_ERRORS:
            raise
        raise unwritable(path, error) from error
