"""What a layer holds: what the layers study measures and figures draw."""

from typing import NamedTuple

CONTENTS = ("log-mel", "phone", "speaker", "clusters")
"""Measures in the order of the panels."""


class LayerContent(NamedTuple):
    """One layer and measure."""

    model: str
    layer: int
    """0 is the first layer's input."""
    content: str
    """One of `CONTENTS`."""
    value: float
    """Mean over held-out parts of the utterances, 0 to 1; NaN where it means nothing."""
    low: float
    """The lowest part."""
    high: float
    """The highest part."""
