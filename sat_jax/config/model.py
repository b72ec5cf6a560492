"""Settings of a model: its sizes, how it begins, how it is computed."""

from dataclasses import dataclass
from typing import Literal


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
    def head_mask(self) -> tuple[tuple[int, ...], ...]:
        """The heads of every layer, by their numbers in the model as it was before any was cut."""
        return self.kept or (tuple(range(self.heads)),) * self.layers

    @property
    def spans_left(self) -> tuple[tuple[int, ...], ...]:
        """For each head of `head_mask` the positions it may look away, -1 is no limit."""
        return self.spans or tuple((-1,) * len(heads) for heads in self.head_mask)

    @property
    def refined(self) -> bool:
        """Whether heads were cut or their spans are limited."""
        return bool(self.kept or self.spans)
