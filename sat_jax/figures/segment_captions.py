"""How to read the figures about segmentation and about runs side by side: texts for the report.

Plain text as in `captions`: a blank line ends a paragraph, an indented paragraph is a formula,
other breaks are spaces.
"""

SEGMENTATION = """\
A phone boundary is where frames stop resembling their neighbours. v_i is what a kind of feature
says of frame i: a row of a head's attention, a hidden state, MFCC or log-mel. K is the similarity
of two frames, eps_i the threshold of frame i, Kf[i,j] is 1 if every frame from i to j resembles i,
and S counts the neighbourhoods that reach equally far to both sides of frame t.

    K[i,j]  = exp( -||v_i - v_j|| / \u03b1 )
    eps_i   = \u03b2 \u00b7 (1/T) \u03a3_j K[i,j]
    Kf[i,j] = \u03a0_{k from i to j} 1[ K[i,k] > eps_i ]
    S[t]    = \u03a3_k Kf[t-k, t+k]

Boundaries are the local minima of S; a plateau is one minimum, at its centre. Positions of more
than one frame are repeated to frames first. \u03b1 and \u03b2 are tuned for the best R-value on the
validation split, for each kind of feature with the same effort, and then fixed for the test split;
so is the choice of a head among all heads and of a layer among all layers.

A prediction hits a true boundary that is its nearest and within 20 ms; of several predictions one
hits, the others are false alarms. Edges of an utterance are not counted. With HR the percentage of
true boundaries that are hit (the recall) and OS the percentage of predictions in excess,

    OS = 100 ( predicted / true - 1 ) = 100 ( recall / precision - 1 )
    r1 = sqrt( (100 - HR)\u00b2 + OS\u00b2 ),   r2 = ( HR - 100 - OS ) / sqrt(2)
    R  = 100 - ( |r1| + |r2| ) / 2

R is 100 if every boundary is hit and none is predicted in excess; predicting more boundaries than
there are buys recall but not R. The method is that of the supplement of Yang, Liu and Lee,
Interspeech 2020 (arXiv:2006.03265), the R-value that of R\u00e4s\u00e4nen, Laine and Altosaar,
Interspeech 2009."""

SEGMENTATION_EXAMPLE = """\
One utterance: phones, waveform and log-mel on top, matrices below, rows down and columns right,
both in seconds. Attention is drawn relative to uniform attention, A[q,k] \u00b7 T, on a
logarithmic scale, similarities K from 0 to 1 on a linear one; where a phone is one neighbourhood,
its square on the diagonal is bright. Long matrices are averaged over blocks. Ticks outside the
upper and right edges are boundaries: true ones (black) next to the matrix, predicted ones beyond
them. The curve under a similarity is its score S, whose minima are the predicted boundaries: green
circles hit a true boundary within 20 ms, orange crosses do not. Vertical lines are the true
boundaries, orange and dashed where no prediction hits them; on long utterances all are finer."""

PRECISION_RECALL = """\
Each curve is one kind of feature on the test split while \u03b2 moves around the value that the
validation split chose; the large marker stands at that value. Light grey lines join points of
equal R-value, computed from precision and recall as above. In the legend stand the R-value on the
test split with its bootstrap 95 % interval over utterances, and the number of candidates of this
kind, of which the best on the validation split was taken: the more there are, the more of a lead
may be the luck of choosing. An untrained model is tuned and chosen from in the same way."""

SEGMENTATION_HEADS = """\
Top: R-value of every head on the test split by layer, heads of a layer from left to right, bars
are bootstrap 95 % intervals over utterances, colour and shape are the head's category. The black
line joins the hidden states, 0 is the input of the first layer. Horizontal lines are MFCC and
log-mel with their intervals, and as many evenly spaced boundaries as there are true ones, which is
what knowing the rate alone is worth. The ring marks the head that is best on the validation split.
Bottom: R-value on the validation split against R-value on the test split, one marker per head. If
choosing on one split holds on the other, heads lie along the diagonal and the ringed head is high.
Models share the limits of each axis."""

MASK_LENGTHS = """\
Runs that differ in the masked span C_num stand side by side. |modal offset|: distance between a
query and the key that a diagonal head attends to most on average, one marker per diagonal head,
with the mean and its 95 % interval. Share of heads: categories with 95 % intervals; ranking makes
about a third of the heads belong to each category in any model, so only differences between runs
say something. Globalness: every head's G in nats, which ranking does not touch, and the median.
R-value: phone segmentation with the best head and the best hidden layer, chosen on the validation
split, beside MFCC and log-mel, with bootstrap 95 % intervals. The table names the runs, with the
reconstruction loss on the validation split and the loss of linear interpolation across the masked
span, the number to beat; both grow with the span and compare within a row only."""
