"""What a reader does with the page: mouse, keyboard, links, files; what it must never do."""

import csv
import io
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import AXE


def state_of(page):
    return json.loads(page.evaluate("JSON.stringify(explorer.state)"))


def heads_of(page):
    return [f"{p['layer'] + 1}.{p['head'] + 1}" for p in state_of(page)["places"]]


def test_a_click_draws_a_head_and_shift_adds_another(visit, explored):
    page = visit(explored / "explorer.html")
    page.locator("[data-head='L2 H3']").click()
    assert heads_of(page) == ["2.3"] and page.locator(".panel").count() == 1
    page.locator("[data-head='L1 H4']").click(modifiers=["Shift"])
    assert heads_of(page) == ["2.3", "1.4"] and page.locator(".panel").count() == 2
    assert page.locator(".thumb[aria-pressed=true]").count() == 2
    page.get_by_role("button", name="Close").first.click()
    assert heads_of(page) == ["1.4"]


def test_pointing_at_the_map_names_query_and_key(visit, explored):
    page = visit(explored / "explorer.html")
    box = page.locator("canvas.map").bounding_box()
    positions = page.evaluate("explorer.page.maps[0].positions")
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
    state = state_of(page)
    assert abs(state["key"] - 0.25 * positions) <= 1 and abs(state["query"] - 0.75 * positions) <= 1
    assert page.locator(".pointed").inner_text().startswith("query ")


def test_the_wheel_zooms_and_a_drag_moves(visit, explored):
    page = visit(explored / "explorer.html")
    box = page.locator("canvas.map").bounding_box()
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*centre)
    for _ in range(4):
        page.mouse.wheel(0, -100)
    t0, t1, s0, s1 = state_of(page)["view"]
    whole = page.evaluate("explorer.page.utterances[0].seconds")
    assert t1 - t0 < 0.6 * whole and abs((t1 - t0) - (s1 - s0)) < 1e-6
    page.mouse.down()
    page.mouse.move(centre[0] + 40, centre[1])
    page.mouse.up()
    moved = state_of(page)["view"]
    assert moved[2] < s0 and abs(moved[0] - t0) < 1e-6
    page.get_by_role("button", name="Whole map").click()
    assert state_of(page)["view"] is None


def test_a_box_in_the_scatter_plot_leaves_its_heads(visit, explored):
    page = visit(explored / "explorer.html")
    box = page.locator(".scatter svg").bounding_box()
    page.mouse.move(box["x"] + 0.12 * box["width"], box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.86 * box["height"])
    page.mouse.up()
    state = state_of(page)
    x0, x1, y0, y1 = state["brush"]
    model = page.evaluate("explorer.page.models[0]")
    values = [next(m["values"] for m in model["metrics"] if m["name"] == n) for n in state["axes"]]
    inside = {
        f"L{layer + 1} H{head + 1}"
        for layer in range(2)
        for head in range(4)
        if x0 <= values[0][layer][head] <= x1 and y0 <= values[1][layer][head] <= y1
    }
    shown = page.locator(".grid .thumb").evaluate_all("all => all.map((e) => e.dataset.head)")
    assert set(shown) == inside and 0 < len(shown) < 8
    page.get_by_role("button", name="Show all").click()
    assert page.locator(".grid .thumb").count() == 8


def test_heads_are_sorted_by_a_metric_and_by_their_turn(visit, explored):
    page = visit(explored / "explorer.html")
    model = page.evaluate("explorer.page.models[0]")
    for sort, table in (
        ("globalness", model["metrics"][0]["values"]),
        ("pruned by weight", model["ablation"]["orders"]["weight"]),
    ):
        page.locator("[data-control=sort]").select_option(sort)
        shown = page.locator(".grid .thumb").evaluate_all("all => all.map((e) => e.dataset.head)")
        at = [tuple(int(part[1:]) - 1 for part in name.split()) for name in shown]
        values = [table[layer][head] for layer, head in at]
        assert values == sorted(values)


