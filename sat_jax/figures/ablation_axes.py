"""Panels of the ablation figures: tasks, orderings and spans in, drawn on axes.

Values keep their natural direction; an arrow above each panel says which one is better.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sat_jax.figures import style
from sat_jax.figures.ablation_records import Ablation, base

# With the colours of the categories all pairs but one keep a CIE76 distance of 27 or more under
# protanopia, deuteranopia and tritanopia (random grey and wine: 26); markers tell them in grey.
LOOKS = {
    "globalness": (style.COLOURS["global"], "o"),
    "verticality": (style.COLOURS["vertical"], "s"),
    "diagonality": (style.COLOURS["diagonal"], "D"),
    "weight": ("#000000", "^"),
    "gradient": ("#EE6655", "v"),
    "leave-one-out": ("#990011", "P"),
    "layer": ("#88BBFF", "X"),
    "user": ("#111199", "*"),
    "random": ("#9A9A9A", ""),
}
CONDITIONS = (
    ("#000000", "-", "o"),
    ("#EE6655", (0, (5, 1.5)), "s"),
    ("#111199", (0, (1.2, 1.2)), "D"),
    ("#88BBFF", (0, (5, 1.5, 1, 1.5)), "^"),
)
DASHED = (0, (4, 1.6))
CHANCE = {"color": "#222222", "lw": 0.9, "ls": (0, (1, 1.6)), "zorder": 1.5}
INTACT = {"color": "#777777", "lw": 0.6, "ls": "-", "zorder": 1.4}
NEAR = 0.4  # share of an axis that data must fill for chance to be on it
LEFT, RIGHT, GAP = 0.55, 0.1, 0.6
TITLE = 0.24  # inches of a title above its panel
LEGEND_ROW = 0.17
_HANDLE, _SPACE = 0.3, 0.15  # inches of a line in a legend with its gap, and between entries


def ordering_look(ordering: str, dashed: bool) -> dict:
    """Colour, marker and dashes of the line of an ordering; a dashed line has hollow markers."""
    colour, marker = LOOKS[base(ordering)]
    look = {"color": colour, "marker": marker, "ls": DASHED if dashed else "-", "ms": 3.2}
    look |= {"ms": 4.6} if marker == "*" else {}
    return look | {"mfc": "white" if dashed else colour, "mec": colour, "mew": 0.7, "lw": 1.1}


def panel_boxes(
    count: int, top: float, high: float, between: float, columns: int = 0, room: float = 0.0
) -> list[tuple[float, float, float, float]]:
    """Boxes (left, top, width, height) of panels over the page, with `room` inches beside each."""
    columns = columns or {4: 2}.get(count, count)
    pitch = (style.PAGE - RIGHT - LEFT + GAP) / columns
    places = [divmod(index, columns) for index in range(count)]
    size = (pitch - GAP - room, high)
    return [(LEFT + c * pitch, top + r * (high + between), *size) for r, c in places]


def draw_title(figure: Figure, box: tuple, name: str, note: str) -> None:
    """Name of a task above the left end of its panel, a note above the right end."""
    left, top, wide, _ = box
    look = {"va": "baseline", "fontsize": style.SMALL, "color": "#444444"}
    style.write(figure, left + wide, top - 0.06, note, ha="right", **look)
    room = wide - style.text_width(note, style.SMALL) - 0.08
    style.write(figure, left, top - 0.06, style.fitted(name, room, 7.0, "bold"), weight="bold")


def better(lower_is_better: bool) -> str:
    """Which way is better on a vertical axis."""
    return f"better {'↓' if lower_is_better else '↑'}"


def draw_levels(axes: Axes, intact: float, chance: Sequence[float], ends: Sequence) -> str:
    """Limits of an axis that holds `ends`, the intact value and chance; what is to be said of it.

    Chance is drawn where the data fill enough of the axis with it, and is told in words otherwise.
    """
    low = min(intact, *(float(np.min(part)) for part in ends))
    high = max(intact, *(float(np.max(part)) for part in ends))
    axes.axhline(intact, **INTACT)
    said = ""
    for level in dict.fromkeys(value for value in chance if not np.isnan(value)):
        wider = min(low, level), max(high, level)
        if high - low >= NEAR * (wider[1] - wider[0]):
            low, high = wider
            axes.axhline(level, **CHANCE)
        else:
            said += f"chance {level:.3g} is off the axis, "
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - pad, high + pad)
    return said


def draw_conditions(figure: Figure, name: str, more: str) -> None:
    """Name of the model at the top, and how it was pruned and tested below."""
    wide = style.PAGE - LEFT - RIGHT
    style.write(figure, LEFT, 0.15, style.fitted(name, wide, 7.0, "bold"), weight="bold")
    look = {"fontsize": 6.5, "color": "#444444"}
    style.write(figure, LEFT, 0.29, style.fitted(more, wide, 6.5), **look)


def counted(table: Ablation, randomly: bool, probed: bool = True) -> str:
    """On what the curves of a table rest."""
    parts = [f"{table.utterances} utterances"]
    parts += [f"{table.seeds} probe seed{'s' * (table.seeds != 1)}"] if probed else []
    parts += [f"{table.draws} random orderings"] if randomly else []
    return ", ".join(parts)


def conditions(tables: Sequence[Ablation]) -> tuple[str, str, list[str]]:
    """The model and the conditions that tables share, and a label of what each has of its own."""
    fields = ("name", "kind", "probes")
    same = {f for f in fields if len({getattr(table, f) for table in tables}) == 1}
    shared = [getattr(tables[0], field) for field in fields[1:] if field in same]
    own = [", ".join(getattr(t, f) for f in fields if f not in same) for t in tables]
    name = tables[0].name if "name" in same else "several models"
    return name, ", ".join(shared), own


def legend_rows(handles: Sequence[Line2D]) -> list[list[Line2D]]:
    """Entries in as many rows as the page needs."""
    rows, at = [], np.inf
    for handle in handles:
        wide = _HANDLE + style.text_width(handle.get_label(), 6.5) + _SPACE
        if at + wide > style.PAGE - LEFT - RIGHT + _SPACE:
            rows.append([])
            at = 0.0
        rows[-1].append(handle)
        at += wide
    return rows


def draw_legend(figure: Figure, rows: Sequence[Sequence[Line2D]], top: float) -> None:
    """The rows of one legend, its upper left corner `top` inches below the edge of the page."""
    wide, high = figure.get_size_inches()
    unit = 6.5 / 72  # lengths in a legend count in its font size
    look = {"handlelength": (_HANDLE - 0.06) / unit, "handletextpad": 0.06 / unit}
    look |= {"columnspacing": 0.9 * _SPACE / unit, "borderpad": 0, "borderaxespad": 0}
    for index, row in enumerate(rows):
        place = (LEFT / wide, 1 - (top + index * LEGEND_ROW) / high)
        figure.legend(handles=row, ncols=len(row), loc="upper left", bbox_to_anchor=place, **look)


def head_ticks(heads: int) -> tuple[list[int], list[str]]:
    """Round numbers of heads from 0 to all, and their labels with the share below."""
    parts = next((number for number in (4, 6, 3) if heads % number == 0), 0)
    step = heads // parts if parts else max(1, round(heads / 4))
    ticks = [*range(0, heads - step // 2, step), heads]
    return ticks, [f"{tick}\n{100 * tick / heads:.0f} %" for tick in ticks]


def span_texts(spans: Sequence[int | None]) -> list[str]:
    """Spans as labels."""
    return ["full" if span is None else f"{span}" for span in spans]


def decimals(values: np.ndarray) -> int:
    """Decimals that show three digits of how far values spread."""
    spread = float(np.ptp(values)) or float(np.max(np.abs(values))) or 1.0
    return int(np.clip(2 - np.floor(np.log10(spread)), 0, 4))
