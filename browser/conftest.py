"""Chromium, and the pages that it opens: of a run that was trained, and of made-up models."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "browser")]

TOLD = ("error", "warning")
AXE = ROOT / "browser" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


def chromium():
    """The browser that is installed."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise pytest.UsageError("no Chromium: install one (Debian: apt-get install chromium)")


def pytest_configure():
    """Say so once and before there are workers, whose words xdist does not pass on."""
    chromium()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Open a file at a size; fails afterwards where the page complained or asked for anything."""
    complaints = []
    contexts = []

    def open_file(path, address="", width=1400, height=1000, **more):
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((Path(path).as_uri(), "blob:", "data:"))
                else complaints.append(f"request {request.url}")
            ),
        )
        page.goto(Path(path).as_uri() + address)
        # The page's policy forbids what wait_for_function does.
        page.wait_for_selector("body[data-overview][data-drawn]")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture(scope="session")
def explored(tmp_path_factory):
    """A small run with its explorer and all the tables that the page is compared with."""
    from scripts import ENVIRONMENT, train_once

    run = train_once(tmp_path_factory.mktemp("run")).path
    studies = ("heads", "phones", "segments", "ablate", "explorer")
    few = {"preset": "coarse", "train-utterances": 8, "mlp-utterances": 8}
    few |= {"mlp-steps": 4, "probe-steps": 4}
    options = [each for name, value in few.items() for each in (f"--ablate.{name}", str(value))]
    command = ["analyze.py", str(run), "--split", "all", "--only", *studies, *options]
    # The same utterance in every figure, which the page has first.
    more = ("--utterance", "talker001_000", "--explorer.utterances", "4", "--draws", "50")
    result = subprocess.run(
        [sys.executable, *command, *more], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return run


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """144 heads on four utterances of 10 s and one of 30 s at 33 positions a second."""
    from made_up import made_up_page

    path = tmp_path_factory.mktemp("large") / "explorer.html"
    page, fitted = made_up_page(12, 12, (10, 10, 10, 10, 30), megabytes=60)
    path.write_bytes(page)
    assert fitted.utterances == 5
    return path


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """Ids, speakers, phones and models that are named as HTML."""
    from made_up import made_up_page

    path = tmp_path_factory.mktemp("hostile") / "explorer.html"
    name = "</script><img src=x onerror=alert(1)><b>&amp;"
    path.write_bytes(made_up_page(2, 2, (1, 1), name=name)[0])
    return path
