"""Captions: every figure has one, plain text with indented formulas, in whole sentences."""

import importlib
import pkgutil
from types import SimpleNamespace

import numpy as np
import pytest

from sat_jax import figures
from sat_jax.figures import report, segments
from sat_jax.grid import SAMPLE_RATE
from sat_jax.records import boundaries

CAPTIONS = {
    f"{module.name}.{name}": text
    for module in pkgutil.iter_modules(figures.__path__)
    if module.name not in ("page", "report")
    for name, text in vars(importlib.import_module(f"sat_jax.figures.{module.name}")).items()
    if name.isupper() and not name.startswith("_") and isinstance(text, str) and len(text) > 60
}


def test_every_caption_is_found():
    assert len(CAPTIONS) == 44


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_are_paragraphs_with_indented_formulas(name):
    text = CAPTIONS[name]
    assert text == text.strip()
    assert text.endswith(".")
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        # A formula is indented in every line, prose in none.
        assert {line[:4] == " " * 4 for line in lines} in ({True}, {False})
        assert all(
            (line == line.rstrip() and line[:1] != " ") or line[:4] == " " * 4 for line in lines
        )
        assert max(map(len, lines)) <= 200


def test_no_caption_uses_words_for_pruning_that_are_not_the_fields():
    words = ("gone", "removed", "refined", "left in")
    assert [name for name, text in CAPTIONS.items() if any(word in text for word in words)] == []


def test_the_caption_says_the_tolerance_that_is_used():
    tolerance = 1000 * boundaries.TOLERANCE / SAMPLE_RATE
    assert f"within {tolerance:g} ms" in segments.SEGMENTATION


def test_a_word_on_blank_places_ends_the_first_paragraph_where_heads_are_pruned():
    whole = SimpleNamespace(category=np.array([["global", "vertical"]]))
    pruned = SimpleNamespace(category=np.array([["global", "pruned"]]))
    assert report.with_pruned("One.\n\nTwo.", [whole]) == "One.\n\nTwo."
    said = report.with_pruned("One.\n\nTwo.", [whole, pruned])
    assert said == f"One. {report.PRUNED_PLACES}\n\nTwo."
