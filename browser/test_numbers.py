"""What the page shows against the run's own traces and tables."""

import csv
import json

import numpy as np
import pytest
import soundfile
from explorer_pages import probs_of

from sat_jax.explorer.pack import RATIO, codes_of
from sat_jax.trace.store import load_sample

MAP = """async ([model, utterance, head]) => {
  const { mapOf, mapsOf, PROBS } = explorer;
  const map = await mapOf(mapsOf(model, utterance), head);
  return { side: map.side, factor: map.factor, codes: Array.from(map.codes),
           probs: Array.from(map.codes, (code) => PROBS[code]) };
}"""


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def shown_sample(run, page, end=""):
    """The exact maps of the utterance that figures show, which the page has first."""
    name = page.evaluate("explorer.page.utterances[0].id").replace("/", "_")
    return load_sample(run / "trace" / f"{name}{end}.npz")


def test_every_map_is_the_trace_within_one_grey_level(visit, explored):
    page = visit(explored / "explorer.html")
    maps = shown_sample(explored, page).maps.astype(np.float32)
    layers, heads, positions, _ = maps.shape
    for index in range(layers * heads):
        found = page.evaluate(MAP, [0, 0, index])
        assert found["side"] == positions and found["factor"] == 1
        exact = maps.reshape(-1, positions, positions)[index].reshape(-1)
        codes = np.array(found["codes"])
        assert np.abs(codes - codes_of(exact).astype(int)).max() <= 1
        probs = np.array(found["probs"])
        np.testing.assert_allclose(probs, probs_of(codes.astype(np.uint8)), rtol=1e-6)
        some = exact > 2e-5
        assert np.abs(np.log(probs[some] / exact[some])).max() <= 1.5 * np.log(RATIO)


def test_the_untrained_map_is_the_mean_over_its_pixels(visit, explored):
    page = visit(explored / "explorer.html")
    maps = shown_sample(explored, page, "_untrained").maps.astype(np.float32)
    found = page.evaluate(MAP, [1, 0, 3])
    factor, side = found["factor"], found["side"]
    probs = np.array(found["probs"]).reshape(side, side)
    exact = maps.reshape(-1, *maps.shape[-2:])[3]
    block = exact[factor : 2 * factor, :factor].mean()
    assert factor == 2 and abs(np.log(probs[1, 0] / block)) <= 1.5 * np.log(RATIO)


@pytest.mark.parametrize("query", [0, 7, 20])
def test_the_row_that_is_shown_and_its_strongest_keys(visit, explored, query):
    page = visit(explored / "explorer.html", f"#head=2.3&query={query}&key=5")
    sample = shown_sample(explored, page)
    row = sample.maps[1, 2, query].astype(np.float64)
    cells = page.locator(".keys tbody tr")
    keys = [int(cells.nth(i).get_attribute("data-key")) for i in range(cells.count())]
    shown = [
        float(each.locator("td").nth(1).inner_text().replace("\u2212", "-")) for each in cells.all()
    ]
    assert len(keys) == 5
    np.testing.assert_allclose(shown, row[keys], rtol=1.5 * (RATIO - 1), atol=6e-4)
    # Equal to the five largest, up to keys that a grey level does not tell apart.
    assert row[keys].min() >= np.sort(row)[-5] / RATIO**1.5
    pointed = page.locator(".pointed").inner_text().replace("\u2212", "-")
    assert abs(float(pointed.rsplit(":", 1)[1]) - row[5]) <= 0.05 * row[5] + 6e-4


def test_metrics_and_ranks_are_those_of_the_table(visit, explored):
    page = visit(explored / "explorer.html", "#head=2.1")
    table = next(
        r
        for r in rows_of(explored / "analysis" / "heads.csv")
        if (r["layer"], r["head"]) == ("2", "1")
    )
    for row in page.locator("tr[data-metric]").all():
        name = row.get_attribute("data-metric")
        if name.endswith("-cost"):  # of the ablate study
            continue
        mean, ends, rank = (row.locator("td").nth(i).inner_text() for i in range(3))
        numbers = [float(t.replace("\u2212", "-")) for t in (mean, *ends.split(" to "))]
        kept = [float(table[name + end]) for end in ("", "_low", "_high")]
        np.testing.assert_allclose(numbers, kept, atol=6e-4)
        if rank:
            assert rank.startswith(f"{int(float(table[f'rank_{name}']))} (")
    assert table["category"] in page.locator("#beside .kind").first.inner_text()


