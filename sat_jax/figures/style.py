"""How every figure looks and how it is saved: a `Figure` in, a PNG and a PDF out.

Sizes are inches and points on paper: `COLUMN` and `PAGE` are the widths of one and of two columns,
so a figure goes into a paper unscaled. Positions are measured from the top left corner.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from numbers import Real
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from sat_jax import files
from sat_jax.records.check import CATEGORIES

COLUMN = 3.5
PAGE = 7.2
SMALL = (
    5.5  # points; nothing that has to be read is smaller, except labels of single heads and phones
)

# Blue, orange and wine keep a CIE76 distance of 37 or more from each other under protanopia,
# deuteranopia and tritanopia, and differ in lightness (46, 71, 32), so they survive grey printing.
COLOURS = {"global": "#0072B2", "vertical": "#E69F00", "diagonal": "#882255"}
MARKERS = {"global": "o", "vertical": "s", "diagonal": "D"}
SERIES = ("#0072B2", "#E69F00", "#882255", "#009E73", "#56B4E9", "#D55E00", "#444444")
"""Colours of runs, or of pairs of them, in the order given: no figure shows more."""
KEY, KEY_LINE = 6.5, 0.16
"""Points of the names in a key of colours, and inches of its lines."""
MAP_COLOURS = "magma"
BLANK = {"fill": False, "edgecolor": "#d0d0d0", "lw": 0.4, "clip_on": False}

METRIC_LABELS = {
    "globalness": "globalness G (nats)",
    "verticality": "verticality V (nats)",
    "diagonality": "diagonality D (share of T)",
    "weight": "weight W (probability)",
}
METRIC_SYMBOLS = {"globalness": "G", "verticality": "V", "diagonality": "D", "weight": "W"}

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib and holds the IPA
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # utterance ids and run names may hold a dollar sign
    "pdf.fonttype": 42,
    "pdf.compression": 9,
    "image.composite_image": False,
    "path.simplify": True,
}


def applied() -> AbstractContextManager:
    """Context in which figures are made and saved; rc parameters are as before after it."""
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    return matplotlib.rc_context({**defaults, **_RC})


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """New axes whose box is `width` x `height` inches, its corner at (`left`, `top`)."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def write(figure: Figure, left: float, top: float, text: str, **kwargs) -> None:
    """Put `text` on the figure at inches from its top left corner."""
    w, h = figure.get_size_inches()
    figure.text(left / w, 1 - top / h, text, **kwargs)


def key_height(names: Sequence[str], left: float) -> float:
    """Inches that `write_key` takes from the top of a figure as wide as a page."""
    return KEY_LINE * -(-len(names) // _in_line(names, left)) + 0.1


def write_key(figure: Figure, names: Sequence[str], left: float) -> None:
    """Names at the top of a figure as wide as a page, each in its colour of `SERIES`."""
    in_line = _in_line(names, left)
    wide = (PAGE - left) / in_line
    for number, (name, colour) in enumerate(zip(names, SERIES, strict=False)):
        row, column = divmod(number, in_line)
        text = fitted(name, wide - 0.1, KEY)
        look = {"fontsize": KEY, "color": colour, "va": "top"}
        write(figure, left + column * wide, 0.08 + KEY_LINE * row, text, **look)


def _in_line(names: Sequence[str], left: float) -> int:
    widest = max(text_width(name, KEY) for name in names)
    return min(max(int((PAGE - left) / (widest + 0.2)), 1), len(names))


def text_width(text: str, points: float, weight: str = "normal") -> float:
    """Width of `text` in inches when set in `points` in the font of all figures."""
    font = FontProperties(family="DejaVu Sans", size=points, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return 1.04 * width / 72  # at low resolution glyphs are rounded up to whole pixels


def fitted(text: str, inches: float, points: float, weight: str = "normal") -> str:
    """`text`, cut with an ellipsis where it is wider than `inches`."""
    if text_width(text, points, weight) <= inches:
        return text
    while text and text_width(text + "…", points, weight) > inches:
        text = text[:-1]
    return text + "…"


def signed(value: float, digits: int) -> str:
    """`value` with `digits` decimals and a minus sign of full width."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def category_handles(open_marker: str = "") -> list[Line2D]:
    """Legend entries of the categories; `open_marker`, if any, says what hollow markers are."""
    look = {"linestyle": "none", "markersize": 4}
    handles = [
        Line2D([], [], marker=MARKERS[name], color=COLOURS[name], label=name, **look)
        for name in CATEGORIES
    ]
    if open_marker:
        handles.append(
            Line2D([], [], marker="o", color="#555555", mfc="white", label=open_marker, **look)
        )
    return handles


def blank(row: dict[str, Any]) -> dict[str, Any]:
    """The row of a pruned head: its numbers, which are NaN, as empty cells."""
    return {k: "" if isinstance(v, Real) and np.isnan(v) else v for k, v in row.items()}


def save(figure: Figure, directory: Path, stem: str, pdf: bool = True) -> list[Path]:
    """Write `stem`.png (200 dpi) and, unless `pdf` is off, `stem`.pdf (vector, fonts embedded).

    The same figure gives the same bytes: no date goes into the metadata. Each file appears whole or
    not at all. Raises InputError where the directory cannot be written. Returns their paths.
    """
    FigureCanvasAgg(figure)
    paths = []
    with applied():
        # Raster parts of a PDF (the maps) are written at 300 dpi.
        kinds = {"png": (200, {"Software": None})}
        if pdf:
            kinds["pdf"] = (300, {"CreationDate": None, "ModDate": None})
        for suffix, (dpi, metadata) in kinds.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, dpi=dpi, metadata=metadata)
            paths.append(files.write_whole(Path(directory) / f"{stem}.{suffix}", buffer.getvalue()))
    return paths
