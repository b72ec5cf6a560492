"""Every setting of an experiment, as frozen dataclasses. Ground floor: imports no jax, no numpy.

A config is built by one file under `configs/`, changed by the command line, checked once
(`config_check`) and written into the run that it made (`config_json`). The text under a field is
its `--help`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


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
    """One of: talker (synthetic), librispeech, timit, folder."""
    path: Path | None = None
    """Root of the tree, for every kind but the talker."""
    alignments: Path | None = None
    """Root of a tree of TextGrids with the same relative names; by default beside the audio."""
    speakers: Path | None = None
    """folder only: CSV with the columns id,speaker; by default the parent folder is the speaker."""
    phone_set: Literal["timit39", "as-is"] = "timit39"
    """timit39 folds ARPAbet or TIMIT labels to 39 classes (Lee & Hon); as-is keeps any label."""
    split: Literal["utterance", "speaker", "official"] = "utterance"
    """utterance: every speaker is in every split; speaker: no speaker is in two; official: by the
    tree's own folders."""
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
    """Where prepared datasets are kept."""
    workers: int = 0
    """Processes that read audio while a dataset is prepared; 0 is one per core."""


@dataclass(frozen=True)
class Features:
    """What the model hears and what it has to predict."""

    input: Literal["log_mel", "linear", "mfcc"] = "log_mel"
    """What goes into the model."""
    target: Literal["log_mel", "linear"] = "log_mel"
    """What the masked frames are predicted as (linear: log power spectrogram)."""
    window: int = 400
    """Analysis window in samples of 16 kHz (400 is 25 ms)."""
    hop: int = 160
    """Samples between frames (160 is 10 ms)."""
    n_fft: int = 400
    """FFT length of the input; the window is zero-padded up to it."""
    target_n_fft: int = 400
    """FFT length of the target; a linear target has target_n_fft / 2 + 1 bins."""
    mels: int = 80
    """Mel bands."""
    mfccs: int = 13
    """Cepstral coefficients of an mfcc input."""
    deltas: int = 0
    """Orders of time derivatives appended to the input (0, 1 or 2)."""
    normalize: bool = True
    """Zero mean and unit variance per utterance and bin (CMVN), over valid frames only."""


@dataclass(frozen=True)
class Model:
    """The transformer encoder."""

    kind: str = "mockingjay"
    """Model family; one of the keys of MODELS."""
    attention: str = "qk"
    """Attention algorithm; one of the keys of ATTENTION."""
    layers: int = 12
    """Encoder layers (L)."""
    heads: int = 12
    """Attention heads per layer (H); has to divide the width."""
    width: int = 768
    """Model width (D)."""
    ffn: int = 3072
    """Width of the feed-forward layer."""
    stack: int = 3
    """Feature frames per position (R_factor)."""
    dropout: float = 0.1
    """Dropout on embeddings, attention probabilities and both sub-layers."""
    pre_ln: bool = False
    """Normalise before each sub-layer instead of after it."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in layer normalisation."""
    max_positions: int = 2048
    """Length of the position table, in positions of `stack` frames."""
    position_base: float = 10_000.0
    """Longest wavelength of the sinusoidal positions is 2 pi times this."""
    init_std: float | None = 0.02
    """Standard deviation of dense kernels at the start; None is 1/sqrt(fan in)."""
    input_init_std: float | None = 0.02
    """The same for the input projection."""
    residual_init_scale: float = 1.0
    """Factor on kernels that write into the residual stream (attention and feed-forward output)."""
    tied_query_key: bool = False
    """Start with equal query and key projections (they are free in training)."""
    query_key_init_scale: float = 1.0
    """Factor on query and key kernels at the start."""
    scan_layers: bool = False
    """Compile one layer and scan over it: shorter programs for deep models, same numbers."""
    remat: bool = False
    """Recompute activations in the backward pass: less memory, more time, same numbers."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of matrix products; parameters, softmax, normalisation and losses stay float32."""
    kept: tuple[tuple[int, ...], ...] = ()
    """Heads that each layer has left, from 0, as export.py writes them; empty is all of them."""
    spans: tuple[tuple[int, ...], ...] = ()
    """Positions that each of these heads may look away, -1 is no limit; empty is none."""
    span_softmax: Literal["row", "band"] = "row"
    """How spans act. row: softmax over all keys, then 0 beyond the span (the paper); band: softmax
    over the keys within the span, in time and memory linear in length."""

    @property
    def heads_left(self) -> tuple[tuple[int, ...], ...]:
        """The heads of every layer, by their numbers in the model as it was before any was cut."""
        return self.kept or (tuple(range(self.heads)),) * self.layers

    @property
    def spans_left(self) -> tuple[tuple[int, ...], ...]:
        """For each head of `heads_left` the positions it may look away, -1 is no limit."""
        return self.spans or tuple((-1,) * len(heads) for heads in self.heads_left)

    @property
    def refined(self) -> bool:
        """Whether heads were cut or their spans are limited."""
        return bool(self.kept or self.spans)


