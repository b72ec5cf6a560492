"""Probes on several representations side by side: records in, `Figure`s out."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.ablation_axes import CHANCE
from sat_jax.records.probes import ProbedLayer

ACCURACIES = """\
Accuracy of probes that read phones or speakers from one representation per row, on test utterances.
Log-mel is the input that every model has; what stands left of its line was made harder to read by
the model, not richer. Bars are 95 % intervals from a bootstrap over utterances and probe seeds;
they say nothing about other seeds of the model. The dotted line is guessing the commonest class."""

ROW, TOP, FOOT, BETWEEN = 0.17, 0.42, 0.5, 0.16


def accuracies(rows: Sequence[ProbedLayer]) -> Figure:
    """A panel per task and kind of probe, a row per model in the order given.

    Raises `InputError` where nothing was probed.
    """
    if not rows:
        raise InputError("probes: nothing was probed; give at least one representation")
    models = list(dict.fromkeys(row.model for row in rows))
    panels = list(dict.fromkeys((row.task, row.probe) for row in rows))
    with style.applied():
        left = max(style.text_width(model, style.SMALL) for model in models) + 0.2
        wide = (style.PAGE - left - 0.1 - BETWEEN * (len(panels) - 1)) / len(panels)
        high = ROW * len(models) + 0.1
        figure = Figure(figsize=(style.PAGE, TOP + high + FOOT))
        for number, (task, probe) in enumerate(panels):
            axes = style.place(figure, left + number * (wide + BETWEEN), TOP, wide, high)
            mine = {r.model: r for r in rows if (r.task, r.probe) == (task, probe)}
            for at, model in enumerate(models):
                if model not in mine:
                    continue
                row = mine[model]
                ends = [[max(row.accuracy - row.low, 0)], [max(row.high - row.accuracy, 0)]]
                colour = "#000000" if row.layer is None else "#111199"
                look = {"color": colour, "marker": "o", "ms": 3, "lw": 1}
                axes.errorbar([row.accuracy], [at], xerr=ends, **look)
                if row.layer is None:
                    axes.axvline(row.accuracy, color="#000000", lw=0.6)
            axes.axvline(next(iter(mine.values())).chance, **CHANCE)
            axes.set_ylim(len(models) - 0.4, -0.6)
            axes.set_yticks(range(len(models)), models if number == 0 else [""] * len(models))
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", lw=0.3, color="#CCCCCC")
            axes.set_axisbelow(True)
            axes.set_title(f"{task}\n{probe}")
            axes.set_xlabel("accuracy (%)")
        return figure
