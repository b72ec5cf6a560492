"""Settings of what is done with a trained run: its analysis, its ablations, its export."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sat_jax.config.corpus import Corpus
from sat_jax.config.train import Distributed


@dataclass(frozen=True)
class Ablation:
    """What the ablate study prunes from a model, and the tasks it measures afterwards."""

    preset: Literal["", "coarse", "default", "full"] = ""
    """coarse: the metric orderings and three random ones at the paper's seven points; default: with
    their reverses, at every head; full: more orderings, leave one out, spans, replaced attention.
    By default it is coarse beside other studies, default with --only ablate."""
    order: Path | None = None
    """CSV with the columns layer,head (from 1), in which heads are pruned: one more ordering."""
    tasks: tuple[Literal["reconstruction", "phone", "speaker-frame", "speaker-utterance"], ...] = (
        "reconstruction",
        "phone",
        "speaker-frame",
        "speaker-utterance",
    )
    """Tasks that are measured; those without labels in the corpus are left out."""
    kind: Literal["zero", "mean"] = "zero"
    """Attention of a pruned head: 0, or its mean over the utterances that probes learn from."""
    draws: int = 10
    """Random orderings."""
    train_utterances: int = 256
    """Most utterances that the linear probes of every setting learn from, evenly spread."""
    mlp_utterances: int = 1536
    """Most utterances that probes with a hidden layer learn from, and all probes of layers: these
    are trained at the paper's seven points of the metric orderings (presets default and full), and
    on the log-mel spectrogram and every layer (all presets; coarse: every second layer, of the
    first task)."""
    valid_utterances: int = 48
    """Most utterances that tell probes when to stop."""
    test_utterances: int = 96
    """Most utterances that everything is tested on."""
    max_frames: int = 288
    """Longer utterances are cut after so many frames."""
    layer: int | None = None
    """Layer whose output probes read; the last by default."""
    hidden: int = 128
    """Hidden units of the probes that are not linear."""
    probe_steps: int = 200
    """Most training steps of a linear probe, the same for every setting; it may stop earlier."""
    mlp_steps: int = 1200
    """Most training steps of a probe with a hidden layer, twice those of a linear one of
    mlp_utterances; it may stop earlier."""
    probe_batch: int = 512
    """Positions in one training step of a probe on frames."""
    probe_rate: float = 0.02
    """Highest learning rate of the linear probes."""
    mlp_rate: float = 0.015
    """Highest learning rate of the probes of mlp_utterances."""
    probe_seeds: int = 2
    """Probes trained anew from so many starts, for every setting; one on log-mel and
    layers where the preset is coarse."""
    memory_mib: int = 1024
    """Memory that representations of settings, and probes of them, may take at a time; speech and
    programs come on top."""
    engine: Literal["trie", "vmap"] = "trie"
    """trie shares what settings have in common; vmap runs each whole, as a reference."""


@dataclass(frozen=True)
class Similarity:
    """How the layers and heads of models are compared."""

    utterances: int = 64
    """Most utterances on which layers are compared, evenly spread; 0 is all."""
    map_utterances: int = 16
    """Most utterances on which attention maps are compared."""
    shards: int = 8
    """Parts of the utterances whose sums are kept apart, for intervals."""
    draws: int | None = None
    """Resampled sets of shards, or of utterances for maps, behind every interval; 0: no intervals.
    By default none beside other studies, 20 with --only similarity."""
    memory_mib: int = 2048
    """Memory for sums of products; over it there are no intervals, then several passes."""
    faithful: bool = False
    """The published code's quirks, see docs/similarity.md."""


@dataclass(frozen=True)
class Explorer:
    """What explorer.html holds."""

    utterances: int = 8
    """How many, chosen to cover lengths and speakers; the one that figures show is among them."""
    ids: tuple[str, ...] = ()
    """Ids of the utterances instead."""
    megabytes: float = 20.0
    """Most that the page may weigh: over it, pixels of maps average several positions, then
    utterances are left out; the page says which."""


