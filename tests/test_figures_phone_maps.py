"""Maps of phones and the chart of focus: right values at right places, every phone named."""

import numpy as np
import pytest
from legible import assert_legible
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from phone_tables import (
    BY_MANNER,
    FOREIGN,
    MANNERS,
    PHONES,
    assert_cells,
    frame_colour,
    make_phone_table,
)

from sat_jax.figures import phones, style


@pytest.fixture(scope="module")
def toy():
    return make_phone_table(6, 8)


@pytest.fixture(scope="module")
def foreign():
    return make_phone_table(4, 2, FOREIGN, [""] * 60)


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
