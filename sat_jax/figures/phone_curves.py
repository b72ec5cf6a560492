"""What heads do with phones and near frames, as points and curves: records in, `Figure` out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.phone_axes import LETTERS, draw_key, draw_relation, name_manners, name_points
from sat_jax.figures.phones import check_shown, heading, title
from sat_jax.records.check import CATEGORIES, head_mask_of
from sat_jax.records.phones import PhoneTable, check_phones

UNIFORM = {"color": "#222222", "lw": 0.8, "ls": (0, (4, 2)), "zorder": 1}
TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

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


def verticality_against_concentration(
    table: PhoneTable, shown: Sequence[tuple[int, int]]
) -> Figure:
    """Strongest focus and strongest neglect of a phone by every head against its verticality.

    Above, a head stands at its largest concentration C (linear up to 1, logarithmic beyond), below
    at its smallest, which cannot be less than -1; bars are the bootstrap interval of that phone's
    C and names are that phone where there is room. Up to four heads `shown`, (layer, head) from 0,
    carry letters and have their phone relation map beside the plot. Raises InputError as
    `check_phones` does and for heads that the table does not have.
    """
    check_phones(table)
    if len(shown) > len(LETTERS):
        raise InputError(f"phone table {table.name!r}: {len(shown)} heads shown, expected up to 4")
    if shown:
        check_shown(table, shown)
    heads = np.shape(table.category)[1]
    around = max(style.text_width(name, style.SMALL) for name in table.manners) + 0.1
    side, left, head, high, low = 1.22, 0.62, 0.62, 2.9, 2.3
    wide = style.PAGE - left - 0.12 - (side + around + 0.25 if shown else 0)
    height = head + high + 0.3 + low + 0.42 + (0.4 if shown else 0)

    with style.applied():
        figure = Figure(figsize=(style.PAGE, height))
        heading(figure, table)
        figure.legend(
            handles=style.category_handles(),
            loc="upper left",
            bbox_to_anchor=((left - 0.08) / style.PAGE, 1 - 0.22 / height),
            ncols=3,
            handletextpad=0.2,
            borderpad=0.2,
        )
        there = head_mask_of(table.category)
        x = table.verticality[there]
        concentration = table.summary.concentration.value[there]
        pad = 0.06 * float(np.ptp(x)) or 0.05
        for focus, top, inches in ((True, head, high), (False, head + high + 0.3, low)):
            axes = style.place(figure, left, top, wide, inches)
            find = np.nanargmax if focus else np.nanargmin
            phone = find(concentration, axis=-1)
            y, *ends = (
                np.take_along_axis(part[there], phone[:, None], axis=-1)[:, 0]
                for part in table.summary.concentration
            )
            span = min(0.0, float(ends[0].min())), max(0.0, float(ends[1].max()))
            if focus:
                _scale_ratios(axes, span[1])
            axes.set_ylim(span[0] - 0.05, 1.15 * span[1] + 0.05)
            axes.set_xlim(x.min() - pad, x.max() + pad)
            axes.axhline(0, **UNIFORM)
            _points(axes, table.category[there], x, y, *ends)
            names = [table.phones[index] for index in phone]
            chosen = [int(there.ravel()[: layer * heads + n].sum()) for layer, n in shown]
            name_points(axes, (x, y, *ends), names, chosen, (wide, inches))
            kind = "largest C: focus" if focus else "smallest C: neglect"
            axes.set_ylabel(f"{kind} (0 = as uniform)")
            if focus:
                axes.tick_params(axis="x", labelbottom=False)
            else:
                axes.set_xlabel(style.METRIC_LABELS["verticality"])
        for index, (layer, number) in enumerate(shown):
            x0, y0 = style.PAGE - 0.1 - side, head + index * (side + 0.3)
            axes = style.place(figure, x0, y0, side, side)
            count = len(table.phones)
            colour = style.COLOURS[table.category[layer, number]]
            box = (0, count, count, 0)
            draw_relation(
                axes, table.summary.relation[layer, number], table.manners, box, colour, 0.3
            )
            axes.set(xlim=(0, count), ylim=(count, 0), xticks=[], yticks=[])
            name_manners(axes, table.manners, (side / count,) * 2, 0.04, False)
            text = title(table, layer, number, side + around, f"{LETTERS[index]}  ")
            style.write(figure, x0 + side, y0 - 0.06, text, ha="right")
        if shown:
            draw_key(figure, left, height - 0.34, "P", "frame:")
        return figure


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


def segment_shares(tables: Sequence[PhoneTable]) -> Figure:
    """Attention on silence, in the own segment and on the same phone elsewhere, by layer.

    One column per model, which share the limits of every axis. Bars are bootstrap 95 % intervals,
    dashed lines what uniform attention would give. Where a corpus has no silence, its panel says
    so. Within a layer, heads stand in the order of their number, with a gap for a pruned one.
    Raises InputError as `check_phones` does and without a table.
    """
    if not tables:
        raise InputError("segment shares: no table was given; expected at least one model")
    for table in tables:
        check_phones(table)
    left, head, high, gap, foot = 0.62, 0.55, 1.6, 0.16, 0.42
    page = style.COLUMN if len(tables) == 1 else max(style.PAGE, 2.6 * len(tables))
    wide = (page - 0.1) / len(tables) - left
    layers = max(len(table.category) for table in tables)
    labels = {
        "silence": "share of attention on silence",
        "own": "share in own segment",
        "same": "same phone elsewhere / uniform",
    }

    with style.applied():
        figure = Figure(figsize=(page, head + 3 * high + 2 * gap + foot))
        figure.legend(
            handles=[*style.category_handles(), Line2D([], [], **UNIFORM, label="uniform")],
            loc="upper left",
            bbox_to_anchor=((left - 0.08) / page, 1 - 0.04 / figure.get_figheight()),
            ncols=4,
            handletextpad=0.4,
            columnspacing=1.0,
            borderpad=0.2,
        )
        for column, table in enumerate(tables):
            x0 = left + column * (wide + left)
            more = f" ({table.utterances} utterances)"
            room = wide - style.text_width(more, 7.0, "bold")
            text = style.fitted(table.name, room, 7.0, "bold") + more
            style.write(figure, x0, 0.42, text, weight="bold", fontsize=7.0)
            heads = np.shape(table.category)[1]
            depth = np.arange(1, len(table.category) + 1)
            x = depth[:, None] + (np.arange(heads) - (heads - 1) / 2) * 0.76 / max(heads, 2)
            for row, (kind, label) in enumerate(labels.items()):
                axes = style.place(figure, x0, head + row * (high + gap), wide, high)
                values = getattr(table.summary, kind)
                uniform = 1.0 if kind == "same" else getattr(table.summary, f"{kind}_uniform")
                axes.axhline(uniform, **UNIFORM)
                _points(axes, table.category, x, *values)
                if np.isnan(uniform):
                    look = {"ha": "center", "va": "center", "color": "#555555"}
                    axes.text(
                        0.5, 0.5, "no silence in this corpus", transform=axes.transAxes, **look
                    )
                tops = [getattr(other.summary, kind).high for other in tables]
                tops += [getattr(other.summary, f"{kind}_uniform", 1.0) for other in tables]
                top = max((float(np.nanmax(v)) for v in tops if not np.isnan(v).all()), default=1)
                axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
                if kind == "same":
                    _scale_ratios(axes, top)
                axes.set(xlim=(0.4, layers + 0.6), ylim=(-0.02 * min(top, 1), 1.08 * top))
                axes.set_xticks(range(1, layers + 1, 1 + (layers - 1) // 16))
                axes.grid(visible=False, axis="x")
                for edge in np.arange(1, layers) + 0.5:
                    axes.axvline(edge, color="#e4e4e4", lw=0.5, zorder=0)
                if column == 0:
                    axes.set_ylabel(label)
                if row == 2:
                    axes.set_xlabel("layer (heads of a layer from left to right)")
                else:
                    axes.tick_params(axis="x", labelbottom=False)
        return figure


def _points(axes: Axes, category: np.ndarray, x, y, low, high) -> None:
    """One marker per head in the look of its category, with a bar from `low` to `high`.

    All arrays have the shape of `category`; a pruned head gets none.
    """
    for kind in CATEGORIES:
        at = np.asarray(category) == kind
        colour = style.COLOURS[kind]
        axes.vlines(x[at], low[at], high[at], color=colour, alpha=0.5, lw=0.6, zorder=2)
        look = {"s": 9, "marker": style.MARKERS[kind], "color": colour, "linewidth": 0.7}
        axes.scatter(x[at], y[at], zorder=3, **look)


def _scale_ratios(axes: Axes, top: float) -> None:
    """Linear up to 1 and logarithmic beyond, where single heads would flatten all others."""
    axes.set_yscale("symlog", linthresh=1, linscale=1)
    ticks = [t for t in (-1, -0.5, 0, 0.5, 1, *TICKS[2:]) if t <= max(top, 0.5)]
    axes.set_yticks(ticks, [style.signed(t, 1 if t % 1 else 0) for t in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
