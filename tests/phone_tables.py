"""Made-up tables of phones, and what the cells of their figures have to show."""

import numpy as np
from matplotlib.colors import to_hex, to_rgba

from sat_jax.figures import phone_axes
from sat_jax.records.check import CATEGORIES
from sat_jax.records.phones import Interval, PhoneSummary, PhoneTable

BY_MANNER = {
    "silence": "sil",
    "vowel": "iy ih eh ae aa ah uh uw er",
    "diphthong": "ey ay oy aw ow",
    "semivowel": "l r w y",
    "nasal": "m n ng",
    "affricate": "ch jh",
    "fricative": "f v th dh s z sh hh",
    "stop": "p b t d dx k g",
}
PHONES = tuple(" ".join(BY_MANNER.values()).split())
MANNERS = tuple(name for name, group in BY_MANNER.items() for _ in group.split())


def make_phone_table(layers, heads, names=PHONES, manners=MANNERS, trained=True, seed=0):
    """Diagonal heads below, heads that focus on a few phones in the middle, diffuse ones above."""
    rng = np.random.default_rng(seed)
    count = len(names)
    logs = rng.normal(size=(layers, heads, count, count)) * 0.2
    category = np.full((layers, heads), "global", object)
    operations = [[""] * heads for _ in range(layers)]
    own = rng.uniform(0.03, 0.05, (layers, heads))
    for layer, head in np.ndindex(layers, heads):
        depth = (layer + rng.uniform(-0.7, 0.7)) / max(layers - 1, 1)
        if not trained:
            category[layer, head] = rng.choice(CATEGORIES)
        elif depth < 0.35:
            category[layer, head] = "diagonal"
            logs[layer, head] += rng.normal(size=(count, count)) - 0.8 + 4 * np.eye(count)
            operations[layer][head] = "same phone"
            own[layer, head] = rng.uniform(0.2, 0.7)
        elif depth < 0.7:
            category[layer, head] = "vertical"
            start = rng.integers(count)
            liked = np.arange(start, min(start + 4, count))
            logs[layer, head] -= rng.uniform(0.3, 1.0)
            logs[layer, head][:, liked] += rng.uniform(1.0, 3.0)
            operations[layer][head] = "focus on " + ", ".join(names[i] for i in liked)
            own[layer, head] = rng.uniform(0.03, 0.15)
        else:
            logs[layer, head][:, 0] -= rng.uniform(0, 2.5)
    relation = np.expm1(logs)
    never = rng.uniform(size=(count, count)) < 0.03
    relation[:, :, never] = np.nan
    if count > 3:
        relation[:, :, :, -2] = relation[:, :, -2] = np.nan  # a phone that never occurs
    seen = ~np.isnan(relation)
    concentration = np.where(seen, relation, 0).sum(axis=2) / np.maximum(seen.sum(axis=2), 1)
    concentration[~seen.any(axis=2)] = np.nan
    spread = 0.06 * (1 + concentration) + 0.02
    silence = np.clip(0.18 * (1 + np.nan_to_num(concentration[..., 0])), 0, 0.9)
    diagonal = np.einsum("lhpp->lhp", np.where(seen, relation, 0)).mean(axis=-1)
    same = 1 + 0.3 * np.maximum(diagonal, -0.9)
    verticality = -4.6 + (category == "vertical") * rng.uniform(0.5, 1.8, (layers, heads))
    verticality = verticality + rng.normal(size=(layers, heads)) * 0.05
    summary = PhoneSummary(
        relation=relation,
        elsewhere=relation * 0.5,
        concentration=Interval(concentration, concentration - spread, concentration + spread),
        silence=Interval(silence, silence * 0.93, silence * 1.06),
        silence_uniform=0.18,
        own=Interval(own, own * 0.93, own * 1.06),
        own_uniform=0.037,
        same=Interval(same, same * 0.93, same * 1.06),
        towards_silence=Interval(silence, silence, silence),
        seen=np.full(count, 50),
    )
    return PhoneTable(
        name="toy (step 2400)" if trained else "toy untrained",
        phones=tuple(names),
        manners=tuple(manners),
        summary=summary,
        verticality=verticality,
        category=category.astype(str),
        operations=tuple(map(tuple, operations)),
        utterances=192,
    )


def replaced(table, **fields):
    """The table with fields of its own, of its summary, or of an interval (NAME_low) replaced."""
    for name, value in fields.items():
        stem, _, end = name.rpartition("_")
        if name in PhoneTable._fields:
            table = table._replace(**{name: value})
            continue
        old = getattr(table.summary, name, None)
        if end in ("low", "high"):
            name, value = stem, getattr(table.summary, stem)._replace(**{end: value})
        elif isinstance(old, Interval):
            value = old._replace(value=value)
        table = table._replace(summary=table.summary._replace(**{name: value}))
    return table


FOREIGN = [f"p{i}" if i % 3 else f"tS{i}:" for i in range(60)]


def ratio(excess):
    """What a cell has to show: 1 + P inside the scale."""
    return np.clip(1 + np.asarray(excess), 1 / 8, 8)


def frame_colour(axes):
    return to_hex(axes.patches[0].get_edgecolor())


def assert_cells(image, excess):
    """Cells show 1 + excess, those that are NaN nothing but the grey of the key."""
    shown, absent = image.get_array(), np.isnan(excess)
    assert np.array_equal(np.ma.getmaskarray(shown), absent)
    assert np.allclose(shown[~absent], ratio(excess)[~absent])
    grey = np.isclose(image.to_rgba(shown), to_rgba(phone_axes.MISSING)).all(axis=-1)
    assert np.array_equal(grey, absent)
