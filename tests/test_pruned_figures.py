"""Figures and tables of a model with pruned heads: their places are blank, all else is drawn."""

import warnings

import numpy as np
import pytest
from head_figures import make_example, make_table
from legible import assert_legible
from matplotlib.colors import to_hex
from phone_tables import make_phone_table
from segment_tables import make_table as make_segments

from sat_jax.errors import InputError
from sat_jax.figures import (
    cumulative_curves,
    heads,
    maps,
    phone_curves,
    phones,
    segments,
    style,
    tables,
)
from sat_jax.records.heads import check_heads
from sat_jax.records.phones import Interval, PhoneSummary, check_phones
from sat_jax.records.segments import check_segments

LEFT = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)


def without_heads(table, left):
    """A record whose arrays (L, H, ...) are NaN, and its categories pruned, out of `left`."""

    def cut(values):
        if isinstance(values, (PhoneSummary, Interval)):
            return values._replace(**{name: cut(each) for name, each in values._asdict().items()})
        if isinstance(values, dict):
            return {name: cut(each) for name, each in values.items()}
        if not isinstance(values, np.ndarray) or values.shape[:2] != left.shape:
            return values
        if values.dtype.kind in "UO":
            return np.where(left, values, "pruned")
        values = values.astype(float)
        values[~left] = np.nan
        return values

    return table._replace(**{name: cut(each) for name, each in table._asdict().items()})


def ranked_anew(table, left):
    """Ranks among the heads that are left."""

    def anew(group):
        found = {}
        for name, values in group.items():
            among = np.searchsorted(np.sort(table.ranks[name][left]), values) + 1
            found[name] = np.where(left, among.clip(1, left.sum()), np.nan)
        return found

    ends = ("ranks", "rank_low", "rank_high")
    return table._replace(**{end: anew(getattr(table, end)) for end in ends})


GRID = np.ones((6, 8), bool)
GRID[1], GRID[3, 2:], GRID[0, 0] = False, False, False
SINGLE = np.zeros((6, 8), bool)
SINGLE[4, 5] = True


@pytest.fixture(scope="module")
def drawn():
    shown = make_example(6, 8, 40)
    return shown, make_table(shown), make_phone_table(6, 8), make_segments(6, 8)


