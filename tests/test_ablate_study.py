"""The ablation study in this process: its own steps, other settings of the same run."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import trees
from ablation_runs import DRAWS, SMALL, TASKS, H, L, number, place, table
from meshes import mesh_of

from sat_jax import mesh
from sat_jax.config import Ablation, Analysis, Corpus
from sat_jax.features.batches import frame_labels
from sat_jax.model.attention.edit import HeadEdit
from sat_jax.study.ablate import study as ablate
from sat_jax.study.ablate.context import open_context
from sat_jax.study.ablate.corpus import (
    TEST,
    TRAIN,
    open_speech,
)
from sat_jax.study.ablate.layers import Probed
from sat_jax.study.ablate.measure import run as run_settings
from sat_jax.study.ablate.tasks import probe_tasks
from sat_jax.study.loaded_run import open_run
from sat_jax.sweep.trie import make_settings
from sat_jax.trace.capture import capture

pytestmark = pytest.mark.commands


@pytest.fixture(scope="module")
def run(tiny_run):
    return tiny_run.path


@pytest.fixture(scope="module")
def studied(run):
    """A function that makes the study into a directory; gives what it said and its rows."""
    build = mesh.build_mesh
    patch = pytest.MonkeyPatch()
    patch.setattr(mesh, "build_mesh", lambda *_: mesh_of(1))

    def study(out, analysis=None, layers=False, **changes):
        analysis = analysis or Analysis(draws=DRAWS, out=out)
        settings = {"preset": "coarse", "tasks": TASKS[:2]} | SMALL | changes
        analysis = dataclasses.replace(analysis, ablate=Ablation(**settings))
        said = []
        loaded = open_run(run, analysis)._replace(say=said.append, save_figure=lambda *_: None)
        with pytest.MonkeyPatch.context() as once:
            if not layers:
                once.setattr(ablate, "probe_layers", lambda *_: Probed([], []))
                once.setattr(ablate, "with_hidden_layer", lambda *_: None)
            sections = ablate.study(loaded)
        path = out / "analysis" / "ablation.csv"
        rows = table(path) if path.exists() else []
        return SimpleNamespace(said=said, rows=rows, sections=sections, loaded=loaded, path=path)

    yield study
    patch.undo()
    assert mesh.build_mesh is build


@pytest.fixture(scope="module")
def coarse(studied, tmp_path_factory):
    return studied(place(tmp_path_factory.mktemp("coarse") / "out"), layers=True)


def curve(rows, ordering, task="reconstruction", probes="", measure="l1"):
    about = (ordering, task, probes, measure, "0")
    names = ("ordering", "task", "probes", "measure", "draw")
    return [number(row) for row in rows if tuple(row[name] for name in names) == about]


def encoded(loaded):
    """Batches of the study, as host arrays with the utterances' parts."""
    speech = open_speech(loaded)
    for batch in speech.encoded:
        rows = batch.utterance >= 0
        part = np.where(rows, speech.part[batch.utterance], -1)
        yield *(np.asarray(each) for each in batch[:3]), part


def mean_error(loaded, checkpoint=0, **edit):
    """Mean L1 of the test utterances by a plain call of the model."""
    params = jax.device_get(loaded.model.checkpoints[checkpoint].params)
    module, edit = loaded.model.module, HeadEdit(**edit)
    apply = jax.jit(lambda x, v: module.apply({"params": params}, x, v, edit))
    errors = []
    for inputs, targets, valid, part in encoded(loaded):
        wrong = np.abs(np.asarray(apply(inputs, valid)) - targets)
        errors += [wrong[i][valid[i]].mean() for i in np.flatnonzero(part == TEST)]
    assert len(errors) == SMALL["test_utterances"]
    return np.mean(errors)


def test_reconstruction_is_that_of_the_model(coarse):
    found = curve(coarse.rows, "globalness")
    assert len(found) == 7
    assert found[0] == pytest.approx(mean_error(coarse.loaded), rel=1e-5)
    none = mean_error(coarse.loaded, gate=np.zeros((L, H)))
    assert found[-1] == pytest.approx(none, rel=1e-5)
    assert abs(found[0] - found[-1]) > 1e-4


def test_representations_are_those_of_each_utterance_by_itself(coarse):
    loaded = coarse.loaded
    params = jax.device_get(loaded.model.checkpoints[0].params)
    encode = jax.jit(
        lambda x, v: loaded.model.module.apply({"params": params}, x, v, method="encode")
    )
    speech = open_speech(loaded)
    context = open_context(
        loaded, loaded.model.checkpoints[0], speech, probe_tasks(*asked_of(loaded))
    )
    features, errors = run_settings(context, make_settings(np.ones((2, L, H))))
    assert features.shape == (2, len(speech.utterance), loaded.config.model.width)
    assert errors.shape == (2, SMALL["test_utterances"])
    seen = 0
    for batch in speech.encoded:
        for row in np.flatnonzero(batch.utterance >= 0):
            number, length = batch.utterance[row], int(batch.valid[row].sum())
            expected = encode(batch.inputs[row : row + 1, :length], np.ones((1, length), bool))[0]
            mine = speech.utterance == number
            np.testing.assert_allclose(features[1, mine], expected, atol=1e-5)
            seen += mine.sum()
    assert seen == len(speech.utterance)


