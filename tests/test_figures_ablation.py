"""Figures of the ablation study on synthetic records: right values at right places, all legible."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from legible import assert_legible, drawn_texts
from matplotlib.colors import to_hex
from matplotlib.text import Text

from sat_jax.errors import InputError
from sat_jax.figures import ablation, ablation_areas, ablation_axes, style
from sat_jax.records import ablation as records

PAPER = ("globalness", "verticality", "diagonality", "weight", "random")
TASKS = {  # label, lower is better, intact, all heads gone, chance
    "reconstruction": ("L1 of the spectrogram", True, 0.182, 0.431, 0.39),
    "phone": ("phone accuracy (%)", False, 71.3, 44.0, 12.1),
    "speaker frame": ("speaker accuracy (%)", False, 64.0, 22.5, 3.1),
    "speaker utterance": ("speaker accuracy (%)", False, 98.2, 95.1, 3.1),
}
LONG = "a run with a very long name, " * 8


def make_curve(ordering, heads, points, ends, rng):
    """Flat at first and steep later, the sooner the more the ordering spoils."""
    pruned = np.unique(np.round(np.linspace(0, heads, points)).astype(int))
    share, (intact, gone) = pruned / heads, ends
    late = 4.0 - 3.2 * records.ORDERINGS.index(records.base(ordering)) / 8
    late = 1 / late if ordering.endswith("reversed") else late
    value = intact + (gone - intact) * share**late
    value[1:] += rng.normal(size=len(value) - 1) * 0.015 * abs(gone - intact)
    width = (0.03 + 0.1 * share * (ordering == "random")) * abs(gone - intact)
    area, loss = float(np.mean(value)), abs(value - intact) / intact
    width_area = 0.05 * abs(gone - intact)
    removable = int(pruned[loss <= 0.01].max())
    ends = (area - width_area, area + width_area)
    return records.Curve(
        ordering, pruned, value, value - width, value + width, area, *ends, removable
    )


def make_ablation(heads=48, points=49, orderings=PAPER, tasks=tuple(TASKS), seed=0, **fields):
    rng = np.random.default_rng(seed)
    made = []
    for name in tasks:
        label, lower, intact, gone, chance = TASKS[name]
        curves = [make_curve(each, heads, points, (intact, gone), rng) for each in orderings]
        made.append(records.Task(name, label, lower, chance, tuple(curves)))
    table = records.Ablation(
        "toy (step 2400)",
        "probes trained anew",
        "attention set to 0",
        heads,
        128,
        3,
        20,
        tuple(made),
    )
    return table._replace(**fields)


BASES = tuple(records.ORDERINGS)
BACK = tuple(f"{name} reversed" for name in PAPER[:3])


def legible(figure, monkeypatch):
    """Every text lies inside the figure and none on another, those of several lines included."""
    texts = assert_legible(figure, monkeypatch)
    several = [t for t in figure.findobj(Text) if "\n" in t.get_text() and t.get_visible()]
    if several:
        _, boxes = drawn_texts(figure, monkeypatch)
        boxes = np.vstack([*boxes, *(text.get_window_extent().extents for text in several)])
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= figure.get_size_inches() * 100).all()
        slack = 0.15 * (boxes[:, 2:] - boxes[:, :2])
        low, high = boxes[:, :2] + slack, boxes[:, 2:] - slack
        touch = ((low[:, None] < high[None]) & (high[:, None] > low[None])).all(axis=-1)
        assert touch.sum() == len(boxes)
    return texts + [text.get_text() for text in several]


def panels(figure):
    """Axes of the tasks, without keys."""
    return [axes for axes in figure.axes if axes.get_xlabel()]


def curve_line(axes, curve):
    """The one line that has the points of a curve."""
    pairs = np.stack([curve.pruned, curve.value], -1)
    same = [line for line in axes.lines if np.array_equal(line.get_xydata(), pairs)]
    assert len(same) == 1
    return same[0]


def distances():
    """CIE76 distances of the colours of orderings, the smallest over kinds of colour vision."""
    to_cones = [[0.31399, 0.63951, 0.0465], [0.15537, 0.75789, 0.0867], [0.01775, 0.10944, 0.87257]]
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.951]])
    protan, deutan, tritan = np.eye(3), np.eye(3), np.eye(3)
    protan[0], deutan[1], tritan[2] = (0, 1.05, -0.05), (0.95, 0, 0.046), (-0.867, 1.867, 0)
    labs = {}
    for name, (colour, _) in ablation_axes.LOOKS.items():
        rgb = np.array(matplotlib.colors.to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        cones = np.array(to_cones) @ linear
        seen = [np.linalg.solve(to_cones, m @ cones) for m in (np.eye(3), protan, deutan, tritan)]
        f = np.cbrt(to_xyz @ np.clip(np.transpose(seen), 1e-3, 1) / to_xyz.sum(axis=1)[:, None])
        labs[name] = np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    return [np.linalg.norm(labs[a] - labs[b], axis=0).min() for a, b in combinations(labs, 2)]


def test_lines_are_told_apart_by_colour_and_in_grey_by_marker():
    assert min(distances()) > 27
    markers = [marker for _, marker in ablation_axes.LOOKS.values()]
    assert len(set(markers)) == len(records.ORDERINGS)
    conditions = list(zip(*ablation_axes.CONDITIONS, strict=True))
    assert all(len(set(kind)) == 4 for kind in conditions)


@pytest.mark.parametrize(
    ("heads", "points", "tasks", "dashed"),
    [
        (144, 7, 4, ()),
        (144, 145, 4, BACK),
        (577, 577, 3, ()),
        (48, 49, 1, BACK[:1]),
        (1, 2, 2, ()),
    ],
)
def test_curves_are_legible(heads, points, tasks, dashed, monkeypatch):
    names = (*BASES, *dashed) if dashed else PAPER
    table = make_ablation(heads, points, names, tuple(TASKS)[:tasks])
    figure = ablation.task_curves(table, names[: len(names) - len(dashed)], dashed)
    assert figure.get_figwidth() == style.PAGE
    texts = legible(figure, monkeypatch)
    assert "toy (step 2400)" in texts
    assert f"{heads}\n100 %" in texts
    assert {"random (mean, range)", *(name for name in names if name != "random")} <= set(texts)
    assert texts.count("better ↓") == 1
    assert texts.count("better ↑") == tasks - 1
    text = "attention set to 0, probes trained anew, 128 utterances, 3 probe seeds"
    assert f"{text}, 20 random orderings" in texts


def test_curves_stand_at_their_values_in_the_look_of_their_ordering():
    table = make_ablation(48, 49, (*PAPER, *BACK))
    figure = ablation.task_curves(table, PAPER, BACK)
    for task, axes in zip(table.tasks, panels(figure), strict=True):
        assert axes.get_ylabel() == task.label
        bands = list(axes.collections)
        for curve in task.curves:
            line = curve_line(axes, curve)
            name = curve.ordering.removesuffix(" reversed")
            assert line.get_color() == ablation_axes.LOOKS[name][0]
            assert line.get_marker() == ablation_axes.LOOKS[name][1]
            assert line.is_dashed() == curve.ordering.endswith("reversed")
            assert len(line.get_markevery()) == 7
            band = bands.pop(0)
            assert to_hex(band.get_facecolor()[0]) == line.get_color().lower()
            corners = band.get_paths()[0].vertices
            assert {*curve.low, *curve.high} == {*corners[:, 1]}
        low, high = axes.get_ylim()
        assert low < min(curve.low.min() for curve in task.curves)
        assert high > max(curve.high.max() for curve in task.curves)
        levels = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
        chance = [level.get_ydata()[0] for level in levels[1:]]
        assert levels[0].get_ydata()[0] == task.curves[0].value[0]
        said = [text.get_text() for text in axes.texts]
        if task.name == "speaker utterance":  # 3.1 % would squeeze 95..98 % into a line
            assert (chance, said) == ([], ["chance 3.1 ↓"])
        else:
            assert (chance, said) == ([task.chance], [])
            assert low < task.chance < high or task.name != "reconstruction"


@pytest.mark.parametrize(
    ("names", "chance", "said"),
    [
        (("reconstruction",), 0.39, {"predicting the mean"}),
        (("phone",), 12.1, {"chance"}),
        (("reconstruction", "phone"), None, {"predicting the mean or chance"}),
        (("reconstruction",), np.nan, set()),
        (("reconstruction",), 9.0, {"predicting the mean 9 \u2191"}),
    ],
)
def test_a_level_that_needs_no_model_is_called_what_it_is(names, chance, said, monkeypatch):
    table = make_ablation(tasks=names)
    if chance is not None:
        table = table._replace(tasks=(table.tasks[0]._replace(chance=chance),))
    texts = assert_legible(ablation.task_curves(table, PAPER), monkeypatch)
    assert {text for text in texts if "chance" in text or "mean" in text} == said | {
        "random (mean, range)"
    }


def test_every_point_of_a_short_curve_has_a_marker():
    table = make_ablation(144, 7, tasks=("phone",))
    (axes,) = panels(ablation.task_curves(table, PAPER[:2]))
    line = curve_line(axes, table.tasks[0].curves[0])
    assert line.get_markevery() == list(range(7))


@pytest.mark.parametrize("heads", [1, 2, 5, 7, 48, 144, 384, 577])
def test_ticks_go_from_no_head_to_all(heads):
    ticks, texts = ablation_axes.head_ticks(heads)
    assert ticks[0] == 0
    assert ticks[-1] == heads
    assert (np.diff(ticks) > 0).all()
    assert len(ticks) <= 7
    assert texts == [f"{tick}\n{100 * tick / heads:.0f} %" for tick in ticks]


def make_tables(heads=48, orderings=PAPER, **fields):
    kinds = ("attention set to 0", "attention replaced by its mean")
    probes = ("probes trained anew", "frozen probes")
    each = [{"kind": kind, "probes": probe} for probe in probes for kind in kinds]
    return [
        make_ablation(heads, 9, orderings, seed=seed, **conditions, **fields)
        for seed, conditions in enumerate(each)
    ]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_conditions_side_by_side_are_legible_and_in_place(count, monkeypatch):
    tables = make_tables()[:count]
    tables[-1] = tables[-1]._replace(tasks=tables[-1].tasks[:3], seeds=2)
    figure = ablation.compared_curves(tables, "weight")
    shown = panels(figure)
    assert len(shown) == (3 if count == 1 else 4)
    for name, axes in zip(TASKS, shown, strict=False):
        for table, (colour, _, marker) in zip(tables, ablation_axes.CONDITIONS, strict=False):
            for task in (each for each in table.tasks if each.name == name):
                line = curve_line(axes, task.curves[3])
                assert (line.get_color(), line.get_marker()) == (colour, marker)
    texts = legible(figure, monkeypatch)
    if count == 1:
        shared = "attention set to 0, probes trained anew, 128 utterances, 2 probe seeds"
        assert f"ordering: weight, {shared}" in texts
    if count == 2:
        assert "ordering: weight, probes trained anew, 128 utterances" in texts
        assert "attention set to 0, 3 probe seeds" in texts
    if count == 4:
        assert "attention replaced by its mean, frozen probes, 2 probe seeds" in texts


@pytest.mark.parametrize(
    ("count", "tasks", "orderings"), [(1, 4, BASES), (2, 1, PAPER), (4, 4, BASES)]
)
def test_area_charts_are_legible(count, tasks, orderings, monkeypatch):
    tables = make_tables(144, orderings, tasks=tuple(TASKS)[:tasks])[:count]
    texts = legible(ablation_areas.area_chart(tables), monkeypatch)
    assert set(orderings) <= set(texts)
    assert texts.count("heads") == tasks
    assert texts.count("← better") == 1
    assert ("attention replaced by its mean, frozen probes" in texts) == (count == 4)


def test_models_with_long_names_are_told_apart(monkeypatch):
    tables = [make_tables()[0]._replace(name=name) for name in (LONG, "untrained")]
    for figure in (ablation_areas.area_chart(tables), ablation.compared_curves(tables, "weight")):
        texts = legible(figure, monkeypatch)
        assert {"several models", "untrained"} <= set(texts)
        assert sum(text.startswith(LONG[:40]) and text.endswith("…") for text in texts) == 1


@pytest.mark.parametrize(("name", "sign"), [("reconstruction", 1), ("phone", -1)])
def test_the_best_area_of_a_task_stands_on_top(name, sign):
    table = make_ablation(orderings=(*PAPER, *BACK), tasks=(name,))
    (axes,) = panels(ablation_areas.area_chart([table]))
    areas = {curve.ordering: sign * curve.area for curve in table.tasks[0].curves}
    order = [text.get_text() for text in axes.get_yticklabels()]
    assert order == sorted(areas, key=areas.get)


def test_areas_stand_in_the_rows_of_their_orderings_best_on_top():
    tables = [make_tables()[0], make_tables()[2]]
    first = tables[0].tasks[0]
    best = first.curves[1]._replace(area=0.1, area_low=0.09, area_high=0.12, removable=47)
    worse = tables[1].tasks[2].curves[0]._replace(area=20.0, area_low=19.0, area_high=21.0)
    curves = (first.curves[0], best, *first.curves[2:])
    tables[0] = tables[0]._replace(tasks=(first._replace(curves=curves), *tables[0].tasks[1:]))
    other = tables[1].tasks[2]
    other = other._replace(curves=(worse, *other.curves[1:-1]))
    tables[1] = tables[1]._replace(tasks=(*tables[1].tasks[:2], other))
    shown = panels(ablation_areas.area_chart(tables))
    order = [text.get_text() for text in shown[0].get_yticklabels()]
    ranks_of = {name: [] for name in PAPER}
    for task in (task for table in tables for task in table.tasks):
        areas = {curve.ordering: curve.area for curve in task.curves}
        for rank, name in enumerate(sorted(areas, key=areas.get, reverse=not task.lower_is_better)):
            ranks_of[name].append(rank)
    assert order == sorted(PAPER, key=lambda name: np.mean(ranks_of[name]))
    for axes, name in zip(shown, TASKS, strict=True):
        bottom, top = axes.get_ylim()
        assert bottom > top
        points = {tuple(p.get_xydata()[0]): p for p in axes.lines if p.get_marker() in tuple("os")}
        numbers = {text.get_position()[1]: text.get_text() for text in axes.texts}
        ends = [bar.get_segments()[0] for bar in axes.collections]
        bars = {each[0, 1]: each[:, 0].tolist() for each in ends}
        seen = 0
        for table, shift in zip(tables, (-0.25, 0.25), strict=True):
            for curve in (c for t in table.tasks if t.name == name for c in t.curves):
                y = order.index(curve.ordering) + shift
                point = points[curve.area, y]
                assert point.get_marker() == ("o" if shift < 0 else "s")
                assert point.get_markeredgecolor() == ablation_axes.LOOKS[curve.ordering][0]
                assert numbers[y] == f"{curve.removable}"
                assert bars[y] == [curve.area_low, curve.area_high]
                seen += 1
        assert seen == len(points) == len(numbers)


def change_curve(**fields):
    def change(table):
        task = table.tasks[1]
        curves = (task.curves[0], task.curves[1]._replace(**fields), *task.curves[2:])
        tasks = (table.tasks[0], task._replace(curves=curves), *table.tasks[2:])
        return table._replace(tasks=tasks)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t._replace(tasks=()), "0 tasks, expected 1 to 4"),
        (lambda t: t._replace(tasks=t.tasks[:1] * 2), "task 'reconstruction' is given twice"),
        (lambda t: t._replace(heads=47), "pruned must rise from 0 to at most 47 heads"),
        (change_curve(ordering="size"), "'size' is unknown; expected one of globalness"),
        (change_curve(ordering="globalness"), "ordering 'globalness' is given twice"),
        (change_curve(pruned=np.arange(9)), "value has shape"),
        (change_curve(pruned=np.arange(1, 50)), "pruned must rise from 0"),
        (change_curve(pruned=np.append(0, np.arange(48)[::-1])), "pruned must rise from 0"),
        (change_curve(value=np.full(49, np.nan)), "value is not finite"),
        (change_curve(low=np.full(49, 99.0)), "the interval of value ends below"),
        (change_curve(area_low=99.0), "the interval of area ends below"),
        (change_curve(removable=49), r"removable is 49, expected 0..48"),
        (change_curve(value=np.full(49, 50.0)), "begins at 50, 'globalness' at 71.3"),
    ],
)
def test_broken_ablations_are_named(change, message):
    for draw in (
        lambda t: ablation.task_curves(t, PAPER[:1]),
        lambda t: ablation_areas.area_chart([t]),
    ):
        with pytest.raises(InputError, match=message) as caught:
            draw(change(make_ablation()))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda t: ablation.task_curves(t, ()), "no ordering was asked for"),
        (lambda t: ablation.task_curves(t, ("layer",)), "no curve of ordering 'layer'; expected"),
        (lambda t: ablation.task_curves(t, PAPER[:1] * 2), "would look like another line"),
        (lambda t: ablation.compared_curves([t], "layer"), "'layer' is in no table; expected one"),
        (lambda t: ablation.compared_curves([], "layer"), "0 tables, expected 1 to 4"),
        (lambda t: ablation_areas.area_chart([t, t]), "is given twice"),
        (lambda t: ablation_areas.area_chart([t, make_ablation(12, 3)]), "12 heads beside 48"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, message):
    with pytest.raises(InputError, match=message) as caught:
        draw(make_ablation())
    assert "\n" not in str(caught.value)


def test_where_not_every_number_of_heads_was_tested_it_says_so():
    table = make_ablation(points=7)
    assert ablation_areas.tested_at(table).endswith(", 40 and 48 heads only")
    assert ablation_areas.tested_at(make_ablation(points=table.heads + 1)) == ""
