"""What the pixels of a map show: its colours, a threshold, a largest distance, a difference."""

import numpy as np
from explorer_pages import probs_of

from sat_jax.explorer.pack import RATIO, block_means

PIXELS = """() => {
  const canvas = document.querySelector("canvas.map");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return { size: canvas.width, data: Array.from(data) };
}"""
CODES = """async ([model, head]) => {
  const map = await explorer.mapOf(explorer.mapsOf(model, 0), head);
  return { side: map.side, codes: Array.from(map.codes) };
}"""


def cells(page):
    """Colours (T, T, 3) in the middle of each pixel of the map, and its probabilities (T, T)."""
    found, map_ = page.evaluate(PIXELS), page.evaluate(CODES, [0, 0])
    side = map_["side"]
    picture = np.array(found["data"]).reshape(found["size"], found["size"], 4)[..., :3]
    at = ((np.arange(side) + 0.5) * found["size"] / side).astype(int)
    codes = np.array(map_["codes"], np.uint8).reshape(side, side)
    return picture[np.ix_(at, at)], probs_of(codes)


def test_brighter_is_more_on_every_scale_but_the_diverging_one(visit, explored):
    for scale in ("log", "linear"):
        colours, probs = cells(visit(explored / "explorer.html", f"#head=1.1&scale={scale}"))
        order = np.argsort(probs, axis=None)
        light = colours.sum(-1).reshape(-1)[order]
        assert light[-1] > 500 > 150 > light[0]
        # The sequential colours grow lighter all along.
        assert (np.diff(light) >= -6).all()
    colours, probs = cells(visit(explored / "explorer.html", "#head=1.1&scale=uniform"))
    more, less = probs * len(probs) > 3, probs * len(probs) < 1 / 3
    assert (colours[more][:, 0] > colours[more][:, 2]).all()
    assert (colours[less][:, 2] > colours[less][:, 0]).all()


def test_what_is_under_the_threshold_is_blank_and_nothing_else(visit, explored):
    plain, probs = cells(visit(explored / "explorer.html", "#head=1.1"))
    hidden, _ = cells(visit(explored / "explorer.html", "#head=1.1&threshold=0.02"))
    below = probs < 0.02
    assert 0 < below.sum() < below.size
    assert len(np.unique(hidden[below], axis=0)) == 1
    assert (hidden[~below] == plain[~below]).all()


def test_what_is_further_than_the_largest_distance_is_dimmed(visit, explored):
    plain, probs = cells(visit(explored / "explorer.html", "#head=1.1"))
    dimmed, _ = cells(visit(explored / "explorer.html", "#head=1.1&span=3"))
    place = np.arange(len(probs))
    far = np.abs(place[:, None] - place) > 3
    assert (dimmed[~far] == plain[~far]).all()
    assert (np.abs(dimmed[far] - plain[far]).sum(-1) > 20).all()


def test_a_difference_is_of_means_over_pixels_that_both_maps_have(visit, explored):
    page = visit(explored / "explorer.html", "#head=1.1&minus=untrained")
    found = page.evaluate(
        """async () => {
          const [a, b] = await Promise.all(
            [0, 1].map((m) => explorer.mapOf(explorer.mapsOf(m, 0), 0)));
          const { values, side, factor } = explorer.difference(a, b);
          return { values: Array.from(values), side, factor };
        }"""
    )
    ours, control = (page.evaluate(CODES, [model, 0]) for model in (0, 1))
    probs = [
        probs_of(np.array(each["codes"], np.uint8)).reshape(each["side"], each["side"])
        for each in (ours, control)
    ]
    assert found["factor"] == 2
    expected = block_means(probs[0], 2) - probs[1]
    values = np.array(found["values"]).reshape(expected.shape)
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert np.abs(values).max() > RATIO - 1
    assert page.locator(".panel").count() == 1
