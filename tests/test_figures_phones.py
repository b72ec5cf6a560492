"""Figures of heads and phones on synthetic tables: right values at right places, all legible."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from test_figures import assert_legible

from sat_jax.errors import InputError
from sat_jax.figures import phone_axes, phone_curves, phones, style
from sat_jax.records.check import CATEGORIES
from sat_jax.records.phones import Interval, PhoneSummary, PhoneTable, check_phones

BY_MANNER = {
    "silence": "sil",
    "vowel": "iy ih eh ae aa ah uh uw er",
    "diphthong": "ey ay oy aw ow",
    "semivowel": "l r w y",
    "nasal": "m n ng",
    "affricate": "ch jh",
    "fricative": "f v th dh s z sh hh",
    "stop": "p b t d dx k g",
}
PHONES = tuple(" ".join(BY_MANNER.values()).split())
MANNERS = tuple(name for name, group in BY_MANNER.items() for _ in group.split())


def make_phone_table(layers, heads, names=PHONES, manners=MANNERS, trained=True, seed=0):
    """Diagonal heads below, heads that focus on a few phones in the middle, diffuse ones above."""
    rng = np.random.default_rng(seed)
    count = len(names)
    logs = rng.normal(size=(layers, heads, count, count)) * 0.2
    category = np.full((layers, heads), "global", object)
    operations = [[""] * heads for _ in range(layers)]
    own = rng.uniform(0.03, 0.05, (layers, heads))
    for layer, head in np.ndindex(layers, heads):
        depth = (layer + rng.uniform(-0.7, 0.7)) / max(layers - 1, 1)
        if not trained:
            category[layer, head] = rng.choice(CATEGORIES)
        elif depth < 0.35:
            category[layer, head] = "diagonal"
            logs[layer, head] += rng.normal(size=(count, count)) - 0.8 + 4 * np.eye(count)
            operations[layer][head] = "same phone"
            own[layer, head] = rng.uniform(0.2, 0.7)
        elif depth < 0.7:
            category[layer, head] = "vertical"
            start = rng.integers(count)
            liked = np.arange(start, min(start + 4, count))
            logs[layer, head] -= rng.uniform(0.3, 1.0)
            logs[layer, head][:, liked] += rng.uniform(1.0, 3.0)
            operations[layer][head] = "focus on " + ", ".join(names[i] for i in liked)
            own[layer, head] = rng.uniform(0.03, 0.15)
        else:
            logs[layer, head][:, 0] -= rng.uniform(0, 2.5)
    relation = np.expm1(logs)
    never = rng.uniform(size=(count, count)) < 0.03
    relation[:, :, never] = np.nan
    if count > 3:
        relation[:, :, :, -2] = relation[:, :, -2] = np.nan  # a phone that never occurs
    seen = ~np.isnan(relation)
    concentration = np.where(seen, relation, 0).sum(axis=2) / np.maximum(seen.sum(axis=2), 1)
    concentration[~seen.any(axis=2)] = np.nan
    spread = 0.06 * (1 + concentration) + 0.02
    silence = np.clip(0.18 * (1 + np.nan_to_num(concentration[..., 0])), 0, 0.9)
    diagonal = np.einsum("lhpp->lhp", np.where(seen, relation, 0)).mean(axis=-1)
    same = 1 + 0.3 * np.maximum(diagonal, -0.9)
    verticality = -4.6 + (category == "vertical") * rng.uniform(0.5, 1.8, (layers, heads))
    verticality = verticality + rng.normal(size=(layers, heads)) * 0.05
    summary = PhoneSummary(
        relation=relation,
        elsewhere=relation * 0.5,
        concentration=Interval(concentration, concentration - spread, concentration + spread),
        silence=Interval(silence, silence * 0.93, silence * 1.06),
        silence_uniform=0.18,
        own=Interval(own, own * 0.93, own * 1.06),
        own_uniform=0.037,
        same=Interval(same, same * 0.93, same * 1.06),
        towards_silence=Interval(silence, silence, silence),
        seen=np.full(count, 50),
    )
    return PhoneTable(
        name="toy (step 2400)" if trained else "toy untrained",
        phones=tuple(names),
        manners=tuple(manners),
        summary=summary,
        verticality=verticality,
        category=category.astype(str),
        operations=tuple(map(tuple, operations)),
        utterances=192,
    )


def replaced(table, **fields):
    """The table with fields of its own, of its summary, or of an interval (NAME_low) replaced."""
    for name, value in fields.items():
        stem, _, end = name.rpartition("_")
        if name in PhoneTable._fields:
            table = table._replace(**{name: value})
            continue
        old = getattr(table.summary, name, None)
        if end in ("low", "high"):
            name, value = stem, getattr(table.summary, stem)._replace(**{end: value})
        elif isinstance(old, Interval):
            value = old._replace(value=value)
        table = table._replace(summary=table.summary._replace(**{name: value}))
    return table


RADII = np.array([0, 1, 2, 3, 5, 7, 10, 15, 20, 25, 35, 50, 75, 100])
FOREIGN = [f"p{i}" if i % 3 else f"tS{i}:" for i in range(60)]


def make_curves(models, layers, heads):
    """Arguments of `cumulative_diagonality`: local heads below, diffuse ones above."""
    rng = np.random.default_rng(0)
    scale = rng.uniform(1, 5, (models, layers, heads, 1)) * (
        1 + 20 * np.arange(layers)[:, None, None]
    )
    curves = 1 - np.exp(-(RADII + 0.5) / scale)
    mean = curves.mean(axis=2)
    uniform = 1 - (1 - np.minimum((RADII + 0.5) / 150, 1)) ** 2
    names = ["toy (step 2400)", "toy untrained", "another", "one more"][:models]
    return [names, RADII, curves, mean * 0.97, 1 - (1 - mean) * 0.97, uniform, 0.03]


@pytest.fixture(scope="module")
def toy():
    return make_phone_table(6, 8)


@pytest.fixture(scope="module")
def foreign():
    return make_phone_table(4, 2, FOREIGN, [""] * 60)


@pytest.fixture(scope="module")
def single():
    return make_phone_table(1, 1, ["a"], ["vowel"])


@pytest.fixture(scope="module")
def base():
    return make_phone_table(12, 12)


def ratio(excess):
    """What a cell has to show: 1 + P inside the scale."""
    return np.clip(1 + np.asarray(excess), 1 / 8, 8)


def frame_colour(axes):
    return to_hex(axes.patches[0].get_edgecolor())


def assert_cells(image, excess):
    """Cells show 1 + excess, those that are NaN nothing but the grey of the key."""
    shown, absent = image.get_array(), np.isnan(excess)
    assert np.array_equal(np.ma.getmaskarray(shown), absent)
    assert np.allclose(shown[~absent], ratio(excess)[~absent])
    grey = np.isclose(image.to_rgba(shown), to_rgba(phone_axes.MISSING)).all(axis=-1)
    assert np.array_equal(grey, absent)


DRAWINGS = {
    "maps": lambda table: phones.phone_maps(table, [(0, 0)]),
    "all": phones.all_phone_maps,
    "focus": phones.focus_chart,
    "scatter": lambda table: phone_curves.verticality_against_concentration(table, [(0, 0)]),
    "shares": lambda table: phone_curves.segment_shares([table, table._replace(name="long " * 40)]),
}


@pytest.mark.parametrize(
    ("name", "drawings"),
    [
        ("toy", "focus"),
        ("foreign", "focus scatter"),
        ("single", "maps all focus scatter shares"),
        ("base", "all focus scatter shares"),
    ],
)
def test_figures_are_legible(name, drawings, request, monkeypatch):
    for drawing in drawings.split():
        table = request.getfixturevalue(name)
        texts = assert_legible(DRAWINGS[drawing](table), monkeypatch)
        assert "toy (step 2400) (192 utterances)" in texts


def test_maps_name_every_phone_and_manner_on_both_axes(toy, foreign, monkeypatch):
    texts = assert_legible(phones.phone_maps(toy, [(0, 1), (2, 3), (5, 5)]), monkeypatch)
    for phone in PHONES:
        assert texts.count(phone) == 3 * 2, phone
    # Manners stand beside the first column and above the first row: 2 maps each.
    for name in BY_MANNER:
        assert texts.count(name) == 4, name
    texts = assert_legible(phones.phone_maps(foreign, [(0, 0), (3, 1)], True), monkeypatch)
    for phone in FOREIGN:
        assert texts.count(phone) == 2 * 2, phone
    assert "toy (step 2400), own segment left out (192 utterances)" in texts


def test_no_phone_label_is_below_four_and_a_half_points(toy, foreign, base):
    for figure in (
        phones.phone_maps(toy, [(0, 0)]),
        phones.phone_maps(foreign, [(0, 0)]),
        phones.focus_chart(base),
        phones.focus_chart(make_phone_table(24, 16)),
    ):
        sizes = [text.get_fontsize() for axes in figure.axes for text in axes.texts]
        assert min(sizes) >= 4.5


@pytest.mark.parametrize("elsewhere", [False, True])
def test_phone_maps_show_the_chosen_heads_in_the_order_given(toy, elsewhere):
    shown = [(3, 2), (0, 1), (5, 7)]
    figure = phones.phone_maps(toy, shown, elsewhere)
    renderer, panels = FigureCanvasAgg(figure).get_renderer(), figure.axes[:3]
    values = toy.summary.elsewhere if elsewhere else toy.summary.relation
    for axes, (layer, head) in zip(panels, shown, strict=True):
        assert_cells(axes.images[0], values[layer, head])
        # Row 0 is the first query phone and stands on top, column 0 on the left.
        assert axes.images[0].get_extent() == [0, 39, 39, 0]
        assert (axes.get_xlim(), axes.get_ylim()) == ((0, 39), (39, 0))
        assert frame_colour(axes) == style.COLOURS[toy.category[layer, head]].lower()
        for text in axes.texts:
            if text.get_text() in PHONES:
                middle = np.mean(text.get_window_extent(renderer).get_points(), axis=0)
                across, down = axes.transData.inverted().transform(middle)
                along = down if text.get_rotation() == 0 else across
                assert along == pytest.approx(PHONES.index(text.get_text()) + 0.5, abs=0.25)
    titles = [text.get_text() for text in phones.phone_maps(toy, shown).texts]
    for layer, head in shown:
        operation = toy.operations[layer][head]
        start = f"L{layer + 1} H{head + 1}" + (": " if operation else "")
        assert start + operation in titles


def test_manner_lines_stand_where_the_manner_changes(toy):
    axes = phones.phone_maps(toy, [(0, 0)]).axes[0]
    changes = [i for i in range(1, 39) if MANNERS[i] != MANNERS[i - 1]]
    lines = axes.collections[0].get_segments()
    assert sorted(line[0, 0] for line in lines if np.ptp(line[:, 0]) == 0) == changes
    assert sorted(line[0, 1] for line in lines if np.ptp(line[:, 1]) == 0) == changes
    names = {t.get_text(): t.get_position() for t in axes.texts if t.get_text() in BY_MANNER}
    for name, (_, y) in names.items():
        rows = [i for i, manner in enumerate(MANNERS) if manner == name]
        assert y == pytest.approx((rows[0] + rows[-1] + 1) / 2) or y < 0


def test_all_maps_stand_at_their_layer_and_head(toy):
    axes = phones.all_phone_maps(toy).axes[0]
    assert len(axes.images) == len(axes.patches) == 48
    pitch = axes.images[1].get_extent()[0]
    for index, (image, frame) in enumerate(zip(axes.images, axes.patches, strict=True)):
        layer, head = divmod(index, 8)
        left, _, _, top = image.get_extent()
        assert np.allclose((left, top), (head * pitch, layer * pitch))
        assert np.allclose((left, top), (frame.get_x(), frame.get_y()))
        assert to_hex(frame.get_edgecolor()) == style.COLOURS[toy.category[layer, head]].lower()
        assert_cells(image, toy.summary.relation[layer, head])


def test_focus_chart_has_a_row_per_head_and_a_column_per_phone(toy):
    axes = phones.focus_chart(toy).axes[0]
    assert_cells(axes.images[0], toy.summary.concentration.value.reshape(48, 39))
    assert axes.images[0].get_extent() == [0, 39, 48, 0]
    for text in axes.texts:
        x, y = text.get_position()
        if text.get_text() in PHONES:
            assert x == PHONES.index(text.get_text()) + 0.5
        elif "-" in text.get_text():
            layer, head = map(int, text.get_text().split("-"))
            assert y == (layer - 1) * 8 + head - 0.5
    bars = axes.collections[-1]
    colours = [to_hex(colour) for colour in bars.get_colors()]
    assert colours == [style.COLOURS[kind].lower() for kind in toy.category.ravel()]
    assert [line[0, 1] for line in bars.get_segments()] == list(range(48))


def test_names_of_heads_are_thinned_only_where_rows_are_too_low(toy):
    def named(table):
        return [
            t.get_text() for t in phones.focus_chart(table).axes[0].texts if "-" in t.get_text()
        ]

    assert len(named(toy)) == 48
    crowded = named(make_phone_table(24, 16, PHONES[:5], MANNERS[:5]))
    assert {name.split("-")[0] for name in crowded} == {str(layer) for layer in range(1, 25)}
    assert len(crowded) < 24 * 16


def scatter_points(axes):
    """Markers of a panel: x, y and colour of each."""
    marks = [c for c in axes.collections if hasattr(c, "get_sizes") and len(c.get_sizes())]
    return [
        (x, y, to_hex(mark.get_facecolor()[0])) for mark in marks for x, y in mark.get_offsets()
    ]


def bars_of(axes):
    """Vertical bars of a panel: x, low and high of each."""
    lines = [c for c in axes.collections if not hasattr(c, "get_sizes")]
    segments = [segment for line in lines for segment in line.get_segments()]
    return {(segment[0, 0], segment[0, 1], segment[1, 1]) for segment in segments}


def test_focus_and_neglect_are_the_extremes_with_the_interval_of_their_phone(toy):
    figure = phone_curves.verticality_against_concentration(toy, [(3, 2)])
    for axes, pick in zip(figure.axes[:2], (np.nanargmax, np.nanargmin), strict=True):
        points, bars = [], set()
        for layer, head in np.ndindex(6, 8):
            at = layer, head, pick(toy.summary.concentration.value[layer, head])
            x, colour = toy.verticality[layer, head], style.COLOURS[toy.category[layer, head]]
            points.append((x, toy.summary.concentration.value[at], colour.lower()))
            bars.add((x, toy.summary.concentration.low[at], toy.summary.concentration.high[at]))
        assert sorted(scatter_points(axes)) == sorted(points)
        assert bars_of(axes) == bars
        # Neglect cannot be seen beside focus: each has its own panel, which holds all bars.
        assert axes.get_ylim()[0] < min(low for _, low, _ in bars)
        assert axes.get_ylim()[1] > max(high for *_, high in bars)
        phone = PHONES[pick(toy.summary.concentration.value[3, 2])]
        assert f"a: {phone}" in [text.get_text() for text in axes.texts]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_names_stand_beside_their_own_point(toy):
    figure = phone_curves.verticality_against_concentration(toy, [])
    for axes, pick in zip(figure.axes[:2], (np.nanargmax, np.nanargmin), strict=True):
        names = np.array(PHONES)[pick(toy.summary.concentration.value, axis=-1)].ravel()
        best = np.take_along_axis(
            toy.summary.concentration.value,
            pick(toy.summary.concentration.value, axis=-1)[..., None],
            axis=-1,
        )
        points = np.stack([toy.verticality.ravel(), best.ravel()], axis=-1)
        inches = axes.transData.transform(points) / figure.dpi
        assert len(axes.texts) > 10
        for text in axes.texts:
            place = axes.transAxes.transform(text.get_position()) / figure.dpi
            near = np.linalg.norm(inches - place, axis=1) < 0.25
            assert text.get_text() in names[near]


def test_shown_heads_carry_letters_and_their_maps(toy, monkeypatch):
    shown = [(2, 3), (3, 2), (5, 5), (0, 1)]
    figure = phone_curves.verticality_against_concentration(toy, shown)
    for axes, (layer, head) in zip(figure.axes[2:6], shown, strict=True):
        assert_cells(axes.images[0], toy.summary.relation[layer, head])
        assert frame_colour(axes) == style.COLOURS[toy.category[layer, head]].lower()
    texts = assert_legible(figure, monkeypatch)
    for letter, (layer, head) in zip("abcd", shown, strict=True):
        assert sum(text.startswith(f"{letter}  L{layer + 1} H{head + 1}") for text in texts) == 1
        assert sum(text.startswith(f"{letter}: ") for text in texts) == 2
    # Rings mark the points of the shown heads in both panels.
    for axes, pick in zip(figure.axes[:2], (np.nanmax, np.nanmin), strict=True):
        rings = [line for line in axes.lines if line.get_marker() == "o"]
        assert len(rings) == 4
        for ring, (layer, head) in zip(rings, shown, strict=True):
            at = toy.verticality[layer, head], pick(toy.summary.concentration.value[layer, head])
            place = axes.transAxes.transform(np.ravel(ring.get_xydata()))
            assert np.allclose(axes.transData.transform(at), place, atol=0.5)


def test_a_lettered_point_has_no_second_name(single):
    figure = phone_curves.verticality_against_concentration(single, [(0, 0)])
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes[:2]] == [["a: a"]] * 2


def test_letters_have_room_even_where_all_points_coincide(toy, monkeypatch):
    same = np.broadcast_to(
        toy.summary.concentration.value[3, 2], toy.summary.concentration.value.shape
    )
    crowd = replaced(
        toy,
        verticality=np.full((6, 8), -4.0),
        concentration=same,
        concentration_low=same - 0.1,
        concentration_high=same + 0.1,
    )
    figure = phone_curves.verticality_against_concentration(crowd, [(0, 0), (1, 1), (2, 2)])
    texts = assert_legible(figure, monkeypatch)
    assert sum(text[:3] in ("a: ", "b: ", "c: ") for text in texts) == 6


def test_shares_show_every_head_with_its_bar_and_uniform_attention(toy):
    other = make_phone_table(6, 8, trained=False, seed=1)
    other = replaced(other, own_uniform=0.95)
    figure = phone_curves.segment_shares([other, toy])
    for number, axes in enumerate(figure.axes):
        table, kind = (other, toy)[number // 3], ("silence", "own", "same")[number % 3]
        values, low, high = getattr(table.summary, kind)
        uniform = 1.0 if kind == "same" else getattr(table.summary, f"{kind}_uniform")
        assert axes.lines[0].get_ydata() == [uniform, uniform]
        points = scatter_points(axes)
        assert len(points) == 48
        for x, y, colour in points:
            layer = round(x) - 1
            head = int(np.argmin(abs(values[layer] - y)))
            assert values[layer, head] == y
            assert colour == style.COLOURS[table.category[layer, head]].lower()
            assert (x, low[layer, head], high[layer, head]) in bars_of(axes)
        for layer in range(6):
            in_order = [y for x, y, _ in sorted(points) if round(x) - 1 == layer]
            assert in_order == values[layer].tolist()
        assert axes.get_ylim() == figure.axes[(number + 3) % 6].get_ylim()
        assert axes.get_ylim()[1] > max(high.max(), uniform)


def test_a_corpus_without_silence_is_named_and_drawn(toy, monkeypatch):
    none = np.full((6, 8), np.nan)
    quiet = replaced(
        toy, silence=none, silence_low=none, silence_high=none, silence_uniform=float("nan")
    )
    texts = assert_legible(phone_curves.segment_shares([quiet]), monkeypatch)
    assert "no silence in this corpus" in texts
    assert "no silence in this corpus" not in assert_legible(
        phone_curves.segment_shares([toy]), monkeypatch
    )
    with pytest.raises(InputError, match="silence is nan at L1 H1"):
        check_phones(replaced(quiet, silence_uniform=0.2))


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 6, 3), (4, 4, 2), (2, 24, 1)])
def test_cumulative_diagonality_is_legible_and_shows_every_head(size, monkeypatch):
    names, radii, curves, low, high, uniform, step = arguments = make_curves(*size)
    figure = phone_curves.cumulative_diagonality(*arguments)
    assert len(figure.axes) == size[1]
    for layer, axes in enumerate(figure.axes):
        assert axes.get_title() == f"layer {layer + 1}"
        *lines, dashed = axes.lines
        assert np.array_equal(dashed.get_ydata(), uniform)
        for model in range(size[0]):
            colour = phone_curves.MODELS[model].lower()
            mine = [line for line in lines if to_hex(line.get_color()) == colour]
            *thin, thick = (line.get_ydata() for line in mine)
            assert np.allclose(thin, curves[model, layer])
            assert np.allclose(thick, curves[model, layer].mean(axis=0))
            band = axes.collections[size[0] - 1 - model].get_paths()[0].vertices
            for ends in (low, high):
                corners = np.stack([radii, ends[model, layer]], axis=-1)
                apart = abs(band[None] - corners[:, None]).sum(axis=-1).min(axis=1)
                assert np.allclose(apart, 0)
    texts = assert_legible(figure, monkeypatch)
    for name in names:
        assert name in texts
    for axes in figure.axes[-min(3, size[1]) :]:
        ticks = axes.get_xticks()
        assert {0, 1, 5, 20} <= set(ticks)
        assert set(ticks) <= set(RADII)
        assert [label.get_text() for label in axes.get_xticklabels()] == [f"{t:g}" for t in ticks]
        milliseconds = {text.get_position()[0]: float(text.get_text()) for text in axes.texts}
        assert milliseconds == pytest.approx({tick: 30 * tick for tick in ticks})


def test_ticks_of_long_radii_keep_clear_of_each_other(monkeypatch):
    names, radii, *rest = make_curves(2, 4, 1)
    figure = phone_curves.cumulative_diagonality(names, radii * 40, *rest)
    assert {"0", "1"} <= set(assert_legible(figure, monkeypatch))
    assert len(figure.axes[-1].get_xticks()) >= 4


def test_manners_of_single_phones_are_named_as_far_as_they_have_room(monkeypatch):
    manners = ["silence", *(f"manner {i}" for i in range(38))]
    table = make_phone_table(2, 1, PHONES, manners)
    for name, least in (("maps", 40), ("focus", 8), ("scatter", 10)):
        texts = assert_legible(DRAWINGS[name](table), monkeypatch)
        assert least <= sum(text.startswith("manner ") for text in texts) <= 2 * 38


def change(**fields):
    return lambda table: replaced(table, **fields)


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (change(category=np.full(48, "global")), r"heads \(48,\); expected \(L, H\)"),
        (change(category=np.full((6, 8), "none")), "'none' is not one of"),
        (change(phones=()), "0 phones"),
        (change(manners=("vowel",)), "1 manners for 39 phones"),
        (change(operations=(("",),)), "operations are not 6 x 8 texts"),
        (change(relation=np.zeros((6, 8, 39, 38))), r"relation has shape \(6, 8, 39, 38\)"),
        (change(elsewhere=np.full((6, 8, 39, 39), -1.5)), "elsewhere is -1.5 at L1 H1"),
        (change(relation=np.full((6, 8, 39, 39), np.inf)), "relation is inf at L1 H1"),
        (change(concentration_low=np.zeros((6, 8))), r"concentration_low has shape \(6, 8\)"),
        (change(own_high=np.zeros((8, 6))), r"own_high has shape \(8, 6\), expected \(6, 8\)"),
        (change(same_low=np.full((6, 8), np.nan)), "same_low is nan at L1 H1"),
        (change(verticality=np.full((6, 8), np.nan)), "verticality is nan at L1 H1"),
        (
            lambda t: replaced(t, concentration_low=t.summary.concentration.low * np.nan),
            "concentration_low is nan at L1 H1",
        ),
        (
            lambda t: replaced(t, concentration=t.summary.concentration.value * np.nan),
            "a head has no concentration",
        ),
    ],
)
def test_broken_tables_are_named_in_every_figure(toy, alter, message):
    table = alter(toy)
    for draw in (
        lambda: phones.phone_maps(table, [(0, 0)]),
        lambda: phones.all_phone_maps(table),
        lambda: phones.focus_chart(table),
        lambda: phone_curves.verticality_against_concentration(table, []),
        lambda: phone_curves.segment_shares([toy, table]),
    ):
        with pytest.raises(InputError, match=message) as caught:
            draw()
        assert "\n" not in str(caught.value)
        assert "toy (step 2400)" in str(caught.value)


def test_heads_that_do_not_exist_are_refused(toy):
    scatter = phone_curves.verticality_against_concentration
    for shown in ([(6, 0)], [(0, 8)], [(0, 0), (-1, 0)]):
        for draw in (phones.phone_maps, scatter):
            with pytest.raises(InputError, match="is not one of 6 x 8; count from 0"):
                draw(toy, shown)
    with pytest.raises(InputError, match="no head is shown"):
        phones.phone_maps(toy, [])
    with pytest.raises(InputError, match="5 heads shown, expected up to 4"):
        scatter(toy, [(0, i) for i in range(5)])
    with pytest.raises(InputError, match="no table"):
        phone_curves.segment_shares([])


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, ["one"], "names has shape"),
        (0, [], "0 models"),
        (1, RADII[::-1], "radii must rise"),
        (1, RADII - 1, "radii must rise"),
        (1, RADII[1:], r"radii has shape \(13,\), expected \(14,\)"),
        (2, np.zeros((2, 3, 14)), "expected 1 to 4 models"),
        (2, np.full((2, 3, 4, 14), np.nan), "curves holds values that are not in 0..1"),
        (3, np.zeros((2, 14)), "low has shape"),
        (4, np.full((2, 3, 14), 1.2), "high holds values that are not in 0..1"),
        (5, np.full(14, -0.1), "uniform holds values that are not in 0..1"),
        (6, 0.0, "last > 0 s"),
    ],
)
def test_broken_curves_are_named(position, value, message):
    arguments = make_curves(2, 3, 4)
    arguments[position] = value
    with pytest.raises(InputError, match=message) as caught:
        phone_curves.cumulative_diagonality(*arguments)
    assert "\n" not in str(caught.value)


def test_one_colour_scale_symmetric_about_uniform_attention(toy):
    for figure in (
        phones.phone_maps(toy, [(0, 0)]),
        phones.all_phone_maps(toy),
        phones.focus_chart(toy),
        phone_curves.verticality_against_concentration(toy, [(0, 0)]),
    ):
        images = [image for axes in figure.axes for image in axes.images]
        assert {(image.norm.vmin, image.norm.vmax) for image in images} == {(1 / 8, 8.0)}
        assert {image.get_cmap().name for image in images} == {"RdBu_r"}
        assert {float(image.norm(1.0)) for image in images} == {0.5}
        key = next(
            axes
            for axes in figure.axes
            if axes.get_xticklabels()[-1:]
            and "≥ 8" in [label.get_text() for label in axes.get_xticklabels()]
        )
        texts = [label.get_text() for label in key.get_xticklabels()]
        assert texts == ["≤ 1/8", "1/4", "1/2", "1", "2", "4", "≥ 8"]
        # The ramp says at each tick what the tick says.
        ramp = key.images[0]
        shown = np.interp(
            np.linspace(0, 1, 7), np.linspace(0, 1, ramp.get_array().size), ramp.get_array()[0]
        )
        assert np.allclose(shown, 2.0 ** np.arange(-3, 4), rtol=0.01)
        assert np.allclose(key.get_xticks(), np.linspace(*ramp.get_extent()[:2], 7))
