"""Settings of a model: its front end, its attention, its sizes, how it begins and is computed.

`Frontend` and `Attention` (see `config.attention`) are of one of several kinds; each kind is a
dataclass with the fields that mean something for it, found by its name in `FRONTENDS`.
"""

from dataclasses import dataclass, field
from typing import Literal

from sat_jax.config.attention import Attention, QueryKey


@dataclass(frozen=True)
class Frontend:
    """How audio becomes the positions that the encoder works on."""

    @property
    def frames_per_position(self) -> int:
        """Frames, with a phone label each, that one position stands for."""
        return 1


@dataclass(frozen=True)
class StackedFrames(Frontend):
    """Spectral frames (see `features`), several of them stacked into one position."""

    kind: str = "stacked_frames"
    """The front end; one of the keys of FRONTENDS."""
    stack: int = 3
    """Feature frames per position (R_factor)."""
    max_positions: int = 2048
    """Length of the position table, in positions of `stack` frames."""
    position_base: float = 10_000.0
    """Longest wavelength of the sinusoidal positions is 2 pi times this."""
    init_std: float | None = 0.02
    """Standard deviation of the input projection's kernel at the start; None is 1/sqrt(fan in)."""

    @property
    def frames_per_position(self) -> int:
        """The stack."""
        return self.stack


@dataclass(frozen=True)
class Convolutions(Frontend):
    """Raw audio through strided convolutions (wav2vec 2.0, arXiv:2006.11477, and its kin)."""

    kind: str = "convolutions"
    """The front end; one of the keys of FRONTENDS."""
    channels: tuple[int, ...] = (512,) * 7
    """Outputs of each convolution."""
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    """Taps of each convolution."""
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    """Strides of the convolutions; their product are the samples between positions."""
    bias: bool = False
    """Convolutions add a bias."""
    norm: Literal["group", "layer"] = "group"
    """group: normalise over time after the first convolution; layer: over channels after each."""
    norm_eps: float = 1e-5
    """Added to the variance in these normalisations."""
    faithful: bool = False
    """Padding has a part in normalisation and in stacked convolutions over positions, as in
    published code: outputs then depend on the batch."""
    normalize_audio: bool = False
    """Each utterance is brought to mean 0 and variance 1; as the model was trained."""
    audio_eps: float = 1e-7
    """Added to that variance."""
    project_norm: bool = True
    """Layer normalisation before the projection to the model's width."""
    position_kernel: int = 128
    """Taps of the convolutions over positions."""
    position_groups: int = 16
    """Groups of channels of these convolutions; have to divide the width."""
    position_layers: int = 1
    """How many of them follow one another."""
    position_norm: Literal["weight", "batch", "layer"] = "weight"
    """Their normalisation: of kernels by taps, of the input with kept statistics, of the output."""
    mask_embedding: bool = True
    """There is a trained vector for positions that are masked in training."""
    max_positions: int = 2048
    """Longer utterances are cut there (2048 positions of 20 ms are 41 s)."""


@dataclass(frozen=True)
class Model:
    """The transformer encoder."""

    kind: str = "mockingjay"
    """Model family; one of the keys of MODELS."""
    frontend: Frontend = field(default_factory=StackedFrames)
    attention: Attention = field(default_factory=QueryKey)
    layers: int = 12
    """Encoder layers (L)."""
    heads: int = 12
    """Attention heads per layer (H); has to divide the width."""
    width: int = 768
    """Model width (D)."""
    ffn: int = 3072
    """Width of the feed-forward layer."""
    dropout: float = 0.1
    """Dropout on embeddings, attention probabilities and both sub-layers."""
    layer_drop: float = 0.0
    """Probability that a batch skips a layer in training (arXiv:1909.11556)."""
    pre_ln: bool = False
    """Normalise before each sub-layer instead of after it."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in layer normalisation."""
    init_std: float | None = 0.02
    """Standard deviation of dense kernels at the start; None is 1/sqrt(fan in)."""
    residual_init_scale: float = 1.0
    """Factor on kernels that write into the residual stream (attention and feed-forward output)."""
    share_layers: bool = False
    """All layers have the same parameters (Audio ALBERT, arXiv:2005.08575)."""
    scan_layers: bool = False
    """Compile one layer and scan over it: shorter programs for deep models, same numbers."""
    remat: Literal["none", "maps", "layers"] = "none"
    """What is computed again in the backward pass: less memory, more time, same numbers. none:
    nothing; maps: attention maps, and all of a layer but the outputs of its dense layers, which
    are kept; layers: whole layers, of which only the input is kept."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of matrix products; parameters, softmax, normalisation and losses stay float32."""
    letters: tuple[str, ...] = ()
    """What a head for CTC tells apart; empty for a model without one."""
    blank: int = 0
    """Which of the letters is CTC's blank."""
    pruned_heads: tuple[tuple[int, ...], ...] = ()
    """Heads pruned from each layer, from 0, as export.py writes them; empty is none at all."""
    spans: tuple[tuple[int | None, ...], ...] = ()
    """Positions that each head which is not pruned may look away, None for no limit; empty: none is
    limited."""
    span_softmax: Literal["row", "band"] = "row"
    """How spans act. row: softmax over all keys, then 0 beyond the span (the paper); band: softmax
    over the keys within the span, in time and memory linear in length."""

    @property
    def unpruned_heads(self) -> tuple[tuple[int, ...], ...]:
        """The heads that each layer has, by their numbers before any was pruned."""
        pruned = self.pruned_heads or ((),) * self.layers
        return tuple(tuple(h for h in range(self.heads) if h not in each) for each in pruned)

    @property
    def head_spans(self) -> tuple[tuple[int | None, ...], ...]:
        """For each head of `unpruned_heads` the positions it may look away, None for no limit."""
        return self.spans or tuple((None,) * len(heads) for heads in self.unpruned_heads)

    @property
    def pruned(self) -> bool:
        """Whether heads were pruned or their spans are limited."""
        return bool(self.pruned_heads or self.spans)


FRONTENDS: dict[str, type[Frontend]] = {
    "stacked_frames": StackedFrames,
    "convolutions": Convolutions,
}
