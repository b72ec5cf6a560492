"""What takes numpy and scipy in turns over small matrices runs on one thread.

Each of the two brings a linear algebra library of its own, whose threads keep a core busy for a
while after their work, to be there for the next; in turns they take each other's cores.
"""

from functools import partial

from threadpoolctl import threadpool_limits

one_thread = partial(threadpool_limits.wrap, limits=1, user_api="blas")
"""Decorates a function."""