ADDRESSES = (
    "#head=2.3&utterance={id}&scale=linear&threshold=0.01&span=5&minus=untrained&boundaries=1"
    "&query=3&key=4&sort=-globalness&category=global+diagonal&layer=1+2",
    "#head=1.1+untrained%3A2.2&utterance={id}&view=0.1+0.5+0.2+0.6",
    "#head=1.2&utterance={id}&model=untrained&axes=weight+globalness&brush=0+1+-2+3",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_link_shows_the_same_again(visit, explored, address):
    page = visit(explored / "explorer.html")
    address = address.format(id=page.evaluate("explorer.page.utterances[1].id"))
    page = visit(explored / "explorer.html", address)
    written = page.evaluate("explorer.addressOf(explorer.state)")
    assert parse_qs(written) == parse_qs(address[1:])
    page.locator("canvas.map").first.focus()
    page.keyboard.press("ArrowDown")
    written = page.evaluate("explorer.addressOf(explorer.state)")
    # The address follows when the keys rest.
    page.wait_for_url(lambda url: urlsplit(url).fragment == written)
    again = visit(explored / "explorer.html", f"#{written}")
    assert state_of(again) == state_of(page)


def test_a_link_to_what_is_not_there_shows_the_beginning(visit, explored):
    page = visit(explored / "explorer.html", "#head=99.1&utterance=none&scale=x&view=a+b&query=-1")
    assert heads_of(page) == ["1.1"] and state_of(page)["view"] is None


def test_the_keyboard_alone_does_everything(visit, explored):
    page = visit(explored / "explorer.html")
    seen = []
    for _ in range(120):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(e => e.dataset.control || e.dataset.head || e.className || e.tagName)"
                "(document.activeElement)"
            )
        )
        if len(seen) > 5 and seen[-1] == "BODY":
            break
    wanted = {"utterance", "model", "sort", "order", "play", "scale", "minus", "threshold", "span"}
    wanted |= {"PNG", "SVG", "CSV", "in", "out", "whole", "metrics", "axis0", "range0", "L1 H1"}
    assert not wanted - set(seen)
    assert {"map", "relation"} <= set(seen)
    page.locator("[data-head='L1 H1']").focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert heads_of(page) == ["2.2"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+Enter")
    assert heads_of(page) == ["2.2", "2.1"]
    page.locator("canvas.map").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "+", "+"):
        page.keyboard.press(key)
    state = state_of(page)
    assert state["query"] is not None and state["view"] is not None
    assert "query" in page.locator("#spoken").inner_text()
    page.keyboard.press("0")
    page.keyboard.press("]")
    page.keyboard.press("m")
    state = state_of(page)
    assert (state["view"], state["utterance"], state["model"]) == (None, 1, 1)


def test_focus_can_be_seen(visit, explored):
    page = visit(explored / "explorer.html")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(width.removesuffix("px")) >= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, explored, scheme):
    address = "#head=1.1+2.2&query=4&key=5&boundaries=1"
    page = visit(explored / "explorer.html", address, color_scheme=scheme)
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    serious = [
        (each["id"], [node["html"][:200] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert not serious


@pytest.mark.parametrize("width", [420, 1000, 1400])
def test_nothing_is_wider_than_the_window(visit, explored, width):
    page = visit(explored / "explorer.html", width=width, height=900)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_that_are_html_are_text(visit, hostile):
    page = visit(hostile)
    assert page.locator("img").count() == 0
    assert "<img src=x onerror=alert(1)>" in page.locator("h1").inner_text()
    assert "onerror" in page.locator("#bar option").first.inner_text()
    page.locator("canvas.map").focus()
    page.keyboard.press("ArrowDown")
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG").click()
    text = download.value.path().read_text(encoding="utf-8")
    assert "<img" not in text and "&lt;img" in text


def test_nothing_leaves_the_page(browser, explored):
    context = browser.new_context()
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((explored / "explorer.html").as_uri())
    page.wait_for_selector("body[data-drawn]")
    outcome = page.evaluate("fetch('https://example.com/').then(() => 'sent', () => 'refused')")
    assert outcome == "refused"
    assert [url for url in asked if url.startswith("http")] in ([], ["https://example.com/"])
    context.close()


def test_saved_numbers_are_those_of_the_map(visit, explored):
    page = visit(explored / "explorer.html", "#head=1.3&view=0.1+0.3+0.2+0.5")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    text = download.value.path().read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    codes = page.evaluate(
        "async () => { const m = explorer.mapsOf(0, 0); const map = await explorer.mapOf(m, 2);"
        "return { side: map.side, probs: Array.from(map.codes, (c) => explorer.PROBS[c]) }; }"
    )
    model = page.evaluate("({...explorer.page.models[0], metrics: null})")
    assert rows and rows[0]["layer"] == "1" and rows[0]["head"] == "3"
    for row in rows[:: max(1, len(rows) // 20)]:
        query, key = (
            round((float(row[n]) - model["start"]) / model["seconds"])
            for n in ("query_seconds", "key_seconds")
        )
        assert float(row["attention"]) == pytest.approx(
            codes["probs"][query * codes["side"] + key], rel=1e-3
        )


@pytest.mark.parametrize(("kind", "magic"), [("PNG", b"\x89PNG"), ("SVG", b"<svg ")])
def test_a_picture_is_saved(visit, explored, kind, magic):
    page = visit(explored / "explorer.html", "#head=1.3+2.2")
    with page.expect_download() as download:
        page.get_by_role("button", name=kind, exact=True).click()
    content = download.value.path().read_bytes()
    assert content.startswith(magic) and len(content) > 20_000
    assert download.value.suggested_filename.endswith(kind.lower())


def test_a_large_page_is_whole(visit, large):
    page = visit(large)
    assert page.locator(".grid .thumb").count() == 144
    assert page.evaluate(
        "explorer.page.maps.filter((m) => m.model === 0).map((m) => m.positions)"
    ) == [
        333,
        333,
        333,
        333,
        1000,
    ]
    page.locator("[data-control=utterance]").select_option("4")
    page.locator("[data-head='L12 H12']").click()
    page.wait_for_selector("body[data-drawn='L12 H12 4']")
    side = page.evaluate("async () => (await explorer.mapOf(explorer.mapsOf(0, 4), 143)).side")
    assert side >= 64
