"""What a reader has to know to read the figures about phones: texts for the report.

Plain text: a blank line ends a paragraph, an indented paragraph is a formula, other breaks are
spaces.
"""

RELATION = """\
A is the attention of one head on one utterance of T frames, y_q the phone of frame q; frames are
the analysis windows of the features, and a position of the model stands for all of its frames. For
query phone m and key phone n, averaged over utterances (E),

    P'[m,n] = E[ (1/T) \u03a3_q \u03a3_k 1(y_q = m) 1(y_k = n) A[q,k] ]

    P_U[m,n] = E[ (1/T\u00b2) \u03a3_q \u03a3_k 1(y_q = m) 1(y_k = n) ]

    P[m,n] = (P'[m,n] - P_U[m,n]) / P_U[m,n]

P_U is P' of uniform attention. P is -1 where frames of m never attend to frames of n, 0 where they
attend as much as an indifferent head would, 1 where they attend twice as much. The definition is
that of Yang, Liu and Lee, Interspeech 2020 (arXiv:2006.03265)."""

COLOURS = """\
Colour is attention relative to uniform attention, 1 + P, on one logarithmic scale from 1/8 (blue)
to 8 (red) that is the same for every head and model: white is as uniform, twice as much and half
as much are equally strong colours, values beyond the ends take the colour of the ends. Grey pairs
never occur together in an utterance. Phones stand with silence first, then by manner; lines part
the manners."""

PHONE_MAPS = (
    """\
Phone relation maps of single heads: query phones run down, key phones run right. A column of one
colour is a head that looks for a phone whatever the query; a red diagonal is a head that looks for
the query's own phone, and for a head that attends to near frames this is the same segment, not
another occurrence. Rare phones rest on few frames: their rows and columns are noisier. The title
says what the head was found to do, the colour of the frame is its category. """
    + COLOURS
    + "\n\n"
    + RELATION
)

PHONE_MAPS_ELSEWHERE = (
    """\
The same maps without the frames of the query's own segment, in the head and in uniform attention
alike, so that "same phone" means another occurrence of it. """
    + PHONE_MAPS
)

ALL_PHONE_MAPS = (
    """\
The phone relation map of every head, one row per layer, one column per head: query phones run
down, key phones run right. The colour of a frame is the head's category. """
    + COLOURS
)

FOCUS_CHART = """\
Heads in rows (layer-head), phones in columns. The concentration of a head on key phone n is the
mean of its phone relation map over the M query phones that occur together with n,

    C[n] = (1/M) \u03a3_m P[m,n]

Every query phone counts alike, however often it occurs. Colour is 1 + C: red phones are in focus,
blue ones are neglected, white ones get what uniform attention would give, grey ones never occur.
The scale is logarithmic from 1/8 to 8 and the same for every head and model. The bar beside a name
has the colour of the head's category."""

VERTICALITY_CONCENTRATION = """\
Each head stands twice: above at its largest concentration C on any phone (focus; linear up to 1,
logarithmic beyond), below at its smallest (neglect; -1 is no attention at all),

    focus = max_n C[n],  neglect = min_n C[n],  C[n] = (1/M) \u03a3_m P[m,n]

against its verticality V. Names are the phone in question, where there is room. Bars are the
bootstrap 95 % interval over utterances of the concentration on that phone; they do not hold the
choice of the phone, and the largest of many noisy values lies above 0 even for a head that is
indifferent to phones: compare with the untrained model. Ringed heads carry the letter of the phone
relation map beside the plot; the scale of these maps is attention relative to uniform attention,
1 + P."""

SEGMENT_SHARES = """\
Top: share of the attention that falls on frames of silence,

    E[ (1/T) \u03a3_q \u03a3_k 1(y_k = silence) A[q,k] ]

Middle: share that stays inside the phone segment of the query, s_q being the segment of frame q,

    E[ (1/T) \u03a3_q \u03a3_k 1(s_k = s_q) A[q,k] ]

Bottom: of the attention of phones (queries in silence left out) that leaves their own segment, the
share that reaches the same phone elsewhere, as a ratio to that share under uniform attention;
linear up to 1, logarithmic beyond,

    s(A) = E[ \u03a3_q \u03a3_k 1(y_k = y_q, s_k \u2260 s_q) A[q,k] / T ] / \
E[ \u03a3_q \u03a3_k 1(s_k \u2260 s_q) A[q,k] / T ]
    same = s(A) / s(uniform)

Dashed lines are uniform attention. Heads of a layer stand from left to right, colour and shape are
the category, bars are bootstrap 95 % intervals over utterances. Models share the limits of each
axis. A head that attends to near frames has a large share in the own segment whatever it knows of
phones; the bottom row does not count these frames. Such a head also gives silence less than uniform
attention does, since most phones have no silence near them: compare with the untrained model before
reading the top row as a choice."""

CUMULATIVE_DIAGONALITY = """\
Mean share of a query's attention that lies within r positions of it, one panel per layer,

    CAD(r) = E[ (1/T) \u03a3_q \u03a3_{|k-q| \u2264 r} A[q,k] ]

Thin lines are heads, the thick line is their mean with its bootstrap 95 % interval over
utterances, the dashed line is uniform attention on the same utterances. A line that rises early
belongs to a head that attends to near positions: limiting its span to the radius where it is close
to 1 takes little from it. The radius is linear up to 1 and logarithmic beyond. The measure follows
Shim, Choi and Sung, ICLR 2022."""

OPERATIONS = """\
An operation is named where a head's attention differs from uniform attention at least 1.5 times,
up or down, with the whole bootstrap 95 % interval on that side: attention to silence, to the same
phone outside the query's own segment (queries in silence left out), and the concentration on
single phones (focus, neglect). The effect is the ratio to uniform attention: 2 is twice as much as
an indifferent head gives, 0.5 half as much. With 39 phones and dozens of heads, about one interval
in twenty misses the truth by chance; it is the size of the effect that keeps the list honest."""
