"""The one exception that a user's mistake ends in. Ground floor: imports nothing."""


class InputError(ValueError):
    """Something that the user gave is wrong: one line with the file or field, and the cure.

    The scripts print it without a traceback and exit with status 2.
    """
