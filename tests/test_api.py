"""The public interface: what docs/api.md shows runs, and gives what the studies give."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from scripts import python

import sat_jax
from sat_jax.analysis.head_metrics import measure_heads
from sat_jax.analysis.phone_maps import phone_attention, phone_frames

ROOT = Path(__file__).parent.parent


def maps_of(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.dirichlet(np.full(t, 0.3), (2, 3, t)) for t in lengths]


def test_the_example_of_the_page_runs_and_is_under_ten_lines(tmp_path):
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.S)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (tmp_path / "example.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}")
    result = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"heads.csv", "head_scatter.png", "all_phone_maps.pdf", "focus_chart.png"} <= names


def test_every_public_name_is_there_and_importing_needs_no_jax():
    for name in sat_jax.__all__:
        assert getattr(sat_jax, name) is not None
    page = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in sat_jax.__all__ if name not in page and name != "Config"] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sat_jax.nothing  # noqa: B018
    code = "import sys, sat_jax; assert not {'jax', 'numpy', 'matplotlib'} & set(sys.modules)"
    assert python(sys.executable, "-c", code).returncode == 0


def test_metrics_do_not_depend_on_how_utterances_are_padded():
    maps = maps_of((5, 63, 64, 70))
    heads = sat_jax.summarise_maps(maps, draws=20)
    for name in ("globalness", "diagonality", "weight", "modal_offset"):
        alone = [
            np.asarray(
                measure_heads(
                    jax.numpy.asarray(one.reshape(1, 6, *one.shape[2:]), jax.numpy.float32),
                    np.ones((1, one.shape[-1]), bool),
                )[name]
            ).reshape(2, 3)
            for one in maps
        ]
        np.testing.assert_allclose(heads.metrics[name], np.mean(alone, 0), rtol=2e-5, atol=1e-6)
    assert heads.utterances == 4


def test_relations_are_those_of_the_definition():
    maps, rng = maps_of((20, 33)), np.random.default_rng(1)
    # As many phones as heads: no axis may be taken for the other.
    labels = [rng.permutation(np.arange(t) % 6) for t in (20, 33)]
    heads = sat_jax.summarise_maps(maps, draws=5)
    names = ("sil", "aa", "s", "t", "m", "x")
    phones = sat_jax.relate_phones(maps, labels, names, heads, draws=5)
    joint, uniform = [], []
    for one, label in zip(maps, labels, strict=True):
        spoken = np.eye(6)[label]
        joint.append(np.einsum("lhts,tm,sn->lhmn", one, spoken, spoken) / len(label))
        uniform.append(np.outer(spoken.mean(0), spoken.mean(0)))
    expected = np.mean(joint, 0) / np.mean(uniform, 0) - 1
    np.testing.assert_allclose(phones.summary.relation, expected, atol=1e-4)
    assert phones.manners[1:3] == ("vowel", "fricative")
    frames = phone_frames(labels[0][None], np.ones((1, 20), bool), 1, 6)
    once = phone_attention(maps[0].reshape(1, 6, 20, 20), np.ones((1, 20), bool), frames).joint
    np.testing.assert_allclose(np.asarray(once).reshape(2, 3, 6, 6), joint[0], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda maps: [], "maps is empty"),
        (lambda maps: [maps[0][0]], r"utterance 0: shape \(3, 8, 8\)"),
        (lambda maps: [maps[0], maps[0][:1]], r"utterance 1: shape .*the first has \(2, 3\)"),
        (lambda maps: [maps[0] * 2], "a row sums to 2.*after the softmax"),
        (lambda maps: [maps[0] * np.nan], "utterance 0: a row sums to"),
    ],
)
def test_what_is_no_map_is_named(change, message):
    with pytest.raises(sat_jax.InputError, match=message) as caught:
        sat_jax.summarise_maps(change(maps_of((8,))), draws=5)
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_fit_are_named():
    maps = maps_of((8,))
    heads = sat_jax.summarise_maps(maps, draws=5)
    for labels in (np.zeros(7, int), np.full(8, 2)):
        with pytest.raises(sat_jax.InputError, match="labels of utterance 0: .*give 8 numbers"):
            sat_jax.relate_phones(maps, [labels], ("sil", "aa"), heads)
