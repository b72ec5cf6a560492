"""Heat maps, spans and ranks of the ablation study: right values at right places, all legible."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from phone_tables import MANNERS, PHONES
from test_figures_ablation import BACK, BASES, LONG, PAPER, TASKS, legible, panels

from sat_jax.errors import InputError
from sat_jax.figures import ablation_maps, style
from sat_jax.figures import ablation_ranks as ranks
from sat_jax.records import ablation as records
from sat_jax.records.check import CATEGORIES

SPANS = (None, 50, 25, 15, 5, 3, 2, 1, 0)


def make_spans(tasks=tuple(TASKS), spans=SPANS, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for name in tasks:
        label, lower, intact, gone, chance = TASKS[name]
        loss = np.linspace(0, 1, len(spans)) ** 3 * 0.8 + rng.normal(size=len(spans)) * 0.02
        value = intact + (gone - intact) * loss
        width = 0.03 * abs(gone - intact)
        made.append(
            records.Spans(name, label, lower, chance, spans, value, value - width, value + width)
        )
    return made


def make_grids(tasks=tuple(TASKS), pruned=(0, 8, 16, 24, 32, 40, 48), spans=SPANS):
    made = []
    for name in tasks:
        label, lower, intact, gone, _ = TASKS[name]
        share = np.linspace(0, 1, len(pruned))[:, None] ** 2
        value = intact + (gone - intact) * (share + (1 - share) * np.linspace(0, 0.8, len(spans)))
        made.append(records.Grid("globalness", name, label, lower, pruned, spans, value))
    return made


def make_singles(shape, tasks=tuple(TASKS), seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for name in tasks:
        label, lower, intact, gone, _ = TASKS[name]
        change = (gone - intact) * (rng.gamma(0.4, 0.04, shape) - 0.01)
        width = 0.012 * abs(gone - intact)
        made.append(
            records.Single(name, label, lower, intact, change, change - width, change + width)
        )
    return made


def make_ranking(shape, orders=PAPER[:4], shown=4, phones=True, seed=0):
    rng = np.random.default_rng(seed)
    count = shape[0] * shape[1]
    first = rng.permutation(count)
    second = np.argsort(np.argsort(first + rng.normal(size=count) * count / 5))
    differ = np.argsort(-abs(first - second), kind="stable")[: min(shown, count)]
    heads = tuple((int(i) // shape[1], int(i) % shape[1]) for i in differ)
    scores = rng.normal(size=(len(orders), 200)) + rng.normal(size=200)
    maps = np.expm1(rng.normal(size=(len(heads), len(PHONES), len(PHONES))) * 0.6)
    maps[:, 3] = np.nan
    texts = ("attends to silence, focus on s, sh, z", "", "same phone", "neglect of vowels")
    return records.Ranking(
        "toy (step 2400)",
        tuple(orders),
        np.corrcoef(scores),
        first.reshape(shape) + 1,
        second.reshape(shape) + 1,
        rng.choice(CATEGORIES, shape),
        heads,
        maps if phones else None,
        MANNERS if phones else (),
        PHONES if phones else (),
        texts[: len(heads)],
    )


def mixed_grids():
    first, *others = make_grids()
    return [first._replace(ordering="weight"), *others]


@pytest.mark.parametrize("tasks", [1, 3, 4])
def test_spans_are_legible_and_in_place(tasks, monkeypatch):
    spans = make_spans(tuple(TASKS)[:tasks])
    figure = ablation_maps.span_curves(spans, LONG, "frozen probes", 128, 0.03)
    for each, axes in zip(spans, panels(figure), strict=True):
        points = next(line for line in axes.lines if len(line.get_xdata()) == 9)
        assert np.array_equal(points.get_xydata().T, [np.arange(9), each.value])
        ends = np.array(axes.collections[0].get_segments())[:, :, 1]
        assert np.array_equal(ends, np.stack([each.low, each.high], -1))
        (full, *chance) = [x.get_ydata()[0] for x in axes.lines if list(x.get_xdata()) == [0, 1]]
        assert full == each.value[0]
        assert chance in ([], [each.chance])
        assert chance or each.name != "reconstruction"
        texts = [text.get_text() for text in axes.get_xticklabels()]
        assert [text.split("\n")[0] for text in texts] == ["full", *map(str, SPANS[1:])]
        assert [texts[i] for i in (0, 1, 8)] == ["full\n", "50\n1500", "0\n0"]
    texts = legible(figure, monkeypatch)
    assert any(text.startswith(LONG[:20]) and text.endswith("…") for text in texts)
    assert any("frozen probes, 128 utterances" in text for text in texts)


@pytest.mark.parametrize(
    ("tasks", "spans"), [(1, SPANS), (4, SPANS), (3, (None,)), (2, (None, *range(40, 0, -1)))]
)
def test_grids_are_legible_and_brighter_where_better(tasks, spans, monkeypatch):
    grids = make_grids(tuple(TASKS)[:tasks], spans=spans)
    figure = ablation_maps.span_grid(grids, "toy (step 2400)")
    for grid, axes in zip(grids, panels(figure), strict=True):
        (image,) = axes.images
        assert np.array_equal(image.get_array(), grid.value)
        light = image.cmap(image.norm(grid.value))[..., :3] @ (0.2126, 0.7152, 0.0722)
        rank = np.argsort(np.argsort(light.ravel()))
        expected = np.argsort(np.argsort(grid.value.ravel() * (-1) ** grid.lower_is_better))
        assert np.corrcoef(rank, expected)[0, 1] > 0.98
        told = {text.get_position(): text.get_text() for text in axes.texts}
        if len(spans) < 10:
            for (row, column), value in np.ndenumerate(grid.value):
                assert float(told[column, row]) == pytest.approx(value, abs=0.051)
        else:
            assert not told  # numbers would run into each other
        assert [t.get_text() for t in axes.get_yticklabels()] == [f"{n}" for n in grid.pruned]
    texts = legible(figure, monkeypatch) if len(spans) < 10 else []
    assert not texts or any("pruned by globalness" in text for text in texts)
    assert len(spans) > 9 or {"full", "heads pruned", "phone accuracy (%)"} & set(texts)


@pytest.mark.parametrize(
    ("shape", "tasks"), [((1, 1), 4), ((6, 8), 1), ((12, 12), 4), ((24, 16), 3)]
)
def test_single_heads_are_legible_and_red_where_worse(shape, tasks, monkeypatch):
    singles = make_singles(shape, tuple(TASKS)[:tasks])
    figure = ablation_maps.leave_one_out(singles, "toy (step 2400)")
    for each, axes in zip(singles, panels(figure), strict=True):
        (image,) = axes.images
        assert np.array_equal(image.get_array(), each.change)
        assert image.norm.vmin == -image.norm.vmax
        colour = image.cmap(image.norm(each.change))
        worse = each.change * (1 if each.lower_is_better else -1) > 0
        assert ((colour[..., 0] > colour[..., 2]) == worse)[abs(each.change) > 0].all()
        (dots,) = axes.lines
        unsure = np.argwhere((each.low <= 0) & (each.high >= 0))
        assert np.array_equal(dots.get_xydata(), unsure[:, ::-1])
    texts = legible(figure, monkeypatch)
    assert {"95 % interval includes 0", "worse", "better", f"{shape[0]}", "layer"} <= set(texts)
    assert "intact 0.182" in texts
    # In percent, a change is in points; no label is cut.
    assert "change of phone accuracy (points)" in texts or tasks == 1
    assert not any("…" in text for text in texts)


@pytest.mark.parametrize(
    ("shape", "shown", "phones"),
    [
        ((1, 1), 1, True),
        ((6, 8), 4, True),
        ((12, 12), 2, True),
        ((12, 12), 4, False),
        ((6, 8), 0, True),
    ],
)
def test_ranks_are_legible_and_in_place(shape, shown, phones, monkeypatch):
    ranking = make_ranking(shape, shown=shown, phones=phones)
    figure = ranks.rank_scatter(ranking)
    axes = figure.axes[0]
    seen = 0
    for points in (each for each in axes.collections if each.get_zorder() == 3):
        for x, y in np.asarray(points.get_offsets()):
            (at,) = np.argwhere((ranking.globalness == x) & (ranking.weight == y))
            kind = ranking.category[tuple(at)]
            assert to_hex(points.get_facecolor()[0]) == style.COLOURS[kind].lower()
            seen += 1
    assert seen == shape[0] * shape[1]
    texts = legible(figure, monkeypatch)
    for letter, (layer, head) in zip("abcd", ranking.disagreeing, strict=False):
        assert f"{letter}: {layer + 1}-{head + 1}" in texts
        assert f"{letter}  L{layer + 1} H{head + 1}" in texts
        both = (ranking.globalness[layer, head], ranking.weight[layer, head])
        assert "ranks {}, {}".format(*both) in texts
    maps = [a.images[0].get_array() for a in figure.axes if a.images and a.get_xlim() == (0, 39)]
    assert len(maps) == shown * phones
    for index in range(len(maps)):  # two lines of text stand above a map
        (name,) = [t for t in figure.texts if t.get_text().startswith(f"{'abcd'[index]}  L")]
        tops = [a.get_position().y1 for a in figure.axes if a.get_xlim() == (0, 39)]
        assert (name.get_position()[1] - tops[index]) * figure.get_figheight() > 0.26
    for drawn, relation in zip(maps, ranking.maps if phones else (), strict=True):
        expected = np.clip(1 + relation, 1 / 8, 8)
        assert np.allclose(drawn.filled(9), np.nan_to_num(expected, nan=9))
    value = f"Spearman correlation {ranking.correlation[0, 3]:.2f}"
    assert f"toy (step 2400), {seen} heads, {value}" in texts


@pytest.mark.parametrize("orders", [PAPER[:4], (*BASES, *BACK)])
def test_correlations_are_legible_and_in_place(orders, monkeypatch):
    ranking = make_ranking((6, 8), orders)
    ranking.correlation[0, 1] = ranking.correlation[1, 0] = -0.25
    figure = ranks.rank_correlations(ranking)
    (image,) = figure.axes[0].images
    assert np.array_equal(image.get_array(), ranking.correlation)
    assert image.get_clim() == (-1, 1)
    turned = {label.get_rotation() for label in figure.axes[0].get_xticklabels()}
    assert turned == ({90.0} if len(orders) > 4 else {0.0})
    told = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    for (row, column), value in np.ndenumerate(ranking.correlation):
        assert told[column, row] == style.signed(value, 2)
    texts = legible(figure, monkeypatch)
    assert texts.count("weight") == 2
    assert texts.count("\N{MINUS SIGN}0.25") == 2


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: ablation_maps.span_curves([], "toy", "", 1, 0.03), "0 tasks"),
        (lambda: ablation_maps.span_curves(make_spans(), "toy", "", 1, 0.0), "0.0 s per position"),
        (
            lambda: ablation_maps.span_curves(make_spans(spans=(5, 1)), "toy", "", 1, 0.03),
            "no span",
        ),
        (lambda: ablation_maps.span_grid(make_grids(pruned=(8, 8)), "toy"), "8 is given twice"),
        (lambda: ablation_maps.span_grid(make_grids(spans=(-1,)), "toy"), "None .full. or 0"),
        (lambda: ablation_maps.span_grid(mixed_grids(), "toy"), "several orderings"),
        (lambda: ablation_maps.leave_one_out(make_singles((0, 4)), "toy"), r"expected \(L, H\)"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, message):
    with pytest.raises(InputError, match=message) as caught:
        draw()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category": np.full((6, 8), "none")}, "'none' is not one of"),
        ({"correlation": np.eye(3)}, r"correlation has shape \(3, 3\), expected \(4, 4\)"),
        ({"correlation": np.full((4, 4), 1.1)}, "beyond -1..1"),
        ({"weight": np.zeros((6, 8))}, "weight holds ranks that are not in 1..48"),
        ({"disagreeing": ((6, 0),), "operations": ("",)}, r"head \(6, 0\) is not in \(6, 8\)"),
        ({"operations": ()}, "4 disagreeing heads and 0 operations"),
        ({"manners": ()}, "39 phones and 0 manners"),
    ],
)
def test_broken_rankings_are_named(change, message):
    for draw in (ranks.rank_scatter, ranks.rank_correlations):
        with pytest.raises(InputError, match=message):
            draw(make_ranking((6, 8))._replace(**change))
