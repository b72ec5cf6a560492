"""Whether the texts of a figure can be read: none outside it, none on another."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg

from sat_jax.figures import style


def drawn_texts(figure, monkeypatch, dpi=100):
    """Strings that reach the canvas with their boxes in pixels (left, bottom, right, top)."""
    canvas, texts = FigureCanvasAgg(figure), []
    original = RendererAgg.draw_text

    def spy(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        if s.strip() and mtext is not None:
            texts.append((s, mtext.get_window_extent(self).extents))
        original(self, gc, x, y, s, prop, angle, ismath, mtext)

    monkeypatch.setattr(RendererAgg, "draw_text", spy)
    with style.applied():
        figure.set_dpi(dpi)
        canvas.draw()
    monkeypatch.undo()
    return [s for s, _ in texts], np.array([box for _, box in texts])


def assert_legible(figure, monkeypatch):
    """Every text lies inside the figure and none on another."""
    texts, boxes = drawn_texts(figure, monkeypatch)
    width, height = figure.get_size_inches() * 100
    outside = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > (width, height)).any(axis=1)
    assert not outside.any(), [text for text, out in zip(texts, outside, strict=True) if out]
    # Boxes hold room for accents and descenders: 15 % at each end may be shared.
    slack = 0.15 * (boxes[:, 2:] - boxes[:, :2])
    low, high = boxes[:, :2] + slack, boxes[:, 2:] - slack
    touch = ((low[:, None] < high[None]) & (high[:, None] > low[None])).all(axis=-1)
    pairs = np.argwhere(np.triu(touch, k=1))
    assert not len(pairs), [(texts[i], texts[j]) for i, j in pairs[:5]]
    return texts
