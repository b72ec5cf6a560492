"""The ablation study: a trained run end to end, interrupted and damaged, and its own steps."""

import csv
import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import trees
from head_tables import write_head_table
from test_end_to_end import ENVIRONMENT, command, python
from two_processes import ROOT

from sat_jax import mesh
from sat_jax.config import Ablation, Analysis, Corpus
from sat_jax.features.batches import frame_labels
from sat_jax.figures import style
from sat_jax.model.attention.edit import HeadEdit
from sat_jax.records.heads import RANKED
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
from sat_jax.sweep import plan as plans
from sat_jax.sweep.orderings import points_of
from sat_jax.sweep.trie import make_settings
from sat_jax.trace.capture import capture

L, H = 2, 4
TASKS = ("reconstruction", "phone", "speaker-frame", "speaker-utterance")
SHORT = ["--loop.steps", "30", "--loop.valid-every", "30", "--loop.checkpoint-every", "30"]
SMALL = {"train_utterances": 12, "valid_utterances": 4, "test_utterances": 4, "max_frames": 96}
SMALL |= {"probe_steps": 6, "probe_batch": 64, "hidden": 8, "draws": 2}
SMALL |= {"mlp_utterances": 16, "mlp_steps": 8}
DRAWS = 50


def options(**changes):
    """SMALL and more as the command line has it."""
    known = {f"--ablate.{name.replace('_', '-')}": v for name, v in (SMALL | changes).items()}
    text = [each for name, value in known.items() for each in (name, str(value))]
    return ["--only", "ablate", "--draws", str(DRAWS), *text]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("runs") / "reference"
    result = python(*command(path, data, *SHORT))
    assert result.returncode == 0, result.stderr
    return path


def place(out):
    """A directory for results in which the heads study has been, with numbers made up."""
    rng = np.random.default_rng(7)
    metrics = {name: rng.random((L, H)) for name in RANKED}
    for name in ("heads.npz", "heads_untrained.npz"):
        write_head_table(out / "analysis" / name, metrics)
    return out


@pytest.fixture(scope="module")
def full(run):
    """Results of the full preset, and what was said."""
    result = python(
        sys.executable, "analyze.py", str(place(run)), "--no-pdf", *options(preset="full")
    )
    assert result.returncode == 0, result.stderr
    return run, result.stdout


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def number(row, name="value"):
    return float(row[name])


# --- The full preset, as a user runs it -----------------------------------------------------------


def test_full_leaves_tables_figures_and_sections(full):
    run, said = full
    stems = ["task_curves", "reversed_curves", "compared_curves", "area_chart", "rank_scatter"]
    stems += ["rank_correlations", "leave_one_out", "span_curves", "span_grid"]
    stems += ["probes_by_layer", "probe_budget", "mlp_curves"]
    for stem in stems:
        for suffix, size in (("png", 10_000), ("csv", 100)):
            assert (run / "figures" / f"{stem}.{suffix}").stat().st_size > size, (stem, suffix)
    names = [
        f"ablation{end}{kind}" for end in ("", "_untrained", "_mlp") for kind in (".csv", ".npz")
    ]
    for name in (*names, "ablation_areas.csv"):
        assert (run / "analysis" / name).stat().st_size > 1000
    stored = sorted(p.name for p in (run / "analysis" / "leaves").glob("*/*"))
    assert stored == ["00000.npz", "00000.npz", "leaves.npz"]
    report = (run / "report.html").read_text()
    headings = ["What the input and every layer hold"]
    headings += ["What remains when heads are pruned", "Which order is cheapest"]
    headings.append("One head, or far keys, taken away")
    places = [report.index(f"{heading}</h2>") for heading in headings]
    assert places == sorted(places)
    for name in names:
        assert name in report
    sections = json.loads((run / "analysis" / "sections" / "ablate.json").read_text())
    assert [section[0] for section in sections] == headings
    assert "12 utterances to learn from, 4 to stop by, 4 to test on" in said
    assert "Traceback" not in said


