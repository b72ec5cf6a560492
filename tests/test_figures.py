"""Figures and report on synthetic heads: nothing clipped, overlapping, mislabelled or external."""

import subprocess
import sys
from itertools import combinations, pairwise

import matplotlib
import numpy as np
import pytest
from head_figures import METRICS, make_example, make_table
from legible import assert_legible
from matplotlib.colors import to_hex

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.figures import heads, labels, maps, style, utterance
from sat_jax.records.check import CATEGORIES


@pytest.fixture(scope="module")
def toy():
    example = make_example(6, 8, 110)
    return example, make_table(example), make_table(make_example(6, 8, 110, seed=1), "untrained")


@pytest.mark.parametrize(
    ("draw", "size"),
    [
        (maps.gallery, (6, 8, 110, True)),
        (maps.gallery, (2, 3, 400, True)),
        (maps.all_heads, (6, 8, 20, True)),
        (maps.all_heads, (2, 3, 400, True)),
        (maps.all_heads, (12, 12, 60, False)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_map_figures_are_legible(draw, size, monkeypatch):
    layers, n, positions, phones = size
    example = make_example(layers, n, positions, phones=phones)
    texts = assert_legible(draw(example, make_table(example)), monkeypatch)
    assert ("sil" in texts) == phones
    assert "key time (s)" in texts
    assert "query time (s)" in texts
    assert "toy (step 2500), utterance spk07_$31$" in texts


def test_head_figures_of_two_models_are_legible(toy, monkeypatch):
    tables = [toy[1], toy[2]._replace(name="untrained " * 20)]
    texts = assert_legible(heads.head_scatter(tables), monkeypatch)
    assert "globalness G (nats)" in texts
    assert "diagonality D (share of T)" in texts
    assert any(text.startswith("untrained") and "… (64 utterances)" in text for text in texts)
    assert_legible(heads.head_distribution(tables), monkeypatch)


def test_head_figures_of_one_large_model_are_legible(monkeypatch):
    table = make_table(make_example(12, 12, 60), noise=1.0)
    figure = heads.head_scatter([table])
    assert figure.get_figwidth() == style.COLUMN
    assert_legible(figure, monkeypatch)
    texts = assert_legible(heads.rank_intervals(table), monkeypatch)
    names = {f"{layer + 1}-{head + 1}" for layer, head in np.ndindex(12, 12)}
    assert all(texts.count(name) == 4 for name in names)


def test_models_share_the_limits_of_every_axis(toy):
    lower = toy[2]._replace(low={name: values - 1 for name, values in toy[2].low.items()})
    higher = toy[1]._replace(high={name: values + 1 for name, values in toy[1].high.items()})
    for figure in (heads.head_scatter([lower, higher]), heads.head_distribution([lower, higher])):
        half = len(figure.axes) // 2
        columns = {round(axes.get_position().x0, 3) for axes in figure.axes}
        assert len(columns) == 2
        ordered = sorted(
            figure.axes, key=lambda a: (round(a.get_position().x0, 3), -a.get_position().y0)
        )
        for left, right in zip(ordered[:half], ordered[half:], strict=True):
            assert left.get_xlim() == right.get_xlim()
            assert left.get_ylim() == right.get_ylim()
            for table in (lower, higher):
                for name, (low, high) in limits_by_label(left).items():
                    assert low < table.low[name].min()
                    assert table.high[name].max() < high


def limits_by_label(axes):
    """Limits of the axes that are labelled with one of the three metrics."""
    words = {axes.get_xlabel(): axes.get_xlim(), axes.get_ylabel(): axes.get_ylim()}
    first = {word.partition(" ")[0]: span for word, span in words.items()}
    return {name: first[name] for name in METRICS if name in first}


def test_scatter_shows_every_head_once_per_panel_in_the_colour_of_its_category(toy):
    table = toy[1]
    for axes in heads.head_scatter([table]).axes:
        x, y = (axes.get_xlabel().split()[0], axes.get_ylabel().split()[0])
        seen = 0
        for points in axes.collections:
            if not hasattr(points, "get_sizes") or not len(points.get_sizes()):
                continue
            for place in np.asarray(points.get_offsets()):
                near = abs(table.metrics[x] - place[0]) + abs(table.metrics[y] - place[1])
                kind = table.category.flat[near.argmin()]
                assert to_hex(points.get_edgecolor()[0]) == style.COLOURS[kind].lower()
                seen += 1
        assert seen == 48


def test_distribution_counts_the_categories_of_each_layer(toy):
    bars = heads.head_distribution([toy[1]]).axes[0].containers
    below = np.zeros(6)
    for name, container in zip(CATEGORIES, bars, strict=True):
        assert [bar.get_y() for bar in container] == below.tolist()
        below += (toy[1].category == name).sum(axis=1)
        assert [bar.get_height() for bar in container] == (toy[1].category == name).sum(
            axis=1
        ).tolist()
        assert {to_hex(bar.get_facecolor()) for bar in container} == {style.COLOURS[name].lower()}


def test_all_heads_frames_carry_the_category_and_maps_stay_in_place(toy):
    example, table, _ = toy
    grid = maps.all_heads(example, table).axes[2]
    assert len(grid.images) == len(grid.patches) == 48
    for index, (image, frame) in enumerate(zip(grid.images, grid.patches, strict=True)):
        layer, head = divmod(index, 8)
        assert to_hex(frame.get_edgecolor()) == style.COLOURS[table.category[layer, head]].lower()
        left, _, _, top = image.get_extent()
        assert np.allclose((left, top), (frame.get_x(), frame.get_y()))
        assert np.isclose(left, head * grid.images[1].get_extent()[0])
        size = image.get_array().shape[0]
        assert 100 <= size <= 110
        density = maps.block_means(example.maps[layer, head], size) * 110
        assert np.allclose(image.get_array(), np.maximum(density, 0.1))


def test_gallery_shows_the_top_heads_of_each_metric_in_seconds(toy):
    example, table, _ = toy
    figure = maps.gallery(example, table, top=3)
    panels = [axes for axes in figure.axes if axes.get_title()]
    for row, metric in enumerate(METRICS):
        order = np.argsort(-table.metrics[metric].ravel())[:3]
        for axes, index in zip(panels[3 * row :], order, strict=False):
            layer, head = divmod(int(index), 8)
            assert axes.get_title().startswith(f"L{layer + 1} H{head + 1}, {metric[0].upper()} = ")
            value = float(axes.get_title().split("= ")[1].replace("\N{MINUS SIGN}", "-"))
            assert value == pytest.approx(table.metrics[metric].flat[index], abs=0.0051)
            frame = {to_hex(spine.get_edgecolor()) for spine in axes.spines.values()}
            assert frame == {style.COLOURS[table.category[layer, head]].lower()}
            # Positions are 30 ms; the first is centred at 22.5 ms.
            assert np.allclose(axes.get_xlim(), (0.0075, 0.0075 + 110 * 0.03))
            assert np.allclose(axes.get_ylim(), axes.get_xlim()[::-1])
            shown = axes.images[0].get_array()
            assert np.allclose(shown, np.maximum(example.maps[layer, head] * 110, 0.1))


def test_spectrogram_lies_on_the_time_axis_of_the_maps(toy):
    mel = maps.gallery(toy[0], toy[1]).axes[1]
    # 331 frames of 10 ms: 330 under the 110 positions of 30 ms and one beyond.
    assert np.allclose(mel.images[0].get_extent()[:2], (0.0075, 0.0075 + 3.31))
    assert np.allclose(mel.get_xlim(), (0.0075, 0.0075 + 3.3))


@pytest.mark.parametrize(("size", "cells"), [(12, 4), (13, 5), (400, 97)])
def test_block_means_keep_constants_and_match_a_loop(size, cells):
    values = np.random.default_rng(0).random((size, size))
    edges = [round(i * size / cells) for i in range(cells + 1)]
    spans = [slice(a, b) for a, b in pairwise(edges)]
    loop = [[values[rows, columns].mean() for columns in spans] for rows in spans]
    assert np.allclose(maps.block_means(values, cells), loop)
    assert np.allclose(maps.block_means(np.ones_like(values), cells), 1)
    assert maps.block_means(values, size) is values


def test_names_of_points_touch_nothing_and_crowded_points_stay_unnamed():
    points = np.vstack([[[0.2, 0.5], [2.8, 1.5]], np.full((40, 2), 1.5)])
    sizes = np.full(points.shape, (0.2, 0.06))
    obstacles = np.hstack([points - 0.02, points + 0.02])
    centres = labels.label_centres(points, sizes, obstacles, (3.0, 2.0))
    named = np.isfinite(centres).all(axis=1)
    assert named[:2].all()
    assert 1 <= named[2:].sum() <= 8
    boxes = np.vstack([np.hstack([centres - sizes / 2, centres + sizes / 2])[named], obstacles])
    for a, b in combinations(range(len(boxes)), 2):
        if a < named.sum():
            apart = (boxes[a, :2] >= boxes[b, 2:]) | (boxes[b, :2] >= boxes[a, 2:])
            assert apart.any()


def test_round_times_are_round_and_fit():
    assert utterance.round_times(0.0, 3.3, 1.0, 0.3).tolist() == [0, 1, 2, 3]
    assert np.allclose(utterance.round_times(0.01, 0.62, 0.5, 0.3), [0.5])
    assert len(utterance.round_times(0.0, 3600.0, 6.0)) <= 21


def test_categories_differ_for_every_kind_of_colour_vision():
    to_cones = np.array(
        [[0.31399, 0.63951, 0.04650], [0.15537, 0.75789, 0.08670], [0.01775, 0.10944, 0.87257]]
    )
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    lost = {
        "none": np.eye(3),
        "protanopia": [[0, 1.05118, -0.05116], [0, 1, 0], [0, 0, 1]],
        "deuteranopia": [[1, 0, 0], [0.95131, 0, 0.04867], [0, 0, 1]],
        "tritanopia": [[1, 0, 0], [0, 1, 0], [-0.86745, 1.86727, 0]],
    }
    for matrix in lost.values():
        points = []
        for name in CATEGORIES:
            rgb = np.array(matplotlib.colors.to_rgb(style.COLOURS[name]))
            linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
            seen = np.linalg.inv(to_cones) @ np.array(matrix) @ to_cones @ linear
            f = np.cbrt(to_xyz @ seen.clip(1e-3, 1) / to_xyz.sum(axis=1))
            points.append(np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]))
        assert min(np.linalg.norm(a - b) for a, b in combinations(points, 2)) > 30
        assert (
            min(abs(a[0] - b[0]) for a, b in combinations(points, 2)) > 9
            or matrix is not lost["none"]
        )


def test_saving_twice_gives_the_same_bytes_and_embedded_truetype(tmp_path):
    small = make_example(2, 3, 20)
    for number in range(2):
        paths = style.save(maps.all_heads(small, make_table(small)), tmp_path / str(number), "maps")
        assert [path.name for path in paths] == ["maps.png", "maps.pdf"]
    written = sorted(path.name for path in (tmp_path / "0").iterdir())
    assert written == ["maps.pdf", "maps.png"]
    for name in written:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
    pdf = (tmp_path / "0" / "maps.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    png = (tmp_path / "0" / "maps.png").read_bytes()
    assert int.from_bytes(png[16:20], "big") == 1440


def test_unwritable_directory_is_one_line_and_leaves_nothing(toy, tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match=r"scatter\.png: cannot be written") as caught:
        style.save(heads.head_scatter([toy[1]]), tmp_path / "file", "scatter")
    assert "\n" not in str(caught.value)
    (tmp_path / "taken.pdf").mkdir()
    with pytest.raises(InputError):
        files.write_whole(tmp_path / "taken.pdf", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken.pdf"]


def test_figures_leave_rc_parameters_and_pyplot_alone():
    code = (
        "import sys, matplotlib\n"
        "before = {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "import sat_jax.figures.report, sat_jax.figures.maps, sat_jax.figures.heads\n"
        "with sat_jax.figures.style.applied(): pass\n"
        "assert all(matplotlib.rcParams[key] == value for key, value in before.items())\n"
        "bad = {'matplotlib.pyplot', 'jax', 'flax', 'scipy'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def broken(group, key, at, value):
    return lambda table: table._replace(
        **{group: {**getattr(table, group), key: np.where(at, value, getattr(table, group)[key])}}
    )


FIRST = np.arange(48).reshape(6, 8) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            broken("metrics", "globalness", FIRST, np.nan),
            r"metrics\[globalness\] is not finite at L2 H3",
        ),
        (broken("high", "weight", FIRST, np.inf), r"high\[weight\] is not finite at L2 H3"),
        (
            lambda t: t._replace(category=np.where(FIRST, "none", t.category)),
            "'none' is not one of",
        ),
        (lambda t: t._replace(low={}), r"low\[globalness\] has shape \(0,\)"),
        (lambda t: t._replace(ranks={}), "globalness is missing"),
        (lambda t: t._replace(category_share=np.ones(48)), "category_share"),
    ],
)
def test_broken_tables_are_named(toy, change, message):
    with pytest.raises(InputError, match=message) as caught:
        heads.head_scatter([toy[1], change(toy[1])])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": np.ones((6, 8, 110, 110))}, "do not sum to 1"),
        ({"maps": np.full((6, 8, 110, 110), np.nan)}, "do not sum to 1"),
        ({"maps": np.ones((6, 7, 1, 1))}, r"of \(6, 7\) heads"),
        ({"maps": np.ones((6, 8, 2, 1))}, r"expected \(L, H, T, T\)"),
        ({"spectrogram": np.ones((109, 80))}, "at least 110 frames"),
        ({"audio": np.zeros(0, np.int16)}, "audio has shape"),
        ({"phones": [(0.2, 0.1, "ah")]}, "phone 'ah' ends at 0.1 s"),
        ({"seconds_per_position": 0.0}, "seconds_per_position is 0.0"),
    ],
)
def test_broken_examples_are_named(toy, change, message):
    for draw in (maps.gallery, maps.all_heads):
        with pytest.raises(InputError, match=message):
            draw(toy[0]._replace(**change), toy[1])


def test_no_tables_and_no_heads_are_refused(toy):
    with pytest.raises(InputError, match="no table"):
        heads.head_distribution([])
    with pytest.raises(InputError, match="top is 0"):
        maps.gallery(toy[0], toy[1], top=0)
