"""Maps as bytes, pages that fit a size, modules joined into one script, utterances chosen."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from explorer_pages import inflated, probs_of

from sat_jax.errors import InputError
from sat_jax.explorer import bundle
from sat_jax.explorer.fit import fit_maps
from sat_jax.explorer.pack import (
    RATIO,
    block_means,
    codes_of,
    pack_maps,
)
from sat_jax.study.explorer.choose import chosen_utterances
from sat_jax.study.explorer.known import Known, loss_of
from sat_jax.study.explorer.maps import UtteranceMaps
from sat_jax.study.explorer.sounds import Sound
from sat_jax.study.explorer.study import fitted_page


def random_maps(layers, heads, positions, seed=0):
    logits = 3 * np.random.default_rng(seed).standard_normal((layers, heads, positions, positions))
    maps = np.exp(logits)
    return (maps / maps.sum(-1, keepdims=True)).astype(np.float32)


def test_a_code_is_within_half_a_step_of_its_probability():
    probs = np.geomspace(1.1e-5, 1.0, 5000).astype(np.float32)
    ratio = probs_of(codes_of(probs)) / probs
    assert np.abs(np.log(ratio)).max() <= np.log(RATIO) / 2 * 1.001
    assert codes_of(np.array([1.0])) == 255
    assert (probs_of(codes_of(np.array([0.0, 1e-7]))) == 0).all()


def test_codes_rise_with_probability_and_come_back_from_what_they_stand_for():
    codes = np.arange(256, dtype=np.uint8)
    assert (np.diff(probs_of(codes)) > 0).all()
    assert (codes_of(probs_of(codes)) == codes).all()


@pytest.mark.parametrize(("positions", "factor"), [(12, 3), (13, 3), (7, 8), (5, 1)])
def test_blocks_are_averaged_and_the_last_one_is_shorter(positions, factor):
    maps = random_maps(1, 2, positions)
    side = -(-positions // factor)
    means = block_means(maps, factor)
    assert means.shape == (1, 2, side, side)
    for t in range(side):
        for s in range(side):
            block = maps[..., t * factor : (t + 1) * factor, s * factor : (s + 1) * factor]
            np.testing.assert_allclose(means[..., t, s], block.mean((-1, -2)), rtol=1e-5)


def test_packed_heads_come_back_and_pruned_ones_are_empty():
    maps = random_maps(2, 3, 50)
    maps[1, 2] = np.nan
    packed = pack_maps(maps, 2)
    assert [not chunk for chunk in packed.chunks] == [False] * 5 + [True]
    expected = codes_of(block_means(maps[1, 1], 2))
    assert (inflated(packed.chunks[4], 25) == expected).all()
    small = codes_of(block_means(maps[0, 0], 2))
    thumbnails = np.frombuffer(_raw(packed.thumbnails), np.uint8).reshape(6, 25, 25)
    assert (thumbnails[0] == small).all() and not thumbnails[5].any()


def _raw(chunk):
    import zlib

    return zlib.decompress(chunk, -15)


def test_a_map_that_is_not_whole_is_refused():
    maps = random_maps(1, 2, 20)
    maps[0, 1, 3, 4] = np.nan
    with pytest.raises(ValueError, match="only maps of pruned heads are NaN"):
        pack_maps(maps, 1)


MAPS = {(m, u): random_maps(2, 2, 200, seed=2 * u + m) for m in range(2) for u in range(3)}


def test_everything_is_kept_whole_where_it_fits_but_controls_average_two_positions():
    fitted = fit_maps(MAPS, (False, True), 10**7, (10, 10, 10))
    assert fitted.utterances == 3
    assert {key: packed.factor for key, packed in fitted.maps.items()} == {
        (m, u): 1 + m for m in range(2) for u in range(3)
    }
    assert len(fitted.notes) == 1 and "untrained" in fitted.notes[0]


def test_a_smaller_budget_is_kept_and_said():
    sizes = []
    for budget in (650_000, 350_000, 70_000):
        fitted = fit_maps(MAPS, (False, True), budget, (100, 100, 100))
        size = sum(packed.size for packed in fitted.maps.values()) + 100 * fitted.utterances
        assert size <= budget
        assert fitted.notes
        sizes.append((fitted.utterances, size))
    assert sizes[0][0] == 3 and sizes[-1][0] < 3
    assert "of 3 utterances fit" in fitted.notes[0]


def test_one_utterance_is_kept_whatever_the_budget():
    fitted = fit_maps(MAPS, (False, True), 1, (100, 100, 100))
    assert fitted.utterances == 1 and set(fitted.maps) == {(0, 0), (1, 0)}


def test_modules_are_joined_behind_those_that_they_import():
    files = {
        "main.js": 'import { b } from "./second.js";\nb();\n',
        "second.js": 'import { a } from "./first.js";\nexport function b() { a(); }\n',
        "first.js": "export const a = () => 1;\n",
    }
    script = bundle.joined_modules(files)
    assert "import" not in script and "export" not in script
    assert script.index("const a") < script.index("function b") < script.index("b();\n")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"second.js": "export function b() {}\nconst a = 2;\n"}, "a is also a name of"),
        ({"second.js": "function b() {}\n"}, "exports no b"),
        ({"second.js": 'import { c } from "./main.js";\nexport function b() {}\n'}, "no c"),
        (
            {
                "main.js": 'import { b } from "./second.js";\nexport const c = 1;\n',
                "second.js": 'import { c } from "./main.js";\nexport function b() {}\n',
            },
            "imports itself",
        ),
    ],
)
def test_what_cannot_be_joined_is_named(changed, message):
    files = {
        "main.js": 'import { b } from "./second.js";\nimport { a } from "./first.js";\nb(a);\n',
        "second.js": "export function b() {}\n",
        "first.js": "export const a = 1;\n",
    }
    with pytest.raises(ValueError, match=message):
        bundle.joined_modules(files | changed)


def test_text_of_a_corpus_stays_text_and_only_the_pages_own_script_may_run():
    hostile = "</script><img src=x onerror=alert(1)>{{script}}"
    page = bundle.page_of(hostile, {"id": hostile}, {"a": b"\x00\xff"}).decode()
    assert "<img" not in page
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1)
    assert json.loads(data) == {"id": hostile}
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    script = re.search(r'<script type="module">(.*?)</script>', page, re.DOTALL).group(1)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    assert bundle.digest(script) in policy and bundle.digest(style) in policy
    assert 'id="blob-a">AP8=<' in page


def split_of(lengths, speakers):
    ids = [f"u{number}" for number in range(len(lengths))]
    return Split(ids, np.array(lengths, np.int32), np.array(speakers, np.int32))


class Split(SimpleNamespace):
    def __init__(self, ids, lengths, speakers):
        super().__init__(ids=ids, lengths=lengths, speakers=speakers, name="test")

    def __len__(self):
        return len(self.ids)


def test_chosen_utterances_cover_speakers_and_lengths():
    generator = np.random.default_rng(0)
    split = split_of(generator.integers(16_000, 160_000, 60), np.arange(60) % 6)
    chosen = chosen_utterances(split, (), 6, "")
    assert len(set(chosen)) == 6 and set(split.speakers[chosen]) == set(range(6))
    assert abs(split.lengths[chosen[0]] - 48_000) == abs(split.lengths - 48_000).min()
    covered = np.sort(split.lengths[chosen])
    assert covered[0] < np.quantile(split.lengths, 0.3)
    assert covered[-1] > np.quantile(split.lengths, 0.7)


def test_at_most_all_utterances_are_chosen_or_those_that_are_named():
    split = split_of([16_000, 48_000, 90_000], [0, 0, 1])
    assert sorted(chosen_utterances(split, (), 8, "")) == [0, 1, 2]
    assert chosen_utterances(split, (), 2, "u2")[0] == 2
    assert chosen_utterances(split, ("u2", "u0", "u2"), 8, "") == [2, 0]
    with pytest.raises(InputError, match="utterance u9 is not in the test split"):
        chosen_utterances(split, ("u9",), 8, "")


def test_a_loss_is_positive_where_a_task_gets_worse():
    change = {"change": [[0.2, -0.1]], "low": [[0.1, -0.3]], "high": [[0.4, 0.0]]}
    error = loss_of({**change, "lower": True})
    assert error == {"values": [[0.2, -0.1]], "low": [[0.1, -0.3]], "high": [[0.4, 0.0]]}
    accuracy = loss_of({**change, "lower": False})
    assert accuracy == {"values": [[-0.2, 0.1]], "low": [[-0.4, 0.0]], "high": [[-0.1, 0.3]]}


def test_the_whole_page_keeps_its_size_with_all_that_is_said_of_its_maps():
    boundaries = [np.arange(3000) / 7] * 4  # as JSON heavier than the maps
    traced = [{u: UtteranceMaps(MAPS[0, u], boundaries) for u in range(3)}]
    sounds = [Sound({"id": f"u{u}"}, {f"sound-{u}": bytes(90)}) for u in range(3)]
    model = Known({"control": False}, {}, None)
    heaviest, _ = fitted_page("t", [model], traced, sounds, [], 100)
    for share in (1.0, 0.999, 0.97, 0.9, 0.8, 0.5):
        size = share * len(heaviest) / 1e6
        page, fitted = fitted_page("t", [model], traced, sounds, [], size)
        assert len(page) <= 1e6 * size
    assert fitted.utterances < 3
