"""Settings of a pretraining experiment: what is learned, how, and on which devices."""

from dataclasses import dataclass, field
from pathlib import Path

from sat_jax.address import place_of
from sat_jax.config.corpus import Corpus
from sat_jax.config.features import Features
from sat_jax.config.model import Model
from sat_jax.config.objective import MaskedReconstruction, Objective


@dataclass(frozen=True)
class Optim:
    """How parameters follow gradients, with linear warm-up and linear decay of the rate."""

    peak_lr: float = 4e-4
    """Learning rate at the end of the warm-up."""
    warmup_share: float = 0.07
    """Share of the steps in which the learning rate rises."""
    final_lr_share: float = 0.0
    """Learning rate of the last step as a share of the peak."""
    beta1: float = 0.9
    """Decay of AdamW's gradient average."""
    beta2: float = 0.999
    """Decay of AdamW's squared gradient average."""
    epsilon: float = 1e-8
    """Added to the root of AdamW's squared gradient average."""
    weight_decay: float = 0.01
    """Decoupled decay of kernels (never of biases and normalisation)."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm."""
    average: float = 0.0
    """Decay of a running mean of the parameters, which is then what is evaluated and analysed; 0
    takes the parameters as they are."""


@dataclass(frozen=True)
class AdamW(Optim):
    """AdamW for all parameters."""

    kind: str = "adamw"
    """The optimiser; one of the keys of OPTIMIZERS."""


@dataclass(frozen=True)
class Muon(Optim):
    """Muon (orthogonalised momentum) for the encoder's kernels, AdamW for everything else."""

    kind: str = "muon"
    """The optimiser; one of the keys of OPTIMIZERS."""
    momentum: float = 0.95
    """Decay of the gradient average of these kernels (Nesterov's)."""
    newton_schulz: int = 4
    """Newton-Schulz steps that make it orthogonal: fewer are quicker, more are closer."""
    matrix_rms: float = 0.2
    """Root mean square of an update as a share of the learning rate; 0.2 is about AdamW's."""


@dataclass(frozen=True)
class Batches:
    """How utterances become batches."""

    size: int = 8
    """Utterances per step over all devices."""
    frames: int = 0
    """Most frames of a step, padding included: shorter buckets then hold more utterances, in
    multiples of batches.size. 0: every step has batches.size utterances."""
    parts: int = 1
    """Parts of a batch whose gradients are taken one after the other and added up: less memory,
    the same step."""
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
    """One process per host, or per device. What Slurm, Open MPI, a TPU pod, Kubernetes or the
    variables of torchrun say is found without help."""

    detect: bool = True
    """Join the cluster that the launcher describes."""
    coordinator: str = ""
    """host:port of process 0, where nothing can be detected."""
    processes: int = 1
    """Number of processes, with `coordinator`."""
    process: int = 0
    """Index of this process, with `coordinator`."""
    devices: int = 0
    """Devices that all processes have to have together; with others nothing starts. 0 takes any."""


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
    """Where everything about this run is written; runs/NAME by default. An address (gs://, s3://)
    keeps a copy there."""
    profile: int = 0
    """Steps that jax's profiler records, from the tenth of this session on, into the run's
    directory `profile`, for TensorBoard."""
    deterministic: bool = False
    """On a GPU: slower kernels that give the same bits every time."""
    corpus: Corpus = field(default_factory=Corpus)
    features: Features = field(default_factory=Features)
    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=MaskedReconstruction)
    optim: Optim = field(default_factory=AdamW)
    batches: Batches = field(default_factory=Batches)
    mesh: Mesh = field(default_factory=Mesh)
    distributed: Distributed = field(default_factory=Distributed)
    loop: Loop = field(default_factory=Loop)

    @property
    def directory(self) -> Path:
        """The run's working directory; of an address, its local copy."""
        return place_of(self.run_dir) if self.run_dir is not None else Path("runs") / self.name


OPTIMIZERS: dict[str, type[Optim]] = {"adamw": AdamW, "muon": Muon}