def test_intervals_hold_their_values(full):
    rows = table(full[0] / "analysis" / "ablation.csv")
    assert {row["task"] for row in rows} == set(TASKS)
    measures = {(row["task"] == "reconstruction", row["measure"]) for row in rows}
    assert measures == {(True, "l1"), (False, "accuracy"), (False, "macro_f1")}
    assert {row["probes"] for row in rows if row["task"] != "reconstruction"} == {"anew", "frozen"}
    for row in rows:
        low, value, high = (number(row, f"value{end}") for end in ("_low", "", "_high"))
        assert low <= high
        # Macro-F1 leaves classes out of some draws, so its draws lie elsewhere than its value.
        assert row["measure"] == "macro_f1" or low - 1e-6 <= value <= high + 1e-6
        assert row["measure"] == "l1" or 0 <= low <= high <= 100
    for row in table(full[0] / "analysis" / "ablation_areas.csv"):
        assert number(row, "area_low") <= number(row, "area") <= number(row, "area_high")
        assert 0 <= int(row["removable"]) <= L * H


def test_what_is_the_same_setting_has_the_same_value(full):
    same = {}
    for row in table(full[0] / "analysis" / "ablation.csv"):
        about = row["task"], row["probes"], row["measure"]
        if row["pruned"] == "0" and row["span"] == "full":
            same.setdefault(("intact", *about), []).append(row)
        if row["pruned"] == str(L * H):
            # Spans of heads that are gone mean nothing, but maps that replace are limited too.
            same.setdefault((row["kind"], *about), []).append(row)
    assert len(same) == 3 * (1 + 2 * 3 * 2)
    for rows in same.values():
        assert len(rows) > 3
        for end in ("", "_low", "_high"):
            assert len({row[f"value{end}"] for row in rows}) == 1
    studies = {row["study"] for row in same["intact", "reconstruction", "", "l1"]}
    assert studies == {"order", "span", "grid", "single"}


def test_every_point_of_every_ordering_is_there(full):
    rows = table(full[0] / "analysis" / "ablation.csv")
    rows = [r for r in rows if r["study"] == "order" and r["task"] == "reconstruction"]
    plain = ["globalness", "verticality", "diagonality", "weight", "layer", "gradient"]
    plain.append("leave-one-out")
    names = {name + end for name in plain for end in ("", " reversed")} | {"random"}
    assert {row["ordering"] for row in rows} == names
    for name in names:
        for draw in range(2 if name == "random" else 1):
            pruned = [
                int(row["pruned"])
                for row in rows
                if (row["ordering"], row["draw"], row["kind"]) == (name, str(draw), "zero")
            ]
            assert pruned == list(range(L * H + 1))


def test_heads_go_in_the_order_of_their_values(full):
    run, _ = full
    metrics = np.load(run / "analysis" / "heads.npz")
    arrays = np.load(run / "analysis" / "ablation.npz")
    for name, sign in (("globalness", -1), ("weight", 1)):
        expected = np.argsort(sign * metrics[f"metrics/{name}"].ravel(), kind="stable")
        np.testing.assert_array_equal(order_of(arrays, name), expected)
        np.testing.assert_array_equal(order_of(arrays, f"{name} reversed"), expected[::-1])
    single = [row for row in table(run / "figures" / "leave_one_out.csv") if "recon" in row["task"]]
    assert len(single) == L * H
    change = [number(row, "change") for row in single]
    np.testing.assert_array_equal(order_of(arrays, "leave-one-out"), np.argsort(change))


def order_of(arrays, name):
    """The order in which heads go, read from the gates."""
    mine = (arrays["row_ordering"] == name) & (arrays["row_study"] == "order")
    mine &= arrays["row_kind"] == "zero"
    gates = arrays["gate"][mine][np.argsort(arrays["row_pruned"][mine])].reshape(L * H + 1, -1)
    return (gates[:-1] - gates[1:]).argmax(1)


def test_values_are_those_of_the_arrays(full):
    run, _ = full
    arrays = np.load(run / "analysis" / "ablation.npz")
    rows = table(run / "analysis" / "ablation.csv")
    l1 = [number(row) for row in rows if row["measure"] == "l1"]
    np.testing.assert_allclose(arrays["reconstruction"].mean(1), l1, rtol=1e-5)
    assert arrays["reconstruction"].shape == (len(l1), 4)
    right = [r for r in rows if (r["task"], r["probes"]) == ("speaker-utterance", "anew")]
    right = [number(row) for row in right if row["measure"] == "accuracy"]
    hits = arrays["speaker_utterance_anew_hits"]
    np.testing.assert_allclose(100 * hits.mean((1, 2)), right, rtol=1e-5)


