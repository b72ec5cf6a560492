"""Figures of heads against phones and of curves: points, bars and names at right places."""

import numpy as np
import pytest
from legible import assert_legible
from matplotlib.colors import to_hex
from phone_tables import (
    PHONES,
    assert_cells,
    frame_colour,
    make_phone_table,
    replaced,
)

from sat_jax.errors import InputError
from sat_jax.figures import cumulative_curves, phone_curves, style
from sat_jax.records.phones import check_phones

RADII = np.array([0, 1, 2, 3, 5, 7, 10, 15, 20, 25, 35, 50, 75, 100])


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
def single():
    return make_phone_table(1, 1, ["a"], ["vowel"])


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
    figure = cumulative_curves.cumulative_diagonality(*arguments)
    assert len(figure.axes) == size[1]
    for layer, axes in enumerate(figure.axes):
        assert axes.get_title() == f"layer {layer + 1}"
        *lines, dashed = axes.lines
        assert np.array_equal(dashed.get_ydata(), uniform)
        for model in range(size[0]):
            colour = cumulative_curves.MODELS[model].lower()
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
    figure = cumulative_curves.cumulative_diagonality(names, radii * 40, *rest)
    assert {"0", "1"} <= set(assert_legible(figure, monkeypatch))
    assert len(figure.axes[-1].get_xticks()) >= 4


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
        cumulative_curves.cumulative_diagonality(*arguments)
    assert "\n" not in str(caught.value)