@pytest.mark.parametrize("left", [GRID, SINGLE])
def test_figures_with_pruned_heads_are_legible(drawn, left, monkeypatch):
    shown, *records = drawn
    shown = shown._replace(maps=np.where(left[..., None, None], shown.maps, np.nan))
    table, spoken, found = (without_heads(each, left) for each in records)
    table = ranked_anew(table, left)
    one = tuple(np.argwhere(left)[0].tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        figures = {
            "gallery": maps.gallery(shown, table),
            "all_heads": maps.all_heads(shown, table),
            "scatter": heads.head_scatter([table, table]),
            "distribution": heads.head_distribution([table]),
            "ranks": heads.rank_intervals(table),
            "phone_maps": phones.phone_maps(spoken, [one]),
            "all_phone_maps": phones.all_phone_maps(spoken),
            "focus": phones.focus_chart(spoken),
            "verticality": phone_curves.verticality_against_concentration(spoken, [one]),
            "shares": phone_curves.segment_shares([spoken]),
            "segments": segments.segmentation_heads([found, found]),
            "recall": segments.precision_recall([found]),
        }
        texts = {name: assert_legible(each, monkeypatch) for name, each in figures.items()}
    count = int(left.sum())
    assert len([t for t in texts["ranks"] if "-" in t and t[0].isdigit()]) == 4 * count
    assert len([t for t in texts["gallery"] if t.startswith("L")]) == 3 * min(4, count)
    grid = max(figures["all_heads"].axes, key=lambda axes: len(axes.patches))
    assert len(grid.images) == count
    frames = [to_hex(patch.get_edgecolor()) for patch in grid.patches]
    assert frames.count(style.BLANK["edgecolor"]) == left.size - count
    assert len(frames) == left.size
    grid = max(figures["all_phone_maps"].axes, key=lambda axes: len(axes.patches))
    assert (len(grid.images), len(grid.patches)) == (count, left.size)
    for name, panel in {"scatter": -1, "distribution": -1, "shares": -1, "verticality": 1}.items():
        axes = figures[name].axes[panel]
        points = [p for part in axes.collections for p in offsets_of(part)]
        assert len(points) == count, name
    bars = figures["distribution"].axes[0].patches
    assert sum(bar.get_height() for bar in bars) == count
    chart = figures["focus"].axes[0]
    white = [p for p in chart.patches if to_hex(p.get_facecolor()) == "#ffffff"]
    assert len(white) == left.size - count
    assert [round(p.get_y()) for p in white] == np.flatnonzero(~left).tolist()


def offsets_of(part):
    """Places of the markers of a scatter; none for bars."""
    is_scatter = hasattr(part, "get_sizes") and len(part.get_sizes())
    return part.get_offsets().tolist() if is_scatter else []


def test_layers_without_heads_have_no_curve():
    curves = np.full((2, 3, 4, 5), 0.5)
    curves[:, ~LEFT] = np.nan
    layer = np.full((2, 3, 5), 0.5)
    layer[:, 1] = np.nan
    given = (["a", "b"], np.arange(5), curves, layer, layer, np.linspace(0.1, 1, 5), 0.03)
    figure = cumulative_curves.cumulative_diagonality(*given, LEFT)
    # Two models' heads and means, and uniform attention.
    counts = [len(axes.lines) for axes in figure.axes]
    assert counts == [2 * (3 + 1) + 1, 1, 2 * (2 + 1) + 1]
    with pytest.raises(InputError, match="holds values that are not in"):
        cumulative_curves.cumulative_diagonality(*given)
    with pytest.raises(InputError, match="head_mask has shape"):
        cumulative_curves.cumulative_diagonality(*given, LEFT[1:])


def test_records_may_lack_pruned_heads_and_nothing_else(drawn):
    shown, table, spoken, found = drawn
    pruned = without_heads(table, GRID)
    blank = without_heads(spoken, GRID)
    empty = without_heads(found, GRID)
    checks = [
        (
            check_heads,
            table._replace(category=pruned.category),
            "value at L1 H1, which is pruned",
        ),
        (check_heads, pruned._replace(category=table.category), "not finite at L1 H1; look for"),
        (check_heads, pruned._replace(category=np.full((6, 8), "pruned")), "all heads are pruned"),
        (check_phones, spoken._replace(category=blank.category), "is .* at L1 H1"),
        (check_phones, blank._replace(category=spoken.category), "at L1 H1"),
        (check_segments, found._replace(category=empty.category), "is not finite"),
        (check_segments, empty._replace(category=found.category), "is not finite"),
    ]
    for check, record, message in checks:
        with pytest.raises(InputError, match=message):
            check([record] if check is check_segments else record)
    with pytest.raises(InputError, match=r"head \(1, 0\) is pruned"):
        phones.phone_maps(blank, [(1, 0)])
    holes = shown._replace(maps=np.where(GRID[..., None, None], shown.maps, np.nan))
    with pytest.raises(InputError, match="rows of the maps do not sum to 1"):
        maps.all_heads(holes, table)


def test_rows_of_a_pruned_head_are_empty(drawn):
    table = without_heads(drawn[1], SINGLE)
    assert len(tables.gallery_rows(table)) == 3
    means = [row["mean_globalness"] for row in tables.distribution_rows([table])]
    assert [mean == "" for mean in means] == [True] * 4 + [False, True]
    rows = tables.metric_rows([table])
    assert rows[0]["category"] == "pruned"
    assert rows[0]["globalness"] == rows[0]["category_share"] == ""
    assert rows[0]["utterances"] == 64
    assert rows[4 * 8 + 5]["globalness"] == table.metrics["globalness"][4, 5]