def test_every_number_of_the_saved_table_is_that_of_heads_csv(visit, explored, tmp_path):
    page = visit(explored / "explorer.html")
    with page.expect_download() as download:
        page.get_by_role("button", name="Metrics as CSV").click()
    download.value.save_as(tmp_path / "heads.csv")
    shown, kept = rows_of(tmp_path / "heads.csv"), rows_of(explored / "analysis" / "heads.csv")
    assert len(shown) == len(kept) == 8
    assert {name for name in shown[0] if name not in kept[0]} == {
        f"reconstruction-cost{end}" for end in ("", "_low", "_high")
    }
    for ours, theirs in zip(shown, kept, strict=True):
        assert ours["category"] == theirs["category"]
        for name, value in ours.items():
            if name in theirs and name != "category":
                assert float(value) == pytest.approx(float(theirs[name]), rel=2e-6), name


def test_a_relation_cell_says_what_the_phones_study_found(visit, explored):
    page = visit(explored / "explorer.html", "#head=1.2")
    with np.load(explored / "analysis" / "phone_maps.npz") as kept:
        relation, elsewhere = kept["relation"][0, 1], kept["elsewhere"][0, 1]
        phones = kept["phones"].tolist()
    row, column = np.argwhere(np.isfinite(relation) & np.isfinite(elsewhere))[5]
    for maps, box in ((relation, False), (elsewhere, True)):
        page.locator("#beside input[type=checkbox]").set_checked(box)
        canvas = page.locator("canvas.relation")
        canvas.focus()
        for key, times in (("ArrowDown", row), ("ArrowRight", column)):
            for _ in range(times):
                canvas.press(key)
        text = page.locator("#beside [aria-live=polite]").inner_text()
        assert text.startswith(f"{phones[row]} to {phones[column]}: {1 + maps[row, column]:.2f} ")


def test_boundaries_are_those_of_the_segments_study(visit, explored):
    page = visit(explored / "explorer.html")
    example = rows_of(explored / "figures" / "segmentation_example.csv")
    best = next(r["panel"] for r in example if r["panel"].startswith("similarity of the rows"))
    layer, head = (int(part[1:]) - 1 for part in best.split()[-2:])
    kept = [float(r["seconds"]) for r in example if r["panel"] == best]
    found = page.evaluate("([l, h]) => explorer.mapsOf(0, 0).boundaries[l][h]", [layer, head])
    assert len(kept) > 5
    np.testing.assert_allclose(found, kept, atol=1e-3)


def test_turns_and_values_of_pruning(visit, explored):
    page = visit(explored / "explorer.html", "#head=2.2")
    kept = json.loads((explored / "analysis" / "ablation_curves.json").read_text())
    for row in page.locator("tr[data-order]").all():
        order = row.get_attribute("data-order")
        turn = kept["orders"][order][1][1]
        cells = row.locator("td").all_inner_texts()
        assert cells[0] == f"{turn} of 8"
        for task, text in zip(kept["tasks"], cells[1:], strict=True):
            curve = next(c for c in task["curves"] if c["ordering"] == order)
            expected = np.interp(turn, curve["pruned"], curve["value"])
            assert float(text) == pytest.approx(expected, abs=0.06)


def test_the_sound_is_the_recording_to_the_sample_and_parts_begin_where_they_should(
    visit, explored
):
    page = visit(explored / "explorer.html")
    name = page.evaluate("explorer.page.utterances[0].id").replace("/", "_")
    audio, rate = soundfile.read(explored / "trace" / f"{name}.wav", dtype="int16")
    samples = page.evaluate(
        "async () => Array.from((await explorer.soundOf(explorer.page.utterances[0]))"
        ".getChannelData(0), (each) => Math.round(each * 32768))"
    )
    assert rate == 16_000 and (np.array(samples) == audio).all()
    part = page.evaluate(
        """async () => {
          const sound = await explorer.soundOf(explorer.page.utterances[0]);
          const context = new OfflineAudioContext(1, 16000, 16000);
          explorer.schedule(context, sound, 0.25, 0.75, 0.125);
          const heard = await context.startRendering();
          return Array.from(heard.getChannelData(0), (each) => Math.round(each * 32768));
        }"""
    )
    expected = np.zeros(16_000, int)
    expected[2_000:10_000] = audio[4_000:12_000]
    assert (np.array(part) == expected).all()


def test_the_moving_line_keeps_time(visit, explored):
    page = visit(explored / "explorer.html")
    told = page.evaluate(
        """() => new Promise((done, failed) => {
          const told = [];
          const play = document.querySelector("[data-control=play]");
          explorer.watch((seconds) => {
            if (seconds === null) return;
            told.push([performance.now() / 1000, seconds]);
            if (seconds < 0.9) return;
            play.click();
            done(told);
          });
          setTimeout(() => failed(new Error(`told ${told}`)), 20000);
          play.click();
        })"""
    )
    clock, seconds = np.array(told).T
    assert len(told) > 10
    # Sound begins when the browser has a device for it.
    began = np.flatnonzero(seconds)[0]
    moved = (seconds[-1] - seconds[began]) / (clock[-1] - clock[began])
    assert 0.9 < moved < 1.1 and seconds[0] < 0.1
