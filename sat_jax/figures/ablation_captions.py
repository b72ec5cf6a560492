"""How to read the figures of the ablation study: texts for the report.

Plain text as in `captions`: a blank line ends a paragraph, an indented paragraph is a formula,
other breaks are spaces.
"""

PRUNING = """\
A head h is pruned by setting its attention A to 0 after the softmax, so that it adds nothing to
its layer. Nothing is normalised again and nothing is fine-tuned: only inference changes.

    z[h,q] = g_h \u00b7 \u03a3_k A[h,q,k] v[h,k],   g_h = 0 pruned, 1 kept

"Attention replaced by its mean" keeps what a head does whatever the utterance: its map becomes the
mean of its maps over the utterances that probes learn from, pair of positions by pair, cut to the
utterance's length with rows scaled to 1 (Hassid et al. 2022). What is lost depends on the input.

Heads go one after the other. By globalness, verticality and diagonality those with the largest
value go first. By weight those go first whose largest probability W is smallest, which makes them
look unimportant. Gradient is the mean over utterances of |dL/dg_h|, L the reconstruction error,
scaled to a norm of 1 in each layer (Michel et al. 2019), leave-one-out the loss without that head
alone; the least important go first. Layer prunes layer after layer from the input on, user is an
order that was given, random is drawn uniformly. Reversed orders begin at the other end.

Reconstruction is the L1 distance between the output of the pretraining head and the true
spectrogram, without masking. The other tasks read the last layer, if not told otherwise, through a
probe: a softmax regression (linear) of phones and speakers of frames, and of speakers of utterances
from the mean over time; where it is said, one hidden layer instead. Probes trained anew are trained
on the pruned representation, once per setting and seed, and say what can still be read from it;
frozen probes were trained on the intact model and also fail when what they read has only moved. The
study follows Yang, Liu and Lee, Interspeech 2020 (arXiv:2006.03265)."""

PROBES_BY_LAYER = """\
What can be read from the model's input and from every layer, at the same positions. Horizontal
lines are probes on log-mel frames, which all of the model's knowledge comes from; a layer below
them made its content harder to read, not richer. Solid lines and filled marks: probes with one
hidden layer; dashed lines and hollow marks: linear ones (softmax regression), what lies open. Layer
0 is the input of the first layer; the diamond is the last layer with all heads pruned. The dotted
line is guessing the commonest class, bars and ribbons are 95 % intervals from a bootstrap over
utterances and probe seeds. On the right: the share of the variance of log-mel frames that follows
linearly from the layer,

    R\u00b2 = 1 - \u03a3 |x - W h|\u00b2 / \u03a3 |x - mean|\u00b2

on test utterances. A layer with a high R\u00b2 is nearly a linear copy of the input."""

PROBE_BUDGET = """\
Whether the probes above had learned what they can: a probe with a hidden layer on log-mel and on
the trained model's last layer, trained on a part of the utterances with all steps (left) and on all
utterances with a part of the steps (right; the learning rate rises and falls over the steps there
are). Where a line is still rising at its right end, a larger budget would find more; what can be
compared then is representations at the same budget."""

MLP_CURVES = """\
The metric orderings at the paper's seven points, with probes that have one hidden layer, are
trained anew at every point and learn from more utterances than the linear probes above. Axes and
lines as there."""

TASK_CURVES = """\
What is left of each task (panels) after so many heads are gone, in heads and, below, in percent of
all. The arrow above a panel says which way is better. Lines are orderings; ribbons are 95 %
intervals, from a bootstrap over utterances and probe seeds; dashed lines with hollow markers are
reversed orders. Random orders show the mean and, as a band, the range over all draws, not an
interval. Markers only tell lines apart, measured is every number of heads at which a line has a
point. The thin horizontal line is the intact model, the dotted one guessing the commonest class;
where it would squeeze the curves it is left off, and an arrow in the panel says where it is. An
order that stays near the thin line for long removes heads that the task does not need; one that is
worse than the random band does worse than no order at all."""

AREA_CHART = """\
Each curve as one number: the area under it, its mean over the share of heads that are gone,

    area = \u222b value(s) ds,   s = heads pruned / all heads, from 0 to 1

which is in the units of the task. Bars are 95 % intervals from a bootstrap over utterances and
probe seeds; for random orders the dot is the mean over draws and the bar their range. Orderings
stand in the order of their mean rank over all tasks, and over all tables where several are shown,
the best on top. The thin line is the intact model: the nearer, the cheaper the order. Leave-one-out
orders by the utterances that it is then tested on. The number beside a dot is the
largest number of heads that can go in this order while the task has lost at most 1 % of its intact
value. Noise moves it more than it moves the area."""

COMPARED_CURVES = """\
One ordering under several conditions, one line each; ribbons are 95 % intervals from a bootstrap
over utterances and probe seeds, axes and lines as above. Where frozen probes fall and probes
trained anew do not, the information is still there and has moved. Where setting attention to 0
hurts and replacing it by its mean does not, the task needs the head's output but not what it makes
of the single utterance. The untrained model is the same network with the parameters that it started
from, pruned by its own globalness: what training has not added."""

SPAN_CURVES = """\
Each task when no head may look further than r positions,

    A[q,k] = 0 where |q - k| > r

after the softmax and without normalising again, so what a head gave to far keys is lost, not moved
to near ones. Spans stand in equal steps, not to scale; below them is r in milliseconds. "full" is
the intact model, repeated as the thin line. Bars are 95 % intervals from a bootstrap over
utterances and probe seeds, the dotted line is guessing the commonest class, the arrow says which
way is better. At r = 0 a position sees only itself."""

SPAN_GRID = """\
Heads pruned (rows) and spans limited (columns) at the same time; the first row limits spans alone,
the column "full" prunes alone. Brighter is better on every task, whether its values rise or fall;
each task has its own scale, from its worst to its best cell, so colours do not compare between
tasks. Values stand in the cells, without intervals."""

LEAVE_ONE_OUT = """\
Every head pruned alone: rows are layers, columns heads, colour is the value without the head minus
the value of the intact model,

    \u0394[l,h] = value(without head h of layer l) - value(intact)

Red is worse on every task, whether its values rise or fall, white is no change; each task has its
own scale, symmetric about 0. A dot marks heads whose 95 % interval (bootstrap over utterances and
probe seeds) includes 0: that the task misses them is not shown. With dozens of heads, of those that
change nothing about one in twenty misses its dot by chance. A head that changes nothing alone
can still matter together with others that do the same."""

RANK_SCATTER = """\
Every head at the place that it has when heads are pruned by globalness (right) and by weight (up);
1 goes first. Heads on the line go at the same time in both orders. Colour and shape are the
category. Ringed heads are those whose two ranks differ most; their letters lead to their ranks by
globalness and by weight, what they do, and their phone relation map: query phones down, key phones
right, colour is attention relative to uniform attention, 1 + P, on a logarithmic scale. A head
that weight prunes early and globalness late, or the reverse, is one on whose importance the two
disagree."""

RANK_CORRELATIONS = """\
Spearman correlation between the ranks that two orderings give to all heads: 1 is the same order,
0 unrelated, -1 the reverse. Unrelated orders of n heads lie within about \u00b1 2 / sqrt(n) of 0
by chance. Orderings that correlate strongly prune nearly the same heads at any number of heads."""
