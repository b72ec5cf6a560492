"""Segmentation figures on synthetic records: right values at right places, all legible."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex
from test_figures import PHONES, assert_legible

from sat_jax.errors import InputError
from sat_jax.figures import compared, segments, style
from sat_jax.records import boundaries
from sat_jax.records.check import CATEGORIES
from sat_jax.records.runs import RunRow
from sat_jax.records.segments import Panel, Score, SegmentExample, SegmentTable


def make_score(name, r, tried, rng, width=1.0):
    """A score whose curve runs from many predictions to few and passes its tuned point."""
    recall = np.linspace(95, 45, 15)
    precision = r - 60 * ((recall - 72) / 100) - 0.02 * (recall - 72) ** 2
    low, high = r - rng.uniform(1, 2) * width, r + rng.uniform(1, 2) * width
    middle = (recall[8], precision[8])
    over = 100 * (middle[0] / middle[1] - 1)
    values = (r, low, high, middle[0], over, middle[1], middle[0], 70.0, r + 0.5, tried, 2.0, 1.1)
    return Score(name, *values, np.stack([precision, recall], axis=-1))


def make_table(layers, heads, name="toy (step 2500)", trained=True, seed=0):
    """Heads that get better towards the middle layers, or are all alike if untrained."""
    rng = np.random.default_rng(seed)
    depth = np.linspace(-1, 1, layers + 1)
    r = 62 + rng.normal(size=(layers, heads)) * 5 + trained * 10 * (1 - depth[1:, None] ** 2)
    valid = r + rng.normal(size=r.shape) * 1.5
    hidden = 68 + trained * 8 * (1 - depth**2)
    best = np.unravel_index(valid.argmax(), valid.shape)
    scores = [
        make_score("MFCC", 74.0, 1, rng),
        make_score("log-mel", 72.5, 1, rng),
        make_score(f"hidden layer {hidden.argmax()}", hidden.max(), layers + 1, rng),
        make_score(f"head L{best[0] + 1} H{best[1] + 1}", r[best], layers * heads, rng),
    ]
    return SegmentTable(
        name,
        tuple(scores),
        valid,
        r,
        r - rng.uniform(0.5, 2, r.shape),
        r + rng.uniform(0.5, 2, r.shape),
        hidden,
        hidden - 1,
        hidden + 1,
        rng.choice(CATEGORIES, r.shape),
        48.0,
        64,
        2210,
    )


def make_example(seconds=3.0, panels=4, predicted=True, seed=0):
    """Frames of 10 ms whose similarity is high within phones; predictions mostly near the truth."""
    rng = np.random.default_rng(seed)
    edges = np.concatenate([[0.0], np.arange(0.2, seconds - 0.2, 0.09), [seconds]])
    edges[2:-1] += rng.uniform(-0.02, 0.02, len(edges) - 3)
    kind = rng.integers(1, len(PHONES), len(edges) - 1)
    kind[[0, -1]] = 0
    frames = int(seconds * 100) - 1
    centres = 0.0125 + 0.01 * np.arange(frames)
    rows = rng.normal(size=(len(PHONES), 12))[kind[np.searchsorted(edges[1:], centres)]]
    rows = rows + rng.normal(size=rows.shape) * 0.4
    apart = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=-1))
    similar = np.exp(-apart / 3)
    attention = np.exp(4 * similar - 0.02 * abs(np.arange(frames)[:, None] - np.arange(frames)))
    attention /= attention.sum(axis=-1, keepdims=True)
    near = edges[1:-1] + rng.normal(size=len(edges) - 2) * 0.015
    near = np.sort(np.append(near[rng.random(len(near)) < 0.85], rng.uniform(0, seconds, 3)))
    near = near if predicted else near[:0]
    score = 3 + 20 * abs(centres[:, None] - np.append(near, [-1, 99])).min(axis=1).clip(0, 0.5) * 5
    score *= 10 if seconds > 10 else 1  # three digits on the axis
    none = np.zeros(0)
    grid = (0.0075, 0.01)
    made = [
        Panel("attention of L3 H2", attention, True, *grid, none, none, none),
        Panel("similarity of its rows, exp(-d/alpha)", similar, False, *grid, near, score, centres),
        Panel("similarity of hidden layer 4", similar**2, False, *grid, near, score, centres),
        Panel(
            "similarity of MFCC", similar**0.5, False, *grid, near + 0.012, score, centres + 0.012
        ),
    ]
    return SegmentExample(
        id="spk07_$31$",
        audio=(rng.normal(size=int(seconds * 16000)) * 3000).astype(np.int16),
        spectrogram=rng.normal(size=(len(PHONES), 80))[kind[np.searchsorted(edges[1:], centres)]],
        phones=[(a, b, PHONES[k]) for (a, b), k in zip(pairwise(edges), kind, strict=True)],
        hop_seconds=0.01,
        start=0.0075,
        panels=tuple(made[:panels]),
    )


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


LONG = "a run with a very long name, " * 6


@pytest.mark.parametrize(
    ("seconds", "panels", "predicted"),
    [(1.5, 1, True), (1.5, 2, True), (2.0, 3, False), (2.0, 4, True), (15.0, 3, True)],
)
def test_example_is_legible(seconds, panels, predicted, monkeypatch):
    example = make_example(seconds, panels, predicted)
    texts = assert_legible(segments.segmentation_example(example, "toy (step 2500)"), monkeypatch)
    assert "toy (step 2500), utterance spk07_$31$" in texts
    assert "attention of L3 H2" in texts
    assert "true boundary, missed" in texts
    assert texts.count("score S") + texts.count("S") == panels - 1
    assert ("similarity K" in texts) == (panels > 1)


@pytest.mark.parametrize("size", [(1, 1), (6, 8), (12, 12)])
@pytest.mark.parametrize("count", [1, 2])
def test_tables_are_legible(size, count, monkeypatch):
    tables = [make_table(*size), make_table(*size, LONG, trained=False)][:count]
    texts = assert_legible(segments.segmentation_heads(tables), monkeypatch)
    assert texts.count("R-value on validation") == count
    assert {"MFCC", "log-mel", "evenly spaced", "hidden state", "best on validation"} <= set(texts)
    scores = (*tables[0].scores, tables[0].scores[3]._replace(name="untrained: head L12 H12"))
    tables[0] = tables[0]._replace(scores=scores)
    texts = assert_legible(segments.precision_recall(tables), monkeypatch)
    assert "untrained: head L12 H12" in texts
    assert texts.count("recall (%)") == count
    assert texts.count(f"{size[0] * size[1]}") >= 1
    if count == 2:
        assert any(text.startswith(LONG[:20]) and "… (64 utterances)" in text for text in texts)


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


def test_matrices_are_drawn_as_density_and_as_similarity_in_seconds():
    example = make_example(1.5)
    figure = segments.segmentation_example(example, "toy")
    shown = [axes for axes in figure.axes if axes.images][1:5]
    titles = {text.get_text(): text.get_position()[1] for text in figure.texts}
    for panel, axes in zip(example.panels, shown, strict=True):
        size = len(panel.matrix)
        expected = np.maximum(panel.matrix * size, 0.1) if panel.attention else panel.matrix
        assert np.allclose(axes.images[0].get_array(), expected, rtol=1e-5)
        limits = (0.1, 100.0) if panel.attention else (0.0, 1.0)
        assert axes.images[0].get_clim() == limits
        span = (0.0075, 0.0075 + size * 0.01)
        assert np.allclose(axes.get_xlim(), span)
        assert np.allclose(axes.get_ylim(), span[::-1])
        assert np.allclose(axes.images[0].get_extent(), (*span, *span[::-1]))
        # Titles stand above the two rows of ticks, which take 0.1 inches.
        room = (titles[panel.title] - axes.get_position().y1) * figure.get_figheight()
        assert room > 0.12


def test_boundaries_stand_on_the_margins_and_under_the_score():
    example = make_example(2.0)
    figure = segments.segmentation_example(example, "toy")
    true = np.array([start for start, _, _ in example.phones[1:]])
    maps = [axes for axes in figure.axes if axes.images][1:5]
    strips = [axes for axes in figure.axes if axes.get_ylabel() in ("score S", "S")]
    assert len(strips) == 3
    for panel, axes in zip(example.panels, maps, strict=True):
        hit, _ = boundaries.hits(panel.predicted, true)
        expected = {"#000000": true, "#009e73": panel.predicted[hit]}
        expected["#d55e00"] = panel.predicted[~hit]
        for ticks in axes.collections:
            ends = np.array(ticks.get_segments()).reshape(-1, 2, 2)
            # Ticks of the upper margin share x, those of the right one y; all are outside.
            upper = len(ends) == 0 or (ends[:, 0, 0] == ends[:, 1, 0]).all()
            assert np.array_equal(
                ends[:, 0, 0 if upper else 1], expected[to_hex(ticks.get_color()[0])]
            )
            assert (ends[:, :, 1 if upper else 0] > 1).all()
        assert len(axes.collections) == 6
    for panel, axes in zip(example.panels[1:], strips, strict=True):
        hit, found = boundaries.hits(panel.predicted, true)
        assert hit.any() and not hit.all() and found.any() and not found.all()
        lines = [line for line in axes.lines if len(line.get_xdata()) == 2]
        solid = [line.get_xdata()[0] for line in lines if line.get_linestyle() == "-"]
        dashed = [line.get_xdata()[0] for line in lines if line.get_linestyle() == "--"]
        assert solid == true[found].tolist()
        assert dashed == true[~found].tolist()
        curve, dots, crosses = [line for line in axes.lines if line not in lines]
        assert np.array_equal(curve.get_xydata().T, [panel.overlap_times, panel.overlap])
        for marks, chosen, marker in ((dots, hit, "o"), (crosses, ~hit, "x")):
            assert marks.get_marker() == marker
            assert np.array_equal(marks.get_xdata(), panel.predicted[chosen])
            expected = np.interp(panel.predicted[chosen], panel.overlap_times, panel.overlap)
            assert np.allclose(marks.get_ydata(), expected)
        assert axes.get_xlim() == maps[0].get_xlim()


def test_a_boundary_is_hit_once_by_the_nearest_within_20_ms():
    hits = boundaries.hits
    true = np.array([0.10, 0.13, 0.50])
    hit, found = hits(np.array([0.08, 0.114, 0.116, 0.477, 0.52, 0.52]), true)
    # 0.08 takes 0.10, 0.114 comes too late, 0.116 is nearer to 0.13; 0.477 is 23 ms off.
    assert hit.tolist() == [True, False, True, False, True, False]
    assert found.tolist() == [True, True, True]
    assert hits(np.array([0.115]), true)[1].tolist() == [False, True, False]
    for predicted, reference in ((true, true[:0]), (true[:0], true)):
        assert [part.tolist() for part in hits(predicted, reference)] == [
            [False] * len(predicted),
            [False] * len(reference),
        ]


@pytest.mark.parametrize(
    ("references", "predicted", "right"), [(200, 200, 200), (200, 150, 120), (300, 420, 240)]
)
def test_r_value_of_precision_and_recall_is_that_of_counts(references, predicted, right):
    rate, over = 100 * right / references, 100 * (predicted / references - 1)
    r1 = np.sqrt((100 - rate) ** 2 + over**2)
    r2 = (-over + rate - 100) / np.sqrt(2)
    expected = 100 * (1 - (abs(r1) + abs(r2)) / 200)
    assert boundaries.r_value(rate, 100 * (rate * predicted / (100 * right) - 1)) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("lowest", [8.0, 45.0, 88.0])
def test_contours_join_equal_r_values_and_are_named_where_they_end(lowest):
    table = make_table(2, 2)
    score = table.scores[0]
    curve = np.vstack([score.curve, [[lowest, 95.0]]])
    scores = tuple(each._replace(curve=curve.clip(lowest)) for each in table.scores)
    if lowest > 80:
        scores = tuple(each._replace(precision=90.0, recall=91.0) for each in scores)
    axes = segments.precision_recall([table._replace(scores=scores)]).axes[0]
    assert axes.get_xlim() == axes.get_ylim() == (min(lowest // 10 * 10, 70), 100)
    lines = next(each for each in axes.collections if hasattr(each, "levels"))
    named = {}
    for text in axes.texts:
        named[int(text.get_text().removeprefix("R = "))] = text.get_position()
    assert sorted(named) == lines.levels.tolist()
    assert len(named) >= 3
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        recall, precision = path.vertices.T
        near = precision > 10  # below, R changes by more than 1 from one grid point to the next
        assert near.sum() > 10
        assert (
            abs(boundaries.r_value(recall, 100 * (recall / precision - 1)) - level)[near].max()
            < 0.5
        )
        assert recall.max() == pytest.approx(100)
        x, y = named[level]
        assert x > 100
        assert boundaries.r_value(100.0, 100 * (100 / y - 1)) == pytest.approx(level, abs=0.5)


def test_curves_pass_their_tuned_point_and_kinds_look_alike_in_all_panels():
    tables = [make_table(6, 8), make_table(6, 8, "untrained", trained=False, seed=3)]
    names = [[score.name for score in table.scores] for table in tables]
    assert names[0] != names[1]
    figure = segments.precision_recall(tables)
    seen = []
    for table, axes in zip(tables, figure.axes, strict=True):
        curves, points = axes.lines[::2], axes.lines[1::2]
        for score, curve, point in zip(table.scores, curves, points, strict=True):
            assert np.array_equal(curve.get_xydata(), score.curve[:, ::-1])
            assert point.get_xydata().tolist() == [[score.recall, score.precision]]
            assert point.get_color() == curve.get_color()
        seen.append([(point.get_color(), point.get_marker()) for point in points])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 4
    texts = [text.get_text() for text in figure.texts]
    for table in tables:
        for score in table.scores:
            assert score.name in texts
            assert f"{score.r:.1f} [{score.low:.1f}, {score.high:.1f}]" in texts
    assert texts.count("48") == 2


def test_names_of_one_kind_differ_within_a_group():
    looks = compared.kind_looks([["MFCC", "head L1 H2", "head L3 H4"], ["head L5 H6", "MFCC"]])
    assert looks[1] == [looks[0][1], looks[0][0]]
    assert looks[0][2] not in looks[0][:2]


def test_heads_stand_at_their_layer_and_value_with_the_chosen_one_ringed():
    table = make_table(6, 8)
    upper, lower = segments.segmentation_heads([table]).axes
    best = np.unravel_index(table.heads_valid.argmax(), (6, 8))
    assert best != np.unravel_index(table.heads.argmax(), (6, 8))
    for axes in (upper, lower):
        seen = 0
        for kind in CATEGORIES:
            colour = style.COLOURS[kind]
            points = next(p for p in axes.lines if p.get_markerfacecolor() == colour)
            chosen = table.category == kind
            assert points.get_marker() == style.MARKERS[kind]
            assert np.array_equal(points.get_ydata(), table.heads[chosen])
            if axes is lower:
                assert np.array_equal(points.get_xdata(), table.heads_valid[chosen])
            else:
                assert np.array_equal(np.round(points.get_xdata()), np.nonzero(chosen)[0] + 1)
            seen += chosen.sum()
            bars = next(b for b in axes.collections if to_hex(b.get_color()[0]) == colour.lower())
            ends = np.array(bars.get_segments())[:, :, 1]
            assert np.array_equal(ends, np.stack([table.heads_low, table.heads_high], -1)[chosen])
        assert seen == 48
        (ring,) = [line for line in axes.lines if line.get_markersize() == 7]
        assert ring.get_ydata() == table.heads[best]
    (states,) = [
        line for line in upper.lines if line.get_color() == "black" and line.get_ls() == "-"
    ]
    assert np.array_equal(states.get_xydata().T, [np.arange(7), table.hidden])
    levels = {line.get_ydata()[0] for line in upper.lines if list(line.get_xdata()) == [0, 1]}
    assert levels == {74.0, 72.5, table.even}
    bands = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in upper.patches]
    assert np.allclose(bands, [(score.low, score.high) for score in table.scores[:2]])
    diagonal = next(line for line in lower.lines if line.get_color() == "#999999").get_xydata()
    assert (diagonal[:, 0] == diagonal[:, 1]).all()
    assert diagonal[:, 0].tolist() == list(lower.get_xlim())


def test_models_share_limits_that_hold_every_interval():
    tables = [make_table(6, 8), make_table(6, 8, "untrained", trained=False, seed=1)]
    tables[1] = tables[1]._replace(heads_low=tables[1].heads - 30, even=-20.0)
    tables[0] = tables[0]._replace(hidden_high=tables[0].hidden + 20)
    axes = segments.segmentation_heads(tables).axes
    assert axes[0].get_ylim() == axes[2].get_ylim()
    assert axes[1].get_ylim() == axes[3].get_ylim() == axes[1].get_xlim() == axes[3].get_xlim()
    assert axes[0].get_ylim()[0] < -20
    assert axes[0].get_ylim()[1] > tables[0].hidden_high.max()
    assert axes[1].get_ylim()[0] < tables[1].heads_low.min()
    assert axes[1].get_ylim()[1] > max(table.heads_high.max() for table in tables)


def test_a_table_without_log_mel_has_one_level_less():
    table = make_table(3, 4)
    axes = segments.segmentation_heads([table._replace(scores=table.scores[:1])]).axes[0]
    assert len(axes.patches) == 1


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


def change_score(**fields):
    return lambda t: t._replace(scores=(t.scores[0], t.scores[1]._replace(**fields)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t._replace(heads=t.heads[:, 1:]),
            r"heads has shape \(2, 2\), expected \(2, 3\)",
        ),
        (lambda t: t._replace(heads_low=t.heads_low.T), "heads_low has shape"),
        (lambda t: t._replace(hidden=t.hidden[1:]), r"hidden has shape \(2,\), expected \(3,\)"),
        (lambda t: t._replace(heads_valid=t.heads * np.nan), "heads_valid is not finite"),
        (lambda t: t._replace(even=np.nan), "even is not finite"),
        (lambda t: t._replace(category=t.category[0]), "expected \\(L, H\\)"),
        (lambda t: t._replace(category=np.full((2, 3), "other")), "'other' is not one of"),
        (lambda t: t._replace(scores=()), "at least one score"),
        (change_score(low=np.nan), "score 'log-mel': low is not finite"),
        (change_score(curve=np.ones((5, 3))), r"curve has shape \(5, 3\), expected \(any, 2\)"),
    ],
)
def test_broken_tables_are_named(change, message):
    table = make_table(2, 3)
    for draw in (segments.segmentation_heads, segments.precision_recall):
        with pytest.raises(InputError, match=message) as caught:
            draw([table, change(table)])
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="no table"):
            draw([])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"matrix": np.ones((4, 5))}, r"'attention of L3 H2': matrix has shape \(4, 5\)"),
        ({"matrix": np.zeros((0, 0))}, "0 cells"),
        ({"step": 0.0}, "of 0.0 s; expected > 0"),
        ({"overlap": np.ones(3)}, r"overlap has shape \(3,\), expected \(0,\)"),
        ({"predicted": np.array([np.nan])}, "predicted is not finite"),
    ],
)
def test_broken_panels_are_named(fields, message):
    example = make_example(1.0, 1)
    panel = example.panels[0]._replace(**fields)
    with pytest.raises(InputError, match=message) as caught:
        segments.segmentation_example(example._replace(panels=(panel,)), "toy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"panels": ()}, "0 panels"),
        ({"hop_seconds": 0.0}, "0.0 s per frame"),
        ({"spectrogram": np.ones(9)}, "spectrogram has shape"),
        ({"spectrogram": np.ones((0, 80))}, "is empty"),
        ({"audio": np.zeros(0, np.int16)}, "is empty"),
        ({"phones": [(0.2, 0.1, "ah")]}, "phone 'ah' ends at 0.1 s"),
    ],
)
def test_broken_examples_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        segments.segmentation_example(make_example(1.0, 1)._replace(**fields), "toy")


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
