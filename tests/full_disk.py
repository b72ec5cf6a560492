"""A limit on the size of files, which stands in for a disk without room."""

import contextlib
import resource


@contextlib.contextmanager
def files_up_to(size):
    """No file of this process grows over `size` bytes in here."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
