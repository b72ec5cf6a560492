"""Settings of what is done with other people's checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Convert:
    """Where a model comes from, and where it goes."""

    out: Path | None = None
    """The new run directory; an address (gs://, s3://) keeps a copy there."""
    random: str = ""
    """Instead of a checkpoint: an experiment, such as hubert_base, with random parameters."""
    seed: int = 0
    """Seed of the random parameters, and of those of the untrained model beside the converted."""
    letters: Literal["", "phones", "english"] = ""
    """Add a head for CTC with random parameters: the phones of the corpora, learned from their
    alignments, or English letters, learned from transcripts."""
    check: bool = False
    """Compare with transformers, which has to be installed, on the same audio; or, of a run, with
    the output that it had when it was converted."""
    back: Path | None = None
    """Write the model of a run as a folder that transformers opens."""
