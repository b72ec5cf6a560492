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
    """0 to 1: of correlations the mean over held-out parts of the utterances, of clusters that of
    all test utterances; NaN where it means nothing."""
    low: float
    """Of the lowest held-out part; of clusters, the lowest with a part left out, as information of
    few positions is biased."""
    high: float
    """The highest in the same way."""
