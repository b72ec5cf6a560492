"""What probes read from the input and from every layer: records in, `Figure`s out."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.ablation_axes import CHANCE, CONDITIONS
from sat_jax.records.probes import BudgetPoint, ProbedLayer

LOOKS = ("#111199", "#AA7700", "#EE6655")
INPUT = {"color": "#000000", "lw": 0.9}
HIGH, TOP, LEFT, BETWEEN = 2.2, 0.62, 0.55, 0.62

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


def layer_curves(layers: Sequence[ProbedLayer]) -> Figure:
    """Accuracy over layers, a panel per task; horizontal lines are the log-mel spectrogram.

    Solid: probes with a hidden layer; dashed: linear probes. The last panel is R2 of log-mel. Bars
    are 95 % intervals. Raises `InputError` where nothing was probed.
    """
    if not layers:
        raise InputError("probes of layers: nothing was probed; give at least one layer")
    tasks = list(dict.fromkeys(each.task for each in layers))
    models = list(dict.fromkeys(each.model for each in layers if each.layer is not None))
    colours = dict(zip(models, LOOKS, strict=False))
    wide = (style.PAGE - LEFT - 0.15 - BETWEEN * len(tasks)) / (len(tasks) + 1)
    with style.applied():
        figure = Figure(figsize=(style.PAGE, TOP + HIGH + 0.5))
        panels = [
            style.place(figure, LEFT + i * (wide + BETWEEN), TOP, wide, HIGH)
            for i in range(len(tasks) + 1)
        ]
        for axes, task in zip(panels, tasks, strict=False):
            _draw_task(axes, [each for each in layers if each.task == task], colours)
            axes.set_ylabel(f"{task} accuracy (%)")
        first = [e for e in layers if (e.task, e.probe) == (tasks[0], layers[0].probe)]
        for model, colour in colours.items():
            mine = [each for each in first if each.model == model]
            look = {"color": colour, "marker": "o" if len(mine) > 1 else "D", "ms": 3.2}
            panels[-1].plot([e.layer for e in mine], [e.log_mel_r2 for e in mine], **look)
        panels[-1].set_ylabel("R² of log-mel, linear")
        for axes in panels:
            axes.set_xlabel("layer (0: its input)")
            axes.set_xticks(sorted({e.layer for e in layers if e.layer is not None}))
        handles = [Line2D([], [], label="log-mel (input)", **INPUT)]
        for model, colour in colours.items():
            marker = "o" if model != "all heads pruned" else "D"
            handles.append(Line2D([], [], color=colour, marker=marker, ms=3.2, label=model))
        handles += [
            Line2D([], [], color="#444444", label="hidden layer"),
            Line2D([], [], color="#444444", ls="--", mfc="white", label="linear probe"),
            Line2D([], [], label="chance", **CHANCE),
        ]
        figure.legend(
            handles=handles, ncols=4, loc="upper left", bbox_to_anchor=(LEFT / style.PAGE, 1.0)
        )
        return figure


def _draw_task(axes: Axes, layers: list[ProbedLayer], colours: dict[str, str]) -> None:
    for each in layers:
        if each.layer is None:
            axes.axhline(each.accuracy, ls="--" if each.probe == "linear" else "-", **INPUT)
            axes.axhspan(each.low, each.high, color=INPUT["color"], alpha=0.08, lw=0)
    for model, colour in colours.items():
        for probe in dict.fromkeys(each.probe for each in layers):
            mine = [each for each in layers if (each.model, each.probe) == (model, probe)]
            values = [each.accuracy for each in mine]
            ends = [
                [each.accuracy - each.low for each in mine],
                [each.high - each.accuracy for each in mine],
            ]
            linear = probe == "linear"
            axes.errorbar(
                [each.layer for each in mine],
                values,
                [[max(end, 0) for end in side] for side in ends],
                color=colour,
                ls="--" if linear else "-",
                marker="o" if len(mine) > 1 else "D",
                mfc="white" if linear else colour,
                ms=3.2,
                lw=1.1,
                elinewidth=0.7,
            )
    axes.axhline(layers[0].chance, **CHANCE)


PROBE_BUDGET = """\
Whether the probes above had learned what they can: a probe with a hidden layer on log-mel and on
the trained model's last layer, trained on a part of the utterances with all steps (left) and on all
utterances with a part of the steps (right; the learning rate rises and falls over the steps there
are). Where a line is still rising at its right end, a larger budget would find more; what can be
compared then is representations at the same budget."""


def budget_curves(points: Sequence[BudgetPoint]) -> Figure:
    """Accuracy against utterances and against steps, the other one whole, a line per input.

    Raises `InputError` where there is no point.
    """
    if not points:
        raise InputError("budget of probes: no budget was measured; give at least one")
    sources = list(dict.fromkeys((each.model, each.layer) for each in points))
    wide = (style.PAGE - LEFT - 0.15 - BETWEEN) / 2
    whole = [max(getattr(each, name) for each in points) for name in ("utterances", "steps")]
    with style.applied():
        figure = Figure(figsize=(style.PAGE, 0.4 + HIGH + 0.5))
        for i, (name, other) in enumerate((("utterances", "steps"), ("steps", "utterances"))):
            axes = style.place(figure, LEFT + i * (wide + BETWEEN), 0.4, wide, HIGH)
            for source, (colour, dashes, marker) in zip(sources, CONDITIONS, strict=False):
                mine = sorted(
                    (getattr(each, name), each.accuracy)
                    for each in points
                    if (each.model, each.layer) == source and getattr(each, other) == whole[1 - i]
                )
                label = source[0] if source[1] is None else f"{source[0]}, layer {source[1]}"
                at, values = zip(*mine, strict=True)
                axes.plot(at, values, color=colour, ls=dashes, marker=marker, ms=3.4, label=label)
            axes.set_xscale("log", base=2)
            ticks = sorted({getattr(each, name) for each in points})
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
            learned = "utterances that probes learn from" if name == "utterances" else "steps"
            axes.set(xlabel=learned, ylabel=f"{points[0].task} accuracy (%)")
        figure.axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2)
        return figure
