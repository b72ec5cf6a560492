"""The report: sections and a manifest in, one self-contained HTML page out.

The page holds its pictures, sounds, styles and script; a content security policy forbids it to load
anything else. Links to the PDF and CSV files beside it are relative. Pictures stand at the end of
the file and are decoded when they come near, so that what was found is read at once.
"""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from sat_jax import files
from sat_jax.figures.page import PAGE
from sat_jax.figures.report_html import Parts, manifest_list
from sat_jax.figures.report_records import (
    PRUNED_PLACES,
    Clip,
    Finding,
    Picture,
    Section,
    Table,
    with_pruned,
)

__all__ = [
    "PRUNED_PLACES",
    "Clip",
    "Finding",
    "Picture",
    "Section",
    "Table",
    "with_pruned",
    "write_report",
]


def write_report(
    path: Path,
    title: str,
    sections: Sequence[Section],
    manifest: dict[str, Any],
    findings: Sequence[Finding] = (),
    explorer: str = "",
) -> Path:
    """Write the report to `path`, whole or not at all, and return `path`.

    It begins with its findings. A click on the head of a table's column sorts it; `manifest` (JSON
    values) becomes a list at the foot; heads link into `explorer`, a page beside this one. Raises
    InputError where a picture, a sound, a table or a linked file cannot be read, an alternative
    text is empty, or `path` cannot be written.
    """
    path = Path(path)
    parts = Parts(path.parent, explorer, [])
    numbered = list(enumerate(sections, start=1))
    contents = [f'<a href="#s{n}">{escape(section.heading)}</a>' for n, section in numbered]
    contents.append('<a href="#run">How it was made</a>')
    anchors = {section.heading: f"#s{n}" for n, section in reversed(numbered)}
    places = {
        "title": escape(title),
        "findings": parts.findings(findings, anchors),
        "contents": "\n".join(contents),
        "body": "\n".join(parts.section(n, section) for n, section in numbered),
        "manifest": manifest_list(manifest),
        "pixels": parts.pixels(),
    }
    # One pass, so that a place's mark inside somebody's text stays text.
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: places[mark.group(1)], PAGE)
    return files.write_whole(path, page.encode())
