"""Segmentation figures on synthetic records: right values at right places, all legible."""

import numpy as np
import pytest
from legible import assert_legible
from matplotlib.colors import to_hex
from segment_tables import LONG, make_example, make_table

from sat_jax.errors import InputError
from sat_jax.figures import segment_example, segments, style
from sat_jax.records import boundaries
from sat_jax.records.check import CATEGORIES


@pytest.mark.parametrize(
    ("seconds", "panels", "predicted"),
    [(1.5, 1, True), (1.5, 2, True), (2.0, 3, False), (2.0, 4, True), (15.0, 3, True)],
)
def test_example_is_legible(seconds, panels, predicted, monkeypatch):
    example = make_example(seconds, panels, predicted)
    texts = assert_legible(
        segment_example.segmentation_example(example, "toy (step 2500)"), monkeypatch
    )
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


def test_matrices_are_drawn_as_density_and_as_similarity_in_seconds():
    example = make_example(1.5)
    figure = segment_example.segmentation_example(example, "toy")
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
    figure = segment_example.segmentation_example(example, "toy")
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
        segment_example.segmentation_example(example._replace(panels=(panel,)), "toy")
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
        segment_example.segmentation_example(make_example(1.0, 1)._replace(**fields), "toy")