def test_layers_and_budgets_are_probed(full):
    run, _ = full
    rows = table(run / "analysis" / "probes_by_layer.csv")
    models = list(dict.fromkeys(row["model"] for row in rows))
    assert models[::3] == ["log-mel", "all heads pruned"]
    assert models[2] == models[1].split(" (")[0] + " untrained"
    for task in ("phone", "speaker frame"):
        for probe in ("linear", "hidden layer"):
            mine = [r for r in rows if (r["task"], r["probe"]) == (task, probe)]
            layers = {m: [r["layer"] for r in mine if r["model"] == m] for m in models}
            whole = [str(layer) for layer in range(L + 1)]
            assert list(layers.values()) == [[""], whole, whole, [str(L)]]
            steps = {int(row["steps"]) for row in mine}
            assert steps == {8 if probe == "hidden layer" else 4}
    assert {row["utterances"] for row in rows} == {"16"}
    for row in rows:
        assert number(row, "low") - 1e-6 <= number(row, "accuracy") <= number(row, "high") + 1e-6
    # The log-mel spectrogram follows from itself; from states that it went into less well.
    shares = {(row["model"], row["layer"]): number(row, "log_mel_r2") for row in rows}
    assert shares["log-mel", ""] > 0.99
    assert all(share < 1 for place, share in shares.items() if place[1])
    budgets = table(run / "analysis" / "probe_budget.csv")
    found = [(int(b["utterances"]), int(b["steps"])) for b in budgets if b["model"] == "log-mel"]
    assert sorted(found) == [(4, 8), (8, 8), (16, 2), (16, 4), (16, 8)]
    whole = [b for b in budgets if (b["utterances"], b["steps"]) == ("16", "8")]
    deep = [r for r in rows if (r["task"], r["probe"]) == ("phone", "hidden layer")]
    last = {(r["model"], r["layer"]): r["accuracy"] for r in deep}
    assert len(whole) == 2
    for row in whole:
        assert row["accuracy"] == last[row["model"], row["layer"]]
    assert (
        "Probes of layers learned from 16 utterances in at most 8"
        in (run / "report.html").read_text()
    )


def test_probes_with_a_hidden_layer_stand_at_seven_points(full):
    rows = table(full[0] / "analysis" / "ablation_mlp.csv")
    assert {row["ordering"] for row in rows} == set(plans.METRICS)
    assert {row["task"] for row in rows} == set(TASKS[1:])
    kind = {"ordering": "weight", "task": "phone", "probes": "anew", "measure": "accuracy"}
    pruned = [int(row["pruned"]) for row in rows if kind.items() <= row.items()]
    assert pruned == points_of(L * H, True).tolist()
    areas = table(full[0] / "analysis" / "ablation_areas.csv")
    assert {row["probes"] for row in areas} == {
        *(f"{name} ({kind})" for name in ("probes trained anew", "frozen probes")
          for kind in ("linear", "hidden layer")),
    }  # fmt: skip


def test_areas_are_those_of_the_curves(full):
    run, _ = full
    areas = table(run / "figures" / "area_chart.csv")
    curves = table(run / "figures" / "reversed_curves.csv")
    assert len(areas) == 4 * 15
    for row in areas:
        mine = [c for c in curves if all(c[k] == row[k] for k in ("task", "ordering"))]
        if not mine:
            continue
        values = np.array([number(point) for point in mine])
        expected = ((values[1:] + values[:-1]) / 2).mean()
        assert number(row, "area") == pytest.approx(expected, rel=1e-5)
        assert (number(row, "intact"), number(row, "last")) == (values[0], values[-1])


def test_correlations_of_rankings(full):
    rows = table(full[0] / "figures" / "rank_correlations.csv")
    found = {(row["ordering"], row["other"]): number(row, "spearman") for row in rows}
    assert len(found) == 7 * 7
    for (first, second), value in found.items():
        assert value == pytest.approx(found[second, first])
        assert abs(value) <= 1 + 1e-9
        assert first != second or value == pytest.approx(1)
    ranks = table(full[0] / "figures" / "rank_scatter.csv")
    both = [[int(row[f"goes_by_{name}"]) for row in ranks] for name in ("globalness", "weight")]
    assert found["globalness", "weight"] == pytest.approx(np.corrcoef(both)[0, 1], abs=1e-6)


