"""The report: one page that needs nothing else, and is written whole or not at all."""

import base64
import io
import re
import wave
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from sat_jax import files
from sat_jax.errors import InputError
from sat_jax.figures import heads, report, style
from sat_jax.study.page import manifest_of, write_page
from sat_jax.study.sections import keep_sections, kept_sections
from sat_jax.trace.store import save_sound

ROWS = [
    {"layer": 1, "head": 1, "category": "global", "r": 0.25, "r_low": -0.5, "r_high": 1.0},
    {"layer": 1, "head": 2, "category": "diagonal", "r": -3.5, "r_low": -4.0, "r_high": -3.0},
]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "toy & co"
    png, _ = style.save(Figure(figsize=(1, 1)), run / "figures", "dist #1")
    files.write_table(run / "figures" / "dist #1.csv", ROWS)
    sound = np.random.default_rng(0).integers(-999, 999, 1600).astype(np.int16)
    sections = [
        report.Section("Metrics <G>", heads.HEAD_METRICS + "\n\n{{body}} stays\n\n    if a <b> c"),
        report.Section(
            "Distribution",
            heads.HEAD_CATEGORIES,
            [report.Picture(png, heads.HEAD_DISTRIBUTION, 'heads "by" layer')],
            [report.Clip("utterance", save_sound(run / "trace" / "one.wav", sound))],
            [report.Table("All <heads>.", files.write_table(run / "heads.csv", ROWS))],
            [("CSV", run / "heads.csv")],
        ),
    ]
    manifest = {
        "command": "analyze.py '<script>alert(1)</script>'",
        "devices": {"cpu": 2},
        "seed": 3,
    }
    path = report.write_report(run / "report.html", "Heads of <toy>", sections, manifest)
    return path, png, sections, sound


def test_report_needs_nothing_but_itself(written):
    path, png, *_ = written
    text = path.read_text()
    page = Page(text)
    sources = [attrs["src"] for _, attrs in page.tags if "src" in attrs]
    assert len(sources) == 1
    assert all(source.startswith("data:") for source in sources)
    assert not page.all("link")
    assert "@import" not in text
    assert "url(" not in text
    assert not any("srcset" in attrs for _, attrs in page.tags)
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    for link in page.all("a"):
        assert ":" not in link["href"]
        assert not link["href"].startswith("/")
        if link["href"].startswith("#"):
            assert link["href"][1:] in ids
    assert {a["href"] for a in page.all("a") if a["href"][0] != "#"} == {
        "figures/dist%20%231.pdf",
        "figures/dist%20%231.csv",
        "heads.csv",
    }
    images = page.all("img")
    assert [image["alt"] for image in images] == ['heads "by" layer']
    pixels = re.search(rf'id="{images[0]["data-png"]}">([^<]*)<', text).group(1)
    assert base64.b64decode(pixels) == png.read_bytes()
    assert any("viewport" in meta.values() for meta in page.all("meta"))
    assert "prefers-color-scheme: dark" in text


def test_report_plays_the_utterance(written):
    data = Page(written[0].read_text()).all("audio")[0]["src"].split(",")[1]
    with wave.open(io.BytesIO(base64.b64decode(data))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert file.readframes(file.getnframes()) == written[3].tobytes()


def test_report_escapes_what_others_wrote(written):
    page = Page(written[0].read_text())
    assert [script.get("type") for script in page.all("script")] == ["text/plain", None]
    text = "".join(page.text)
    for shown in ("Heads of <toy>", "Metrics <G>", "<script>alert(1)</script>", "All <heads>."):
        assert shown in text
    assert "{{body}} stays" in text
    assert "E[ -(1/T²) Σ_q Σ_k |q-k| A[q,k] ]" in text
    assert "if a <b> c" in text
    assert "exist by construction" in text


def test_tables_sort_by_numbers_and_show_intervals_beside_their_value(written):
    page = Page(written[0].read_text())
    assert len(page.all("th")) == 4
    values = np.array([cell["data-value"] for cell in page.all("td")]).reshape(2, 4)
    assert values.tolist() == [["1", "1", "global", "0.25"], ["1", "2", "diagonal", "-3.5"]]
    minus = "\N{MINUS SIGN}"
    assert f"{minus}0.500 to 1.000" in page.text
    assert f"{minus}3.500 " in page.text
    assert {span.get("class") for span in page.all("span")} == {"global", "diagonal"}


def test_report_is_written_whole_or_not_at_all(written):
    path, png, *_ = written
    before = path.read_bytes()
    csv, text = path.parent / "heads.csv", path.parent / "trace" / "one.wav"
    cases = [
        ({"pictures": [report.Picture(png.with_name("none.png"), "", "alt")]}, "none.png: cannot"),
        ({"pictures": [report.Picture(png, "", " ")]}, "no alternative text"),
        ({"pictures": [report.Picture(csv, "", "alt")]}, "is not a PNG"),
        ({"files": [("CSV", path.parent / "no.csv")]}, "does not exist"),
        ({"clips": [report.Clip("c", csv)]}, "not a RIFF"),
        ({"clips": [report.Clip("c", text.with_name("no.wav"))]}, "no.wav: cannot be read"),
        ({"tables": [report.Table("t", csv.with_name("no.csv"))]}, "no.csv: cannot be read"),
    ]
    for parts, message in cases:
        with pytest.raises(InputError, match=message):
            report.write_report(path, "t", [report.Section("s", **parts)], {})
    ragged = csv.with_name("ragged.csv")
    ragged.write_text("a,b\n1\n")
    section = report.Section("s", tables=[report.Table("t", ragged)])
    with pytest.raises(InputError, match="ragged.csv: is not a CSV table.*; make the study"):
        report.write_report(path, "t", [section], {})
    ragged.unlink()
    with pytest.raises(InputError, match="figures: cannot be written"):
        report.write_report(path.parent / "figures", "t", [], {})
    assert path.read_bytes() == before
    assert {p.name for p in path.parent.iterdir()} == {
        "figures",
        "heads.csv",
        "report.html",
        "trace",
    }


def test_studies_add_up_in_the_order_of_the_report(written):
    path, _, sections, _ = written
    out = path.parent
    keep_sections(out, "phones", sections[1:])
    keep_sections(out, "heads", sections[:1])
    assert kept_sections(out, "heads")[0].heading == "Metrics <G>"
    assert kept_sections(out, "segments") == []
    write_page(out, "Heads of <toy>", ("heads", "phones", "segments"), {})
    text = path.read_text()
    assert text.index("Metrics &lt;G&gt;</h2>") < text.index("Distribution</h2>")
    assert Page(text).all("audio")
    keep_sections(out, "heads", [report.Section("Anew")])
    write_page(out, "Heads of <toy>", ("heads", "phones"), {})
    assert "Metrics &lt;G&gt;" not in path.read_text()
    broken = out / "analysis" / "sections" / "heads.json"
    broken.write_text("[[1]]")
    with pytest.raises(InputError, match=r"heads\.json: is not what analyze\.py writes"):
        kept_sections(out, "heads")


@pytest.mark.parametrize("content", [None, b"", b'{"data": {"fing', b"[1, 2]", b"\xff{}"])
def test_a_manifest_that_cannot_be_read_does_not_cost_the_report(tmp_path, content):
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_bytes(content)
    (said,) = manifest_of(tmp_path).items()
    assert said[0] == "manifest.json" and said[1].startswith("cannot be read: ")
    path.write_text('{"data": {"fingerprint": "abc"}, "sessions": []}')
    assert manifest_of(tmp_path) == {"data": {"fingerprint": "abc"}, "sessions": []}
