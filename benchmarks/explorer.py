"""Pages of attention maps in, how fast a browser opens and moves them out.

python benchmarks/explorer.py runs/toy/explorer.html     (and a made-up page of 144 heads)

Opens each page anew several times, then points along its map and goes from head to head, and prints
medians. Needs requirements-browser.txt and Chromium.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "browser")]

FRAMES = """async ([count, act]) => {
  const step = new Function("i", act);
  const times = [];
  let before = await new Promise(requestAnimationFrame);
  for (let i = 0; i < count; i++) {
    step(i);
    const now = await new Promise(requestAnimationFrame);
    times.push(now - before);
    before = now;
  }
  return times;
}"""
HOVER = """
  const canvas = document.querySelector("canvas.map");
  const box = canvas.getBoundingClientRect();
  canvas.dispatchEvent(new PointerEvent("pointermove", {
    clientX: box.left + (0.2 + 0.005 * i) * box.width,
    clientY: box.top + (0.9 - 0.006 * i) * box.height, bubbles: true }));
"""
SWITCH = """
  const all = document.querySelectorAll(".grid .thumb");
  all[(7 * i) % all.length].click();
"""


def main() -> None:
    """Print one line per page."""
    from conftest import FLAGS, chromium
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, help="explorer.html files")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        pages = [(str(path), path.resolve()) for path in arguments.pages]
        pages.append(("144 heads, 4 x 10 s", made_up(Path(directory), (10,) * 4, 45)))
        pages.append(("144 heads, 4 x 10 s, 30 s", made_up(Path(directory), (10,) * 4 + (30,), 60)))
        # The policy of the page forbids code from text, which the measuring needs.
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        print(
            f"{'page':34} {'MB':>6} {'overview s':>11} {'drawn s':>8} {'hover/s':>8} {'heads/s':>8}"
        )
        for name, path in pages:
            found = [measure(browser, path) for _ in range(arguments.repeats)]
            opened, drawn, hover, switch = (
                statistics.median(each) for each in zip(*found, strict=True)
            )
            size = path.stat().st_size / 1e6
            times = f"{opened:11.2f} {drawn:8.2f} {hover:8.0f} {switch:8.0f}"
            print(f"{name[-34:]:34} {size:6.1f} {times}")
        browser.close()


def made_up(directory: Path, lengths: tuple[int, ...], megabytes: float) -> Path:
    """A page of 12 x 12 heads on utterances of so many seconds."""
    from made_up import made_up_page

    path = directory / f"{len(lengths)}.html"
    began = time.perf_counter()
    page, fitted = made_up_page(12, 12, lengths, megabytes=megabytes)
    path.write_bytes(page)
    notes = " ".join(fitted.notes)
    print(f"made {path.name} in {time.perf_counter() - began:.1f} s: {notes}", file=sys.stderr)
    return path


def measure(browser, path: Path) -> tuple[float, float, float, float]:
    """Seconds to the overview and to the first map; frames a second of pointing, of going on."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, bypass_csp=True)
    page = context.new_page()
    began = time.perf_counter()
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("body[data-overview]")
    opened = time.perf_counter() - began
    page.wait_for_selector("body[data-drawn]")
    drawn = time.perf_counter() - began
    rates = []
    for act, count in ((HOVER, 120), (SWITCH, 60)):
        times = page.evaluate(FRAMES, [count, act])
        rates.append(1000 / statistics.median(times))
    context.close()
    return opened, drawn, *rates


if __name__ == "__main__":
    main()
