"""What a reader has to know to read each figure: texts for the report, formulas included.

Plain text: a blank line ends a paragraph, an indented paragraph is a formula, other breaks are
spaces.
"""

from collections.abc import Sequence
from typing import Any

from sat_jax.figures import style

REMOVED = "Places of heads that were removed are left blank."


def of_heads(caption: str, tables: Sequence[Any]) -> str:
    """The caption, with a word on blank places where a table (`category`) has any.

    It ends the first paragraph.
    """
    if not any(style.gone(table.category).any() for table in tables):
        return caption
    first, gap, rest = caption.partition("\n\n")
    return f"{first} {REMOVED}{gap}{rest}"


METRICS = """\
A is the attention of one head on one utterance of T positions: row q is the query, column k the
key, and each row sums to 1. H(p) = -\u03a3 p log p is the entropy (natural log), E the mean over
utterances.

    globalness   G = E[ (1/T) \u03a3_q H(A[q]) ]
    verticality  V = E[ -H( (1/T) \u03a3_q A[q] ) ]
    diagonality  D = E[ -(1/T\u00b2) \u03a3_q \u03a3_k |q-k| A[q,k] ]
    weight       W = E[ max_{q,k} A[q,k] ]

G is 0 if every query attends to one key and log T if it attends to all alike. V is 0 if all
queries attend to one and the same key and -log T if all keys get the same share. D is 0 if every
query attends to itself, and uniform attention has -(T\u00b2-1)/(3T\u00b2), close to -1/3.
Definitions follow Yang, Liu and Lee, Interspeech 2020 (arXiv:2006.03265), W is the baseline of
Hao et al. 2020 (arXiv:2004.11207)."""

CATEGORIES = """\
All heads are ranked by G, by V and by D; a head belongs to the metric in whose list it stands
highest. Categories therefore exist by construction: about a third of the heads falls into each,
whatever the model has learned, even if it has learned nothing. Two things tell a finding from the
construction. First, the absolute values of G, V and D. Second, the same model untrained (same
initialisation, same utterances), which stands beside every figure: what it shows as well is owed
to the architecture and the initialisation, not to training."""

HEAD_SCATTER = """\
Each marker is one head, named layer-head where there is room; bars are bootstrap 95 % intervals
over utterances. Colour and shape are the category; a hollow marker is a head whose category fewer
than 95 % of the bootstrap draws confirm. Models share the limits of each axis, so the clouds can
be compared: heads that have specialised lie far apart."""

HEAD_DISTRIBUTION = """\
Top: heads of each category in each layer. Below: G, V and D of every head by layer, heads of a
layer from left to right, bars are bootstrap 95 % intervals over utterances, hollow markers as in
the scatter. Models share the limits of each axis."""

RANK_INTERVALS = """\
Each panel sorts all heads by one metric, rank 1 has the largest value. A bar is the bootstrap 95
% interval of the head's rank over utterances. Heads whose bars overlap are not told apart by
these utterances: an order among them, and a category that rests on it, may change with other
data."""

MAPS = """\
Queries run down, keys run right, both in seconds. Colour is attention relative to uniform
attention, A[q,k] \u00b7 T, on one logarithmic scale from 0.1 to 100 that is the same for every
head, model and utterance: 1 means as much as an indifferent head gives to each key, 10 ten times
as much; values beyond the ends take the colour of the ends. Long maps are averaged over blocks.
Ticks outside the upper and right edges are phone boundaries; on long utterances in small panels
they are left out. The colour of a frame is the head's category over all utterances, which one
utterance need not show. Spectrograms are grey, from the utterance's smallest value (white) to its
largest (black)."""

GALLERY = (
    """\
The heads with the highest globalness, verticality and diagonality, one row each; the value in a
title is the mean over all utterances. """
    + MAPS
)

ALL_HEADS = "Every head, one row per layer. " + MAPS