# --- Killed in the middle -------------------------------------------------------------------------


FEW = {"preset": "coarse", "memory_mib": 1}


def analyse(run, out, **changes):
    # Pooled probes alone: layers, which no interruption concerns, are then not probed.
    tasks = ["--ablate.tasks", "reconstruction", "speaker-utterance"]
    return [
        *(sys.executable, "analyze.py", str(run), "--no-pdf", "--out", str(out)),
        *(*options(**(FEW | changes)), *tasks),
    ]


def test_killed_it_goes_on_and_fresh_it_begins_to_the_same_bytes(run, tmp_path):
    whole, killed = (place(tmp_path / name) for name in ("whole", "killed"))
    result = python(*analyse(run, whole))
    assert result.returncode == 0, result.stderr
    assert "were measured before" not in result.stdout
    with subprocess.Popen(
        analyse(run, killed), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not list(killed.glob("analysis/leaves/*/00001.npz")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (killed / "analysis" / "ablation.csv").exists()
    kept = [len(np.load(p)["key"]) for p in sorted(killed.glob("analysis/leaves/*/*.npz"))]
    result = python(*analyse(run, killed))
    assert result.returncode == 0, result.stderr
    done, of = map(int, re.search(r"(\d+) of (\d+) settings were mea", result.stdout).groups())
    assert 0 < done == sum(kept) < of
    for name in ("ablation.csv", "ablation_areas.csv", "ablation.npz"):
        ours, theirs = (out / "analysis" / name for out in (killed, whole))
        assert ours.read_bytes() == theirs.read_bytes(), name


# --- In this process: other settings of the same run ----------------------------------------------


@pytest.fixture(scope="module")
def studied(run):
    """A function that makes the study into a directory; gives what it said and its rows."""
    build = mesh.build_mesh
    patch = pytest.MonkeyPatch()
    patch.setattr(style, "save", lambda figure, directory, stem, pdf: None)

    def on_one(axes, size):
        del axes, size
        auto = (jax.sharding.AxisType.Auto,) * 3
        names = ("data", "fsdp", "model")
        return jax.make_mesh((1, 1, 1), names, axis_types=auto, devices=jax.devices()[:1])

    patch.setattr(mesh, "build_mesh", on_one)

    def study(out, analysis=None, layers=False, **changes):
        analysis = analysis or Analysis(draws=DRAWS, out=out)
        settings = {"preset": "coarse", "tasks": TASKS[:2]} | SMALL | changes
        analysis = dataclasses.replace(analysis, ablate=Ablation(**settings))
        said = []
        loaded = open_run(run, analysis)._replace(say=said.append)
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
        "Which order is cheapest",
    ]
    stems = {path.stem for path in (coarse.path.parent.parent / "figures").iterdir()}
    assert stems == {"task_curves", "compared_curves", "area_chart"} | {
        *("rank_scatter", "rank_correlations", "probes_by_layer")
    }


def test_coarse_probes_the_first_task_of_every_layer(coarse):
    probed = table(coarse.path.parent.parent / "analysis" / "probes_by_layer.csv")
    assert {row["task"] for row in probed} == {"phone"}
    assert {row["probe"] for row in probed} == {"linear", "hidden layer"}
    assert {row["layer"] for row in probed} == {"", "0", "1", "2"}


def test_a_damaged_file_is_told_and_made_anew(coarse, studied):
    out = coarse.path.parent.parent
    before = coarse.path.read_bytes()
    leaves, _ = sorted(out.glob("analysis/leaves/*/*.npz"), key=lambda path: -path.stat().st_size)
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


def test_speech_of_one_speaker_without_labels_leaves_tasks_out_in_words(studied, data, tmp_path):
    tree = trees.write_folder(
        tmp_path / "plain", trees.speak(speakers=1, utterances=6), textgrids=False
    )
    corpus = Corpus(kind="folder", path=tree, data_dir=data)
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
