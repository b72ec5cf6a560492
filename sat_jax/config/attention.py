"""Settings of attention algorithms: one dataclass per kind, found by its name in `ATTENTIONS`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attention:
    """How maps of attention come about."""


@dataclass(frozen=True)
class QueryKey(Attention):
    """Scaled products of queries and keys (Vaswani et al. 2017)."""

    kind: str = "qk"
    """The attention algorithm; one of the keys of ATTENTIONS."""
    tied: bool = False
    """Start with equal query and key projections (they are free in training)."""
    neighbours: tuple[int, ...] = ()
    """Positions after the query (before it: negative) that heads begin by looking at, given to them
    in turn; only with sinusoidal positions, and in place of `tied`. Empty: none."""
    init_scale: float = 1.0
    """Factor on query and key kernels at the start."""


@dataclass(frozen=True)
class GatedBias(Attention):
    """The same with a bias of relative positions that queries gate (WavLM, arXiv:2110.13900)."""

    kind: str = "gated_bias"
    """The attention algorithm; one of the keys of ATTENTIONS."""
    buckets: int = 320
    """Distances that are told apart."""
    max_distance: int = 800
    """Positions from which on all distances are alike."""


@dataclass(frozen=True)
class SharedQuery(Attention):
    """One projection for queries and keys."""

    kind: str = "q"
    """The attention algorithm; one of the keys of ATTENTIONS."""
    init_scale: float = 1.0
    """Factor on the query kernel at the start."""


@dataclass(frozen=True)
class Sparse(SharedQuery):
    """Half of the heads see keys nearby, half keys spread over the utterance."""


@dataclass(frozen=True)
class SparseStrided(Sparse):
    """Near: within s = sqrt(length) positions; far: every s-th (Child et al. 2019)."""

    kind: str = "sparse_strided"
    """The attention algorithm; one of the keys of ATTENTIONS."""


@dataclass(frozen=True)
class SparseFixed(Sparse):
    """Near: the own block of s positions; far: the last position of every block."""

    kind: str = "sparse_fixed"
    """The attention algorithm; one of the keys of ATTENTIONS."""


@dataclass(frozen=True)
class Hashed(SharedQuery):
    """Each query meets the keys that locality-sensitive hashing finds alike."""

    keys: int = 32
    """Keys that each query keeps."""
    hash_seed: int = 0
    """Seed of the directions that hash, where no training step gives others."""
    faithful: bool = False
    """As in the authors' modules: scores from the key's own projection, and their own transforms
    for lsh_simple and lsh_sign_alsh."""


@dataclass(frozen=True)
class SignAlsh(Hashed):
    """Sign-ALSH (Shrivastava & Li 2015)."""

    kind: str = "lsh_sign_alsh"
    """The attention algorithm; one of the keys of ATTENTIONS."""


@dataclass(frozen=True)
class Xbox(Hashed):
    """XBOX (Bachrach et al. 2014)."""

    kind: str = "lsh_xbox"
    """The attention algorithm; one of the keys of ATTENTIONS."""


@dataclass(frozen=True)
class XboxQnf(Hashed):
    """XBOX, query-normalised (Huang et al. 2018)."""

    kind: str = "lsh_xbox_qnf"
    """The attention algorithm; one of the keys of ATTENTIONS."""


@dataclass(frozen=True)
class Simple(Hashed):
    """Simple-LSH (Neyshabur & Srebro 2015)."""

    kind: str = "lsh_simple"
    """The attention algorithm; one of the keys of ATTENTIONS."""


@dataclass(frozen=True)
class SimpleAlsh(Hashed):
    """Simple-ALSH (Neyshabur & Srebro 2015)."""

    kind: str = "lsh_simple_alsh"
    """The attention algorithm; one of the keys of ATTENTIONS."""


@dataclass(frozen=True)
class Routing(SharedQuery):
    """Each query meets the keys of its own cluster (Roy et al. 2020)."""

    kind: str = "routing"
    """The attention algorithm; one of the keys of ATTENTIONS."""
    rounds: int = 4
    """Rounds of k-means in every utterance."""


@dataclass(frozen=True)
class LearnedMaps(Attention):
    """Maps with a trained side."""

    positions: int = 0
    """Positions that the maps cover; 0: as many as training crops utterances to."""


@dataclass(frozen=True)
class SynDense(LearnedMaps):
    """Each frame makes its row of logits by itself (Tay et al. 2021)."""

    kind: str = "syn_dense"
    """The attention algorithm; one of the keys of ATTENTIONS."""
    bottleneck: int = 16
    """Units between a frame and its row."""


@dataclass(frozen=True)
class SynDenseShared(SynDense):
    """The same with one map for all heads."""

    kind: str = "syn_dense_shared"
    """The attention algorithm; one of the keys of ATTENTIONS."""


@dataclass(frozen=True)
class SynRandom(LearnedMaps):
    """Trained maps that are the same for every utterance; random at the start."""

    kind: str = "syn_random"
    """The attention algorithm; one of the keys of ATTENTIONS."""
    frozen: bool = False
    """The parameters are the weights themselves, for inference (see sat_jax.freeze_maps)."""


@dataclass(frozen=True)
class SynHandcrafted(SynRandom):
    """The same; seven heads of every layer start from handcrafted patterns."""

    kind: str = "syn_handcrafted"
    """The attention algorithm; one of the keys of ATTENTIONS."""
    faithful: bool = False
    """Patterns as logits, as in the authors' modules, and not as probabilities."""


KINDS = (QueryKey, SharedQuery, SparseStrided, SparseFixed, SignAlsh, Xbox, XboxQnf, Simple)
KINDS += (GatedBias, SimpleAlsh, Routing, SynDense, SynDenseShared, SynRandom, SynHandcrafted)
ATTENTIONS: dict[str, type[Attention]] = {kind.kind: kind for kind in KINDS}
FREE = tuple(kind for kind in ATTENTIONS if kind != GatedBias.kind)
"""Algorithms that any model can have; the others need something that their model makes."""
