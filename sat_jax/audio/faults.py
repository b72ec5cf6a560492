"""A fault of one utterance in, an error out that can be raised, or counted and left out."""

from sat_jax.errors import InputError


class BadItem(InputError):
    """One utterance cannot be used; `reason` is what a summary counts it under.

    The message is one line, `loaded: detail; cure`. With `--corpus.skip-bad` it is stored beside
    the prepared corpus instead of ending the run.
    """

    def __init__(self, loaded: object, reason: str, detail: str, cure: str):
        """Name the file (`loaded`), the kind of fault, what was found, and what to do about it."""
        super().__init__(f"{loaded}: {detail}; {cure}")
        self.reason = reason