@dataclass(frozen=True)
class Objective:
    """What is learned: masked reconstruction as in Mockingjay (arXiv:1910.12638)."""

    kind: str = "masked_reconstruction"
    """Pretraining objective; one of the keys of OBJECTIVES."""
    mask_share: float = 0.15
    """Share of positions that is chosen for prediction."""
    c_num: int = 3
    """Length of a masked span in frames, a multiple of model.stack (3, 6, 9 are M3, M6, M9)."""
    zero_share: float = 0.8
    """Probability that an utterance's chosen frames are set to zero."""
    replace_share: float = 0.1
    """Probability that they are replaced by other frames of the utterance; the rest keeps them."""
    position_offset: int = 0
    """Training positions start at a random offset up to this, so that longer inputs work later."""


@dataclass(frozen=True)
class Optim:
    """AdamW with linear warm-up and linear decay."""

    peak_lr: float = 4e-4
    """Learning rate at the end of the warm-up."""
    warmup_share: float = 0.07
    """Share of the steps in which the learning rate rises."""
    final_lr_share: float = 0.0
    """Learning rate of the last step as a share of the peak."""
    beta1: float = 0.9
    """Decay of the gradient average."""
    beta2: float = 0.999
    """Decay of the squared gradient average."""
    weight_decay: float = 0.01
    """Decoupled decay of kernels (never of biases and normalisation)."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm."""


@dataclass(frozen=True)
class Batches:
    """How utterances become batches."""

    size: int = 8
    """Utterances per step over all devices."""
    max_frames: int = 1500
    """Longer utterances are cropped at random to this many frames."""
    buckets: int = 3
    """Most static lengths (and so compilations) that the training set is padded to."""
    threads: int = 1
    """Reader threads; on a CPU one is fastest, as they share its interpreter."""


@dataclass(frozen=True)
class Mesh:
    """Devices as a grid; 0 takes what the others leave."""

    data: int = 0
    """Copies of the model that see different utterances."""
    fsdp: int = 1
    """Devices that share one copy of the state, each with its own utterances."""
    model: int = 1
    """Devices that share one layer's width."""


@dataclass(frozen=True)
class Distributed:
    """One process per host. On Slurm, TPU pods and MPI the addresses are found without help."""

    auto: bool = False
    """Join the cluster that the launcher describes (Slurm, Open MPI, Cloud TPU, Kubernetes)."""
    coordinator: str = ""
    """host:port of process 0, where nothing can be detected."""
    processes: int = 1
    """Number of processes, with `coordinator`."""
    process: int = 0
    """Index of this process, with `coordinator`."""


@dataclass(frozen=True)
class Loop:
    """How long, how often."""

    steps: int = 500_000
    """Training steps."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""
    valid_every: int = 1000
    """Steps between evaluations on the validation split."""
    valid_batches: int = 8
    """Batches per evaluation, the same ones every time."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; SIGTERM saves one as well."""
    keep: int = 2
    """Latest checkpoints that are kept; step 0 always is."""
    first: int = 0
    """Step at which export.py made this run: optimiser and learning rate start anew there."""


