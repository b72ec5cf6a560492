"""Settings of what a model learns, by kind: each has the fields that mean something for it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Objective:
    """What is learned."""

    @property
    def predicts_spectra(self) -> bool:
        """Whether a model that hears spectra has a head that predicts them."""
        return True

    @property
    def summary(self) -> str:
        """What a model with this objective was trained for, in a few words."""
        return ""


@dataclass(frozen=True)
class MaskedReconstruction(Objective):
    """Masked reconstruction as in Mockingjay (arXiv:1910.12638)."""

    kind: str = "masked_reconstruction"
    """Pretraining objective; one of the keys of OBJECTIVES."""
    mask_share: float = 0.15
    """Share of positions that is chosen for prediction."""
    c_num: int = 3
    """Length of a masked span in frames, a multiple of model.frontend.stack: M3, M6, M9."""
    zero_share: float = 0.8
    """Probability that an utterance's chosen frames are set to zero."""
    replace_share: float = 0.1
    """Probability that they are replaced by other frames of the utterance; the rest keeps them."""
    position_offset: int = 0
    """Training positions start at a random offset up to this, so that longer inputs work later."""

    @property
    def summary(self) -> str:
        """The length of the masked spans."""
        return f"spans of {self.c_num} frames masked"


@dataclass(frozen=True)
class Tera(Objective):
    """Reconstruction of altered time, channels and magnitude as in TERA (arXiv:2007.06028)."""

    kind: str = "tera"
    """One of the keys of OBJECTIVES."""
    mask_share: float = 0.15
    """Share of frames in masked spans, counted before spans overlap."""
    c_num: int = 7
    """Length of a masked span in frames, a multiple of model.frontend.stack."""
    zero_share: float = 0.8
    """Probability that an utterance's masked frames are set to zero."""
    replace_share: float = 0.1
    """Probability that they are replaced by other frames of the utterance; the rest keeps them."""
    channel_share: float = 0.2
    """Widest band of feature bins that is hidden over a whole utterance, as a share of all bins;
    0 hides none."""
    magnitude_share: float = 0.15
    """Probability that a batch gets noise added to all of its frames."""
    magnitude_std: float = 0.2
    """Standard deviation of that noise; features have 1."""
    position_offset: int = 0
    """Training positions start at a random offset up to this, so that longer inputs work later."""

    @property
    def summary(self) -> str:
        """What is altered."""
        return f"spans of {self.c_num} frames and bands of channels hidden"


@dataclass(frozen=True)
class Contrastive(Objective):
    """Telling a masked position's quantised features from those of other masked positions, as in
    wav2vec 2.0 (arXiv:2006.11477)."""

    kind: str = "contrastive"
    """One of the keys of OBJECTIVES."""
    mask_share: float = 0.65
    """Share of positions in masked spans, counted before spans overlap (0.65 masks about half)."""
    mask_length: int = 10
    """Positions of a masked span."""
    negatives: int = 100
    """Other masked positions of the utterance that the true one is told from."""
    temperature: float = 0.1
    """Cosines are divided by this."""
    groups: int = 2
    """Code books; a position's code is one entry of each."""
    codes: int = 320
    """Entries of a code book."""
    code_width: int = 128
    """Width of an entry; positions are compared at `groups` times this width."""
    logit_std: float = 1.0
    """Initial standard deviation of the weights of the projection to code logits. The published 1
    makes choices nearly one-hot and their gradients tiny; less is quicker to learn."""
    gumbel_start: float = 2.0
    """Temperature of the Gumbel softmax over codes at the first step."""
    gumbel_end: float = 0.5
    """Lowest temperature of the Gumbel softmax."""
    gumbel_decay: float = 0.999995
    """Factor on the temperature of the Gumbel softmax, from one step to the next."""
    diversity_weight: float = 0.1
    """Weight of the loss for leaving codes unused."""
    penalty_weight: float = 10.0
    """Weight of the mean square of the convolutional features before their normalisation
    (fairseq: features_pen)."""
    stem_gradient: float = 0.1
    """Factor on the gradients of the convolutions over raw audio (fairseq:
    feature_grad_mult)."""

    @property
    def predicts_spectra(self) -> bool:
        """No spectra."""
        return False

    @property
    def summary(self) -> str:
        """What is told apart."""
        return "masked codes told from others"


@dataclass(frozen=True)
class MaskedUnits(Objective):
    """Predicting the cluster of each masked position, as in HuBERT (arXiv:2106.07447).

    Clusters are found before training, by k-means over MFCC, or over a layer of another run.
    """

    kind: str = "masked_units"
    """One of the keys of OBJECTIVES."""
    mask_share: float = 0.8
    """Share of positions in masked spans, counted before spans overlap (0.8 masks about 57 %)."""
    mask_length: int = 10
    """Positions of a masked span."""
    units: int = 100
    """Clusters (the paper: 100 of MFCC, then 500 of a layer's outputs)."""
    unit_width: int = 256
    """Width at which positions and clusters are compared."""
    temperature: float = 0.1
    """Cosines are divided by this."""
    unmasked_weight: float = 0.0
    """Weight of the loss on positions that are not masked; the paper has 0."""
    units_from: Path | None = None
    """Another run, of which a layer's outputs are clustered: the paper's second iteration. None:
    MFCC."""
    units_layer: int = 6
    """Layer of units_from, counted from 1, whose output is clustered."""
    units_normalize: bool = False
    """Bring MFCC of each utterance to mean 0 and variance 1 before they are clustered (the paper
    does not): units then tell less of speakers and loudness, and fit inputs that are so as well."""
    units_utterances: int = 2000
    """Most training utterances that k-means runs on, evenly spread; 0 is all. All are labelled."""
    units_passes: int = 20
    """Passes of k-means over them."""
    penalty_weight: float = 10.0
    """Weight of the mean square of the convolutional features before their normalisation
    (fairseq: features_pen)."""
    stem_gradient: float = 0.1
    """Factor on the gradients of the convolutions over raw audio (fairseq:
    feature_grad_mult)."""

    @property
    def predicts_spectra(self) -> bool:
        """No spectra."""
        return False

    @property
    def summary(self) -> str:
        """What is predicted."""
        source = "MFCC" if self.units_from is None else f"layer {self.units_layer}"
        return f"masked positions predicted as {self.units} clusters of {source}"


@dataclass(frozen=True)
class Ctc(Objective):
    """Naming phones, or the letters of transcripts, in their order (connectionist temporal
    classification)."""

    kind: str = "ctc"
    """One of the keys of OBJECTIVES."""
    mask_share: float = 0.05
    """Share of positions that are masked in training."""
    mask_length: int = 10
    """Positions of a masked span."""
    freeze_stem: bool = True
    """The convolutions over raw audio stay as they are."""

    @property
    def summary(self) -> str:
        """That it names units."""
        return "fine-tuned by CTC"


@dataclass(frozen=True)
class NoObjective(Objective):
    """Nothing that this program trains: the model comes from elsewhere."""

    kind: str = "none"
    """One of the keys of OBJECTIVES."""
    trained_for: str = ""
    """What the model was trained for where it comes from, in a few words."""

    @property
    def summary(self) -> str:
        """The same words."""
        return self.trained_for


OBJECTIVES: dict[str, type[Objective]] = {
    "masked_reconstruction": MaskedReconstruction,
    "tera": Tera,
    "contrastive": Contrastive,
    "masked_units": MaskedUnits,
    "ctc": Ctc,
    "none": NoObjective,
}
