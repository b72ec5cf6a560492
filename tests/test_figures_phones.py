"""Figures of phones, what all have in common: legible, one colour scale, errors in words."""

import numpy as np
import pytest
from legible import assert_legible
from phone_tables import (
    FOREIGN,
    PHONES,
    make_phone_table,
    replaced,
)

from sat_jax.errors import InputError
from sat_jax.figures import phone_curves, phones


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


def test_no_phone_label_is_below_four_and_a_half_points(toy, foreign, base):
    for figure in (
        phones.phone_maps(toy, [(0, 0)]),
        phones.phone_maps(foreign, [(0, 0)]),
        phones.focus_chart(base),
        phones.focus_chart(make_phone_table(24, 16)),
    ):
        sizes = [text.get_fontsize() for axes in figure.axes for text in axes.texts]
        assert min(sizes) >= 4.5


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
