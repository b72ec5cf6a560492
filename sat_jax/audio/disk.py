"""A directory that datasets are written to in, a lock on it and its errors in plain words out."""

import errno
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sat_jax.errors import WRITE_ERRORS, InputError


def unwritable(data_dir: Path, error: OSError) -> InputError:
    """What an error of `WRITE_ERRORS` means for `corpus.data_dir`, and the cure."""
    what, cure = WRITE_ERRORS[error.errno]
    return InputError(
        f"corpus.data-dir {data_dir}: {what} ({error.filename or data_dir}); {cure}, "
        "or give another --corpus.data-dir"
    )


@contextmanager
def alone_in(path: Path, say: Callable[[str], None]) -> Iterator[bool]:
    """Hold a lock file; False where the file system has no locks. A killed holder lets go."""
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is preparing {path.parent}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            yield False
            return
        yield True