@dataclass(frozen=True)
class Analysis:
    """What `analyze.py` does with a run."""

    only: tuple[
        Literal[
            "heads",
            "phones",
            "segments",
            "ablate",
            "probes",
            "patterns",
            "similarity",
            "layers",
            "explorer",
        ],
        ...,
    ] = ()
    """Studies to make; all but probes and layers by default. The report keeps what earlier calls
    have made."""
    split: Literal["train", "valid", "test", "all"] = "test"
    """Part of the corpus that is analysed; all for a corpus that was not trained on."""
    corpus: Corpus = field(default_factory=lambda: Corpus(kind=""))
    """Another corpus than the run's own: give --corpus.kind and --corpus.path."""
    out: Path | None = None
    """Where results go; the run itself, or RUN/on-NAME for another corpus."""
    pdf: bool = True
    """Write every figure as PDF beside PNG and CSV; without, an analysis is quicker."""
    step: int | None = None
    """Checkpoint; the latest by default."""
    utterance: str = ""
    """Id of the utterance whose maps are drawn; one of about three seconds by default."""
    max_utterances: int = 0
    """Analyse only so many utterances, evenly spread over the split; 0 is all."""
    batch_size: int = 16
    """Utterances at a time over all devices."""
    buckets: int = 2
    """Most static lengths (and so compilations) that utterances are padded to."""
    tune_utterances: int = 64
    """Most validation utterances, evenly spread, on which segmentation is tuned; 0 is all."""
    segment_rows: Literal["plain", "sqrt"] = "plain"
    """Attention rows that boundaries are looked for in: as they are (the paper), or their square
    roots, whose distance is Hellinger's."""
    segment_shifts: bool = False
    """Segment on frames, not positions: as many passes as a position has frames, each one frame
    later, their rows in turn. Several times the work."""
    ablate: Ablation = field(default_factory=Ablation)
    """The ablate study."""
    similarity: Similarity = field(default_factory=Similarity)
    """The similarity study."""
    explorer: Explorer = field(default_factory=Explorer)
    """The page to look at maps."""
    draws: int = 1000
    """Bootstrap draws behind every interval."""
    seed: int = 0
    """Seed of the bootstrap."""
    distributed: Distributed = field(default_factory=Distributed)


@dataclass(frozen=True)
class Export:
    """Which heads of a run are pruned, and how far the others may look."""

    out: Path
    """The new run directory; an address (gs://, s3://) keeps a copy there."""
    heads: int = 0
    """Heads to prune, the first ones of an ordering."""
    attention: Literal["", "syn_random", "syn_handcrafted"] = ""
    """Instead of pruning, replace the attention by maps that are the same for every utterance, and
    that begin as this algorithm does, or with --from-maps."""
    from_maps: bool = False
    """Begin with the mean maps of each head of the run over its training utterances."""
    map_utterances: int = 512
    """Most training utterances behind mean maps, evenly spread; 0 is all."""
    by: Literal[
        "globalness",
        "globalness reversed",
        "verticality",
        "verticality reversed",
        "diagonality",
        "diagonality reversed",
        "weight",
        "weight reversed",
    ] = "globalness"
    """The ordering, from the table that the heads study of analyze.py made; the largest value goes
    first, with weight the smallest."""
    order: Path | None = None
    """Another ordering: CSV with the columns layer,head (from 1), the first to go on top."""
    span: int | None = None
    """Positions that every head that is not pruned may look away; no limit by default."""
    softmax: Literal["row", "band"] = "row"
    """row: the softmax runs over all keys and what is beyond the span becomes 0, as in the ablation
    study, so that a span changes the model little but saves no work. band: the softmax runs over
    the keys within the span, in time and memory linear in length, but it is another model: look at
    the distances that are printed, and train it on."""
    pdf: bool = True
    """Write every figure as PDF beside PNG and CSV; without, an analysis is quicker."""
    step: int | None = None
    """Checkpoint; the latest by default."""
    utterances: int = 128
    """Most utterances of the validation split on which models are compared; 0 is all."""
