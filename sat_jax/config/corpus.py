"""Settings of a corpus: where speech comes from, how it is split, what its labels are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sat_jax.address import place_of


@dataclass(frozen=True)
class Talker:
    """The synthetic corpus: how much speech eSpeak NG speaks."""

    speakers: int = 64
    """Number of speakers; each is a voice, a pitch, a range and a rate."""
    utterances: int = 48
    """Sentences per speaker; no sentence is spoken twice."""


@dataclass(frozen=True)
class Corpus:
    """Where speech comes from and how it is split."""

    kind: str = "talker"
    """One of: talker (synthetic), librispeech, timit, common_voice, vctk, folder."""
    path: Path | None = None
    """Root of the tree, for every kind but the talker."""
    alignments: Path | None = None
    """Root of a tree of TextGrids with the same relative names, by default beside the audio; or a
    CTM file (utterance channel start duration phone), or a folder of them."""
    speakers: Path | None = None
    """folder only: CSV with the columns id,speaker; by default the parent folder is the speaker."""
    phone_set: Literal["timit39", "as-is"] = "timit39"
    """timit39 folds labels of English to 39 classes (Lee & Hon); as-is keeps any label."""
    phone_map: str = "auto"
    """What labels mean: timit, arpabet, ipa (as of MFA), sampa (also X-SAMPA), auto (the one that
    knows the corpus's labels), or a CSV file with the columns label,phone,manner, whose phones are
    taken instead of the phone set's; an empty phone deletes a label."""
    silence: tuple[str, ...] = ()
    """Labels that mean silence in this corpus, beside the usual (sil, sp, pau, <p:>, #, ...)."""
    tier: str = ""
    """Tier of TextGrids that holds phones (NAME or SPEAKER - NAME), in any case; by default the one
    called phones, phone or MAU."""
    split: Literal["utterance", "speaker", "official"] = "utterance"
    """utterance: every speaker is in every split; speaker: no speaker is in two; official: by the
    tree's own folders or tables."""
    valid_share: float = 0.05
    """Share of the corpus held out for validation (utterances or speakers)."""
    test_share: float = 0.1
    """Share of the corpus held out for analysis and tests."""
    skip_bad: bool = False
    """Leave unreadable utterances out and count them, instead of stopping at the first."""
    seed: int = 0
    """Seed of the split and of the talker's sentences."""
    talker: Talker = field(default_factory=Talker)
    """Size of the synthetic corpus."""
    data_dir: Path = Path("data")
    """Where prepared datasets are kept; an address (gs://, s3://) keeps a copy there."""
    workers: int = 0
    """Processes that read audio while a dataset is prepared; 0 is one per core."""

    @property
    def directory(self) -> Path:
        """Where prepared datasets are read and written: data_dir, or its local copy."""
        return place_of(self.data_dir)
