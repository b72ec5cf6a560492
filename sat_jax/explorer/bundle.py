"""ES modules, CSS and data in, one HTML page out that loads nothing.

The modules under page/ are joined into one script: each import names what a file beside it exports,
and the names at the top of all modules differ, so that joining them changes nothing. A content
security policy lets the page run this script, use this style, and nothing else.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([a-z_]+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class) )", re.MULTILINE)
TOP_NAME = re.compile(
    r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE
)
ENTRY = "main"


def page_files() -> dict[str, str]:
    """Name to text of every file of the page."""
    folder = resources.files("sat_jax.explorer") / "page"
    return {
        each.name: each.read_text(encoding="utf-8")
        for each in sorted(folder.iterdir(), key=lambda each: each.name)
        if each.name.endswith((".js", ".css", ".html"))
    }


def joined_modules(files: Mapping[str, str]) -> str:
    """All modules that ENTRY needs as one script, each behind those that it imports.

    Raises ValueError where two modules have a name in common at their top, an import names what is
    not exported, or modules import each other in a circle.
    """
    order: list[str] = []
    above: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in above:
            raise ValueError(f"{name}.js: imports itself by way of {', '.join(above)}")
        text = files[f"{name}.js"]
        above.append(name)
        for names, source in IMPORT.findall(text):
            for wanted in filter(None, map(str.strip, names.split(","))):
                exported = rf"^export (?:async )?(?:function\*?|const|let|class) {wanted}\b"
                if not re.search(exported, files[f"{source}.js"], re.MULTILINE):
                    raise ValueError(f"{name}.js: {source}.js exports no {wanted}")
            visit(source)
        above.pop()
        order.append(name)

    visit(ENTRY)
    owner: dict[str, str] = {}
    for name in order:
        for top in TOP_NAME.findall(files[f"{name}.js"]):
            if top in owner:
                raise ValueError(f"{name}.js: {top} is also a name of {owner[top]}.js")
            owner[top] = name
    return "\n".join(EXPORT.sub("", IMPORT.sub("", files[f"{name}.js"])) for name in order)


def page_of(title: str, data: Any, blobs: Mapping[str, bytes]) -> bytes:
    """The page: `data` (JSON values) and named bytes, with script and style, as UTF-8."""
    files = page_files()
    script = joined_modules(files)
    style = "\n".join(text for name, text in files.items() if name.endswith(".css"))
    if "</" in script.replace("<\\/", "") or "</" in style:
        raise ValueError('the page\'s own files hold "</", which would end them in HTML')
    # Inside a script element only "</" and "<!--" mean anything.
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {digest(script)}",
            f"style-src {digest(style)}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    places = {
        "policy": policy,
        "title": escape(title),
        "style": style,
        "script": script,
        "data": content,
        "blobs": "\n".join(
            f'<script type="text/plain" id="blob-{escape(name)}">'
            f"{base64.b64encode(blob).decode()}</script>"
            for name, blob in blobs.items()
        ),
    }
    # One pass, so that a place's mark inside somebody's text stays text.
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: places[mark.group(1)], files["index.html"])
    return page.encode()


def digest(text: str) -> str:
    """What a content security policy calls an inline script or style of that text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
