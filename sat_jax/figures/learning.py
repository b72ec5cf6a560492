"""How runs learned, and what their layers hold of phones: records in, `Figure` out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sat_jax.errors import InputError
from sat_jax.figures import style
from sat_jax.figures.compared import padded_limits
from sat_jax.records.probes import ProbedLayer
from sat_jax.records.runs import LearningCurve

LEARNING = """\
Left: the loss in training divided by that of a simple baseline, running means of both over some 50
steps; the key names each run's baseline, and the dashed line is where a run is no better. Runs with
different objectives cannot be compared by height; above 1.25 curves are cut off. Middle and right:
phone accuracy of linear probes and of probes with a hidden layer on every layer that was probed, on
test utterances; layer 0 is the first layer's input. Black line and grey band: the same probe on
log-mel; where runs were given other speech or positions, each has its own, dashed. Bars and the
band are 95 % intervals from a bootstrap over utterances and probe seeds. Chance is naming the
commonest phone."""

MOST = len(style.SERIES)
LEFT, HIGH, BETWEEN = 0.5, 2.0, 0.5
TITLES = 0.38


def learning(curves: Sequence[LearningCurve], probed: Sequence[ProbedLayer]) -> Figure:
    """A panel of the losses of 2 to `MOST` runs, and one for each kind of probe.

    The model of a `ProbedLayer` is the name of its run; log-mel has no layer, and is drawn once
    where all runs have the same. Without any there is the first panel alone. Raises `InputError`
    for another number of runs.
    """
    if not 2 <= len(curves) <= MOST:
        raise InputError(f"runs side by side: {len(curves)} were given, expected 2 to {MOST}")
    limits = padded_limits([np.array([(each.low, each.high) for each in probed])]) if probed else ()
    probes = list(dict.fromkeys(each.probe for each in probed))
    names = [f"{each.run} (beside {each.baseline})" for each in curves]
    key = style.key_height(names, LEFT)
    wide = (style.PAGE - LEFT - 0.1 - 2 * BETWEEN) / 3
    with style.applied():
        figure = Figure(figsize=(style.PAGE, key + TITLES + HIGH + 0.5))
        style.write_key(figure, names, LEFT)
        panels = [
            style.place(figure, LEFT + i * (wide + BETWEEN), key + TITLES, wide, HIGH)
            for i in range(1 + len(probes))
        ]
        _draw_losses(panels[0], curves)
        for axes, probe in zip(panels[1:], probes, strict=True):
            one = [each for each in probed if each.probe == probe]
            _draw_probe(axes, one, [each.run for each in curves])
            name = "linear probe" if probe == "linear" else probe
            line = "black line" if is_shared(one) else "dashed"
            axes.set_title(f"phones, {name}\n{line}: log-mel; chance {chance_of(probed)}")
            axes.set_ylim(*limits)
        if len(probes) > 1:
            panels[1].set_ylabel("accuracy (%)")
        return figure


def chance_of(probed: Sequence[ProbedLayer]) -> str:
    """Percent of the commonest phone, of all runs: 11 %, or 9 to 11 %."""
    values = [f"{chance:.0f}" for chance in sorted({each.chance for each in probed})]
    return f"{values[0]} %" if values[0] == values[-1] else f"{values[0]} to {values[-1]} %"


def is_shared(probed: Sequence[ProbedLayer]) -> bool:
    """Whether one kind of probe says the same of all runs' log-mel."""
    return len({each.accuracy for each in probed if each.layer is None}) == 1


def _draw_losses(axes: Axes, curves: Sequence[LearningCurve]) -> None:
    for each, colour in zip(curves, style.SERIES, strict=False):
        axes.plot(each.step, each.share, color=colour, lw=1.1)
    axes.axhline(1.0, color="#444444", ls="--", lw=0.7)
    axes.set_ylim(0, 1.25)
    axes.set_title("training")
    axes.set_xlabel("step")
    axes.set_ylabel("loss / loss of its baseline")


def _draw_probe(axes: Axes, probed: Sequence[ProbedLayer], runs: Sequence[str]) -> None:
    inputs = {each.model: each for each in probed if each.layer is None}
    if is_shared(probed):
        each = next(iter(inputs.values()))
        axes.axhline(each.accuracy, color="#000000", lw=0.9)
        axes.axhspan(each.low, each.high, color="#000000", alpha=0.08, lw=0)
    else:
        for run, colour in zip(runs, style.SERIES, strict=False):
            if run in inputs:
                axes.axhline(inputs[run].accuracy, color=colour, ls="--", lw=0.8)
    for number, (run, colour) in enumerate(zip(runs, style.SERIES, strict=False)):
        mine = [each for each in probed if each.model == run and each.layer is not None]
        # Side by side, so that bars of equal layers are told apart.
        aside = 0.06 * (number - (len(runs) - 1) / 2)
        ends = [
            [max(each.accuracy - each.low, 0) for each in mine],
            [max(each.high - each.accuracy, 0) for each in mine],
        ]
        at, values = [each.layer + aside for each in mine], [each.accuracy for each in mine]
        look = {"color": colour, "marker": "o", "ms": 2.8, "lw": 1.0, "elinewidth": 0.6}
        axes.errorbar(at, values, ends, **look)
    axes.set_xlabel("layer (0: input of the first)")
    axes.set_xticks(sorted({each.layer for each in probed if each.layer is not None}))
