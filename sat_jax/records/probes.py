"""What probes read from representations, and what smaller budgets would have given."""

from typing import NamedTuple


class ProbedLayer(NamedTuple):
    """One representation, one task and one kind of probe."""

    model: str
    """The trained or the untrained model, "log-mel", or "all heads pruned"."""
    layer: int | None
    """0: the first layer's input; None: no layer."""
    task: str
    probe: str
    """linear, or hidden layer."""
    accuracy: float
    """Percent of the test frames, the mean over probe seeds."""
    low: float
    high: float
    chance: float
    log_mel_r2: float
    """How much of the variance of log-mel frames follows linearly from the representation."""
    utterances: int
    """That the probe learned from."""
    steps: int
    """Of training, at most."""


class BudgetPoint(NamedTuple):
    """Accuracy of a probe with a hidden layer at one budget."""

    model: str
    layer: int | None
    task: str
    utterances: int
    steps: int
    accuracy: float
