"""The figure of several runs side by side: right values at right places, all legible."""

import numpy as np
import pytest
from legible import assert_legible
from matplotlib.colors import to_hex
from segment_tables import LONG

from sat_jax.errors import InputError
from sat_jax.figures import compared, style
from sat_jax.records.check import CATEGORIES
from sat_jax.records.runs import RunRow


def make_row(c_num, name=None, heads=48, diagonal=16, seed=0):
    rng = np.random.default_rng(seed + c_num)
    offset = np.round(rng.gamma(2, 10 * c_num, diagonal) / 30) * 30
    mean = offset.mean() if diagonal else np.nan
    shares = {
        n: (s, s - 0.08, s + 0.08) for n, s in zip(CATEGORIES, (0.4, 0.27, 0.33), strict=True)
    }
    scores = {
        n: (r, r - 1.2, r + 1.1)
        for n, r in zip(compared.SCORES, 75 + rng.normal(size=4) * 2, strict=True)
    }
    return RunRow(
        name or f"toy, masked span {c_num}",
        c_num,
        offset,
        mean,
        mean * 0.8,
        mean * 1.2,
        shares,
        rng.uniform(1, 4.6, heads),
        scores,
        0.31 + c_num / 50,
        0.45 + c_num / 40,
    )


@pytest.mark.parametrize("spans", [(3, 7), (1, 3, 6, 7, 9, 7)])
def test_runs_are_legible(spans, monkeypatch):
    rows = [make_row(c_num, seed=place) for place, c_num in enumerate(spans)]
    rows[-1] = make_row(7, LONG, diagonal=0)
    texts = assert_legible(compared.mask_lengths(rows), monkeypatch)
    assert texts.count("none") == 1
    assert "0 of 48" in texts
    assert any(text.startswith(LONG[:20]) and text.endswith("…") for text in texts)
    # The tick labels of four panels and the table.
    assert texts.count("7b" if spans.count(7) > 1 else "7") == 5


def test_names_of_one_kind_differ_within_a_group():
    looks = compared.kind_looks([["MFCC", "head L1 H2", "head L3 H4"], ["head L5 H6", "MFCC"]])
    assert looks[1] == [looks[0][1], looks[0][0]]
    assert looks[0][2] not in looks[0][:2]


def test_runs_stand_side_by_side_with_their_values():
    rows = [make_row(3), make_row(7, diagonal=0), make_row(9, diagonal=1)]
    rows[2].shares["diagonal"] = (0.5, 0.4, 0.7)
    offsets, shares, spread, scores = compared.mask_lengths(rows).axes
    points = [p.get_offsets() for p in offsets.collections if hasattr(p, "get_sizes")]
    points = [np.asarray(p) for p in points if len(p)]
    assert [np.round(p[:, 0].mean()) for p in points] == [0, 2]
    for row, each in zip((rows[0], rows[2]), points, strict=True):
        assert np.array_equal(each[:, 1], row.offset)
    means = [line for line in offsets.lines if line.get_marker() == "_"]
    assert [line.get_ydata()[0] for line in means] == [rows[0].offset_mean, rows[2].offset_mean]
    for container, name in zip(shares.containers, CATEGORIES, strict=True):
        heights = [bar.get_height() for bar in container]
        assert heights == [row.shares[name][0] for row in rows]
        assert {to_hex(bar.get_facecolor()) for bar in container} == {style.COLOURS[name].lower()}
    ends = np.array(shares.collections[2].get_segments())[:, :, 1].tolist()
    assert ends == [list(row.shares["diagonal"][1:]) for row in rows]
    assert shares.get_ylim()[1] > 0.7
    dots = [np.asarray(p.get_offsets()) for p in spread.collections if hasattr(p, "get_sizes")]
    for place, (row, each) in enumerate(zip(rows, [d for d in dots if len(d)], strict=True)):
        assert np.array_equal(each[:, 1], row.globalness)
        assert (abs(each[:, 0] - place) < 0.5).all()
    medians = [
        np.array(b.get_segments())[0, 0, 1]
        for b in spread.collections
        if to_hex(b.get_edgecolor()[0]) == "#000000"
    ]
    assert medians == [np.median(row.globalness) for row in rows]
    for name, points in zip(
        compared.SCORES,
        [p for p in scores.lines if p.get_marker() not in ("None", "")],
        strict=True,
    ):
        assert np.array_equal(points.get_ydata(), [row.scores[name][0] for row in rows])
        assert np.array_equal(np.round(points.get_xdata()), [0, 1, 2])


def test_runs_with_the_same_span_are_told_apart():
    assert compared.run_labels([3, 7, 7, 9, 7]) == ["3", "7a", "7b", "9", "7c"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shares": {"global": (1, 1, 1)}}, "shares has no 'vertical'"),
        ({"scores": {}}, "scores has no 'MFCC'"),
        ({"offset_mean": np.nan}, "offset_mean is not finite"),
        ({"offset": np.ones((2, 2))}, "offset has shape"),
        ({"globalness": np.zeros(0)}, "globalness is empty"),
        ({"valid_loss": np.inf}, "valid_loss is not finite"),
        ({"shares": dict.fromkeys(CATEGORIES, (0.3, 0.2))}, r"shares\[global\] has shape"),
    ],
)
def test_broken_runs_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        compared.mask_lengths([make_row(3), make_row(7)._replace(**fields)])


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_and_too_many_runs_are_refused(count):
    with pytest.raises(InputError, match=f"{count} were given, expected 2 to 6"):
        compared.mask_lengths([make_row(c_num + 1) for c_num in range(count)])