def asked_of(loaded):
    return loaded.analysis.ablate, open_speech(loaded), loaded.say


@pytest.mark.parametrize("size", [1, 4])
def test_how_speech_is_batched_changes_nothing_but_the_batches(coarse, size):
    whole, parts = (
        open_speech(coarse.loaded._replace(passes=coarse.loaded.passes._replace(size=each)))
        for each in (coarse.loaded.passes.size, size)
    )
    assert len(parts.encoded) > len(whole.encoded)
    for name in ("utterance", "part", "phone", "speaker", "ids"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    placed = np.sort(np.concatenate([batch.place for batch in parts.encoded]))
    np.testing.assert_array_equal(placed, np.arange(len(parts.utterance)))
    # A position's phones are those of its time: the frames of each utterance as it is on disk.
    labels = dict(zip(parts.ids, range(len(parts.ids)), strict=True))
    split = coarse.loaded.corpus.split
    for record in (split[i] for i in range(len(split)) if split.ids[i] in labels):
        phone = parts.phone[parts.utterance == labels[record.id]]
        grid = coarse.loaded.model.spec.grid
        expected = frame_labels(np.asarray(record.phones), phone.size, grid)
        np.testing.assert_array_equal(phone.ravel(), expected)


def test_the_untrained_model_stands_beside(coarse):
    loaded = coarse.loaded
    rows = table(coarse.path.with_name("ablation_untrained.csv"))
    assert {row["ordering"] for row in rows} == {"globalness"}
    found = curve(rows, "globalness")
    whole = mean_error(loaded, checkpoint=1)
    assert found[0] == pytest.approx(whole, rel=1e-5)
    assert abs(whole / curve(coarse.rows, "globalness")[0] - 1) > 0.01
    compared = table(coarse.path.parent.parent / "figures" / "compared_curves.csv")
    mine = [row for row in compared if row["kind"] == "untrained, attention set to 0"]
    values = [number(row) for row in mine if row["task"] == "reconstruction"]
    assert values == pytest.approx(found)
    assert {row["task"] for row in mine} == {"reconstruction", "phone"}


def test_coarse_has_fewer_figures(coarse):
    assert [section.heading for section in coarse.sections] == [
        *("What the input and every layer hold", "What remains when heads are pruned"),
        *("Which order is cheapest", "One head, or far keys, taken away"),
    ]
    stems = {path.stem for path in (coarse.path.parent.parent / "figures").iterdir()}
    assert stems == {"task_curves", "compared_curves", "area_chart"} | {
        *("rank_scatter", "rank_correlations", "probes_by_layer", "leave_one_out")
    }


def test_what_a_head_alone_is_worth_is_reconstruction_without_it(coarse):
    alone = table(coarse.path.parent.parent / "figures" / "leave_one_out.csv")
    assert {row["task"] for row in alone} == {"reconstruction"}
    intact = curve(coarse.rows, "globalness")[0]
    assert all(float(row["intact"]) == pytest.approx(intact, rel=1e-5) for row in alone)
    assert any(abs(float(row["change"])) > 1e-4 for row in alone)
    for row in alone:
        low, high = float(row["change_low"]), float(row["change_high"])
        assert low <= float(row["change"]) <= high


def test_coarse_probes_the_first_task_of_every_second_layer(coarse):
    probed = table(coarse.path.parent.parent / "analysis" / "probes_by_layer.csv")
    assert {row["task"] for row in probed} == {"phone"}
    assert {row["probe"] for row in probed} == {"linear", "hidden layer"}
    assert {row["layer"] for row in probed} == {"", "0", "2"}


def test_a_damaged_file_is_told_and_made_anew(coarse, studied):
    out = coarse.path.parent.parent
    before = coarse.path.read_bytes()
    leaves, *_ = sorted(out.glob("analysis/leaves/*/*.npz"), key=lambda path: -path.stat().st_size)
    leaves.write_bytes(leaves.read_bytes()[:-200])
    again = studied(out)
    told = [line for line in again.said if str(leaves) in line]
    assert len(told) == 1
    assert "cannot be read" in told[0]
    assert "made anew" in told[0]
    assert again.path.read_bytes() == before
    once_more = studied(out)
    assert not [line for line in once_more.said if "cannot be read" in line]
    assert once_more.path.read_bytes() == before


def test_plain_passes_give_the_same_tables(studied, coarse, tmp_path):
    plain = studied(place(tmp_path / "vmap"), engine="vmap", tasks=("reconstruction",))
    ours = [row for row in coarse.rows if row["task"] == "reconstruction"]
    assert len(plain.rows) == len(ours) > 0
    for mine, theirs in zip(plain.rows, ours, strict=True):
        for name, value in theirs.items():
            if name.startswith("value"):
                assert number(mine, name) == pytest.approx(float(value), abs=1e-4)
            else:
                assert mine[name] == value


def test_pruned_heads_may_get_their_mean_attention(studied, coarse, tmp_path):
    mean = studied(place(tmp_path / "mean"), kind="mean", tasks=("reconstruction",))
    found = curve(mean.rows, "globalness")
    assert {row["kind"] for row in mean.rows} == {"mean"}
    assert found[0] == pytest.approx(curve(coarse.rows, "globalness")[0], rel=1e-6)
    total, pairs = 0.0, 0.0
    params, module = (
        jax.device_get(mean.loaded.model.checkpoints[0].params),
        mean.loaded.model.module,
    )
    look = jax.jit(lambda x, v: capture(module, params, x, v).probs)
    for inputs, _, valid, part in encoded(mean.loaded):
        for i in np.flatnonzero(part == TRAIN):
            row, length = slice(i, i + 1), valid[i].sum()
            maps = np.concatenate(look(inputs[row], valid[row])).astype(np.float64)
            real = np.zeros(maps.shape[2:])
            real[:length, :length] = 1
            total, pairs = total + maps * real, pairs + real
    maps = (total / np.maximum(pairs, 1)).astype(np.float32)
    expected = mean_error(mean.loaded, swap=np.ones((L, H), bool), maps=maps)
    assert found[-1] == pytest.approx(expected, rel=1e-4)
    assert found[-1] != pytest.approx(curve(coarse.rows, "globalness")[-1], rel=1e-4)


def test_an_order_of_the_user_and_probes_of_another_layer(studied, coarse, tmp_path):
    order = tmp_path / "order.csv"
    order.write_text("layer,head\n" + "".join(f"{layer},{h}\n" for layer in (2, 1) for h in
                                              (3, 1, 2, 4)))  # fmt: skip
    first = studied(*(place(tmp_path / "first"),), order=order, layer=1, preset="default", draws=0)
    # Heads of layer 2 do nothing to layer 1, which the probes read.
    for probes in ("anew", "frozen"):
        accuracy = curve(first.rows, "user", "phone", probes, "accuracy")
        assert len(accuracy) == L * H + 1
        assert len(set(accuracy[: H + 1])) == 1
    hits = np.load(first.path.with_suffix(".npz"))["phone_anew_hits"]
    mine = [i for i, row in enumerate(first.rows[: len(hits)]) if row["ordering"] == "user"]
    np.testing.assert_array_equal(hits[mine[0]], hits[mine[H]])
    assert (hits[mine[H]] != hits[mine[-1]]).any()
    # The reconstruction is that of the whole model all the same.
    errors = curve(first.rows, "user")
    assert len(set(errors)) == L * H + 1
    gate = np.ones((L, H))
    gate[1, [2, 0]] = 0
    assert errors[2] == pytest.approx(mean_error(first.loaded, gate=gate), rel=1e-5)
    assert errors[0] == pytest.approx(curve(coarse.rows, "weight")[0], rel=1e-6)


def test_speech_of_one_speaker_without_labels_leaves_tasks_out_in_words(studied, tmp_path):
    tree = trees.write_folder(
        tmp_path / "plain", trees.speak(speakers=1, utterances=6), textgrids=False
    )
    corpus = Corpus(kind="folder", path=tree, data_dir=tmp_path / "data")
    out = place(tmp_path / "out")
    analysis = Analysis(draws=DRAWS, out=out, corpus=corpus, split="all")
    found = studied(out, analysis, tasks=TASKS)
    said = "\n".join(found.said)
    assert "phone is left out, as the corpus has no phone labels" in said
    for name in ("speaker-frame", "speaker-utterance"):
        assert f"{name} is left out: no two speakers" in said
    assert "three parts of the all split, utterance by utterance" in said
    assert {row["task"] for row in found.rows} == {"reconstruction"}
    none = studied(out, analysis, tasks=("phone",))
    assert none.sections == []
    assert "no task is left to ask" in none.said[-1]
    few = studied(tmp_path / "few", dataclasses.replace(analysis, max_utterances=2))
    assert few.sections == []
    assert "1, 0, 1 utterances to learn from, to stop by and to test on are too few" in few.said[-1]