@dataclass(frozen=True)
class Config:
    """One pretraining experiment."""

    name: str = "mockingjay"
    """Name of the run."""
    seed: int = 0
    """Seed of parameters, masks, dropout and the order of the data."""
    run_dir: Path | None = None
    """Where everything about this run is written; runs/NAME by default."""
    deterministic: bool = False
    """On a GPU: slower kernels that give the same bits every time."""
    corpus: Corpus = field(default_factory=Corpus)
    features: Features = field(default_factory=Features)
    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Objective)
    optim: Optim = field(default_factory=Optim)
    batches: Batches = field(default_factory=Batches)
    mesh: Mesh = field(default_factory=Mesh)
    distributed: Distributed = field(default_factory=Distributed)
    loop: Loop = field(default_factory=Loop)

    @property
    def directory(self) -> Path:
        """The run's working directory."""
        return self.run_dir if self.run_dir is not None else Path("runs") / self.name


@dataclass(frozen=True)
class Ablation:
    """What the ablate study takes away from a model, and what it asks afterwards."""

    preset: Literal["", "coarse", "default", "full"] = ""
    """coarse: the metric orderings and three random ones at the paper's seven points; default: with
    their reverses, at every head; full: more orderings, leave one out, spans, replaced attention.
    By default it is coarse beside other studies, default with --only ablate."""
    order: Path | None = None
    """CSV with the columns layer,head (from 1), in the order in which heads go: one more."""
    tasks: tuple[Literal["reconstruction", "phone", "speaker-frame", "speaker-utterance"], ...] = (
        "reconstruction",
        "phone",
        "speaker-frame",
        "speaker-utterance",
    )
    """What is asked of the pruned model; tasks without labels in the corpus are left out."""
    kind: Literal["zero", "mean"] = "zero"
    """Attention of a pruned head: 0, or its mean over the utterances that probes learn from."""
    draws: int = 10
    """Random orderings."""
    train_utterances: int = 256
    """Most utterances that probes learn from, evenly spread."""
    valid_utterances: int = 48
    """Most utterances that tell probes when to stop."""
    test_utterances: int = 96
    """Most utterances that everything is tested on."""
    max_frames: int = 288
    """Longer utterances are cut after so many frames."""
    layer: int | None = None
    """Layer whose output probes read; the last by default."""
    hidden: int = 128
    """Hidden units of the probes on frames; the probe on utterances is linear."""
    probe_steps: int = 100
    """Most training steps of a probe, the same for every setting; it may stop earlier."""
    probe_batch: int = 512
    """Positions in one training step of a probe on frames."""
    probe_rate: float = 0.02
    """Highest learning rate of the probes."""
    probe_seeds: int = 2
    """Probes trained anew from so many starts, for every setting."""
    memory_mib: int = 1024
    """Memory that representations of settings, and probes of them, may take at a time; speech and
    programs come on top."""
    engine: Literal["trie", "vmap"] = "trie"
    """trie shares what settings have in common; vmap runs each whole, as a reference."""


@dataclass(frozen=True)
class Analysis:
    """What `analyze.py` does with a run."""

    only: tuple[Literal["heads", "phones", "segments", "ablate"], ...] = ()
    """Studies to make; all by default. The report keeps what earlier calls have made."""
    split: Literal["train", "valid", "test", "all"] = "test"
    """Part of the corpus that is analysed; all for a corpus that was not trained on."""
    corpus: Corpus = field(default_factory=lambda: Corpus(kind=""))
    """Another corpus than the run's own: give --corpus.kind and --corpus.path."""
    out: Path | None = None
    """Where results go; the run itself, or RUN/on-NAME for another corpus."""
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
    draws: int = 1000
    """Bootstrap draws behind every interval."""
    seed: int = 0
    """Seed of the bootstrap."""
    distributed: Distributed = field(default_factory=Distributed)


@dataclass(frozen=True)
class Export:
    """Which heads of a run are removed, and how far the others may look."""

    out: Path
    """The new run directory."""
    heads: int = 0
    """Heads to remove, the first ones of an ordering."""
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
    """Positions that every head that is left may look away; no limit by default."""
    softmax: Literal["row", "band"] = "row"
    """row: the softmax runs over all keys and what is beyond the span becomes 0, as in the ablation
    study, so that a span changes the model little but saves no work. band: the softmax runs over
    the keys within the span, in time and memory linear in length, but it is another model: look at
    the distances that are printed, and train it on."""
    step: int | None = None
    """Checkpoint; the latest by default."""
    utterances: int = 128
    """Most utterances of the validation split on which models are compared; 0 is all."""
