"""Panels of the ablation figures: tasks, orderings and spans in, drawn on axes.

Values keep their natural direction; an arrow above each panel says which one is better.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sat_jax.figures import style
from sat_jax.records.ablation import Ablation, Spans, Task, base

# All pairs keep a CIE76 distance of 27 or more, under protanopia, deuteranopia and tritanopia too;
# markers tell lines apart in grey print.
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
LEFT, RIGHT, GAP = 0.55, 0.16, 0.6
TITLE = 0.24  # inches of a title above its panel
LEGEND_ROW = 0.17
_HANDLE, _SPACE = 0.3, 0.14  # inches of a line in a legend with its gap, and between entries


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


def levels(
    intact: Sequence[float], chance: Sequence[float], ends: Sequence[np.ndarray]
) -> tuple[tuple[float, float], list[float], list[float]]:
    """Limits of an axis, the levels of chance that are on it, and those that are off it.

    `ends` are all other values that are drawn. Chance is on the axis where they fill enough of it.
    """
    low = min(*intact, *(float(np.min(part)) for part in ends))
    high = max(*intact, *(float(np.max(part)) for part in ends))
    near, far = [], []
    for level in dict.fromkeys(value for value in chance if not np.isnan(value)):
        room = max(high, level) - min(low, level)
        (near if high - low >= NEAR * room else far).append(level)
    low, high = min([low, *near]), max([high, *near])
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return (low - pad, high + pad), near, far


def guess(lower_is_better: bool) -> str:
    """What the level of a task that needs no model is called: of an error, that of the mean."""
    return "predicting the mean" if lower_is_better else "chance"


def guesses(tasks: Sequence[Task | Spans]) -> str:
    """Entry of a legend for the levels of several tasks."""
    return " or ".join(dict.fromkeys(guess(task.lower_is_better) for task in tasks))


def draw_levels(axes: Axes, intact: Sequence[float], found: tuple, lower_is_better: bool) -> None:
    """Limits and levels as `levels` found them; an arrow tells where those off the axis are."""
    limits, near, far = found
    for level in dict.fromkeys(intact):
        axes.axhline(level, **INTACT)
    for level in near:
        axes.axhline(level, **CHANCE)
    axes.set_ylim(limits)
    for below in (True, False):
        names = [f"{level:.3g}" for level in far if (level < limits[0]) == below]
        if names:
            text = f"{guess(lower_is_better)} {' and '.join(names)} {'↓' if below else '↑'}"
            look = {"fontsize": style.SMALL, "color": "#444444", "zorder": 5}
            place = (3, 3) if below else (3, -3)
            axes.annotate(
                text,
                (0, 0 if below else 1),
                place,
                xycoords="axes fraction",
                textcoords="offset points",
                va="bottom" if below else "top",
                bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1},
                **look,
            )


def draw_conditions(figure: Figure, name: str, more: str) -> None:
    """Name of the model at the top, and how it was pruned and tested below."""
    wide = style.PAGE - LEFT - RIGHT
    style.write(figure, LEFT, 0.15, style.fitted(name, wide, 7.0, "bold"), weight="bold")
    look = {"fontsize": 6.5, "color": "#444444"}
    style.write(figure, LEFT, 0.29, style.fitted(more, wide, 6.5), **look)


def conditions(tables: Sequence[Ablation], randomly: bool) -> tuple[str, str, list[str]]:
    """The model and the conditions that tables share, and a label of what each has of its own."""
    told = [
        [
            table.kind,
            table.probes,
            f"{table.utterances} utterances",
            f"{table.seeds} probe seed{'s' * (table.seeds != 1)}",
            *([f"{table.draws} random ordering{'s' * (table.draws != 1)}"] if randomly else []),
        ]
        for table in tables
    ]
    one = len({table.name for table in tables}) == 1
    if not one:
        told = [[table.name, *parts] for table, parts in zip(tables, told, strict=True)]
    shared = [part for part in told[0] if all(part in parts for parts in told)]
    own = [", ".join(part for part in parts if part not in shared) for parts in told]
    return tables[0].name if one else "several models", ", ".join(shared), own


def legend_rows(handles: Sequence[Line2D]) -> list[list[Line2D]]:
    """Entries in as many rows as the page needs; a label that is wider than the page is cut."""
    rows, at = [], np.inf
    most = style.PAGE - LEFT - RIGHT - _HANDLE
    for handle in handles:
        handle.set_label(style.fitted(handle.get_label(), most, 6.5))
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


def wrapped(text: str, inches: float, points: float) -> str:
    """`text` on two lines where it is wider than `inches`, cut where that does not do."""
    words = text.split(" ")
    if style.text_width(text, points) <= inches or len(words) == 1:
        return style.fitted(text, inches, points)
    pairs = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    lines = min(pairs, key=lambda pair: max(style.text_width(line, points) for line in pair))
    return "\n".join(style.fitted(line, inches, points) for line in lines)
