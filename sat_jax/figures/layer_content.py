"""What layers hold of spectra, phones and speakers: records in, a `Figure` out."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.records.layer_content import CONTENTS, LayerContent

CONTENTS_BY_LAYER = """\
What each layer shares with the log-mel frames of its position, with their phones and with the
speaker: canonical correlations, learned on four fifths of the utterances, measured on the fifth and
weighted by how much of the content each direction accounts for (pwcca). Clusters: mutual
information of phones with 100 clusters of the states (k-means), as a share of the phones' entropy.
Bands go from the lowest to the highest held-out part, of clusters with one part left out. Layer 0
is the first layer's input."""

TITLES = {
    "log-mel": "log-mel (CCA)",
    "phone": "phones (CCA)",
    "speaker": "speakers (CCA)",
    "clusters": "phones in clusters (MI)",
}
LOOKS = ("#111199", "#AA7700", "#EE6655", "#009E73")
LEFT, TOP, HIGH, BETWEEN = 0.45, 0.5, 1.7, 0.42


def contents_by_layer(rows: Sequence[LayerContent]) -> Figure:
    """A panel for each content, a line for each model; raises `InputError` where there is none."""
    if not rows:
        raise InputError("layers: nothing was measured; give at least one layer")
    shown = [name for name in CONTENTS if any(row.content == name for row in rows)]
    models = list(dict.fromkeys(row.model for row in rows))
    wide = (style.PAGE - LEFT - 0.1 - BETWEEN * (len(shown) - 1)) / len(shown)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, TOP + HIGH + 0.45))
        for number, name in enumerate(shown):
            axes = style.place(figure, LEFT + number * (wide + BETWEEN), TOP, wide, HIGH)
            for model, colour in zip(models, LOOKS, strict=False):
                mine = [row for row in rows if (row.model, row.content) == (model, name)]
                layers = [row.layer for row in mine]
                axes.plot(layers, [row.value for row in mine], color=colour, marker="o", ms=2.5)
                low, high = [row.low for row in mine], [row.high for row in mine]
                axes.fill_between(layers, low, high, color=colour, alpha=0.2, lw=0)
            axes.set_title(TITLES[name])
            axes.set_xlabel("layer")
            axes.set_ylim(0, 1.02)
            axes.xaxis.get_major_locator().set_params(integer=True)
        handles = [
            Line2D([], [], color=colour, marker="o", ms=2.5, label=model)
            for model, colour in zip(models, LOOKS, strict=False)
        ]
        figure.legend(
            handles=handles, ncols=3, loc="upper left", bbox_to_anchor=(LEFT / style.PAGE, 1.0)
        )
        return figure
