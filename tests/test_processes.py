"""analyze.py with all of its studies in two processes: the tables of one, to rounding."""

import csv
import sys

import pytest
from ablation_runs import LEAN
from scripts import PIPES, python
from two_processes import start, without_gloo

from sat_jax.commands.analyze import STUDIES

# Each study as small as can be; figures are empty, see `undrawn`.
FEW = ["--no-pdf", "--only", *STUDIES, *LEAN, "--draws", "50", "--max-utterances", "3"]
FEW += ["--tune-utterances", "2", "--explorer.utterances", "2", "--similarity.draws", "2"]
FEW += ["--ablate.preset", "coarse", "--ablate.tasks", "reconstruction", "speaker-frame"]
FEW += ["--ablate.train-utterances", "8", "--ablate.mlp-utterances", "8", "--ablate.draws", "1"]
FEW += ["--ablate.probe-steps", "10", "--ablate.mlp-steps", "10", "--ablate.hidden", "8"]
FEW += ["--ablate.probe-seeds", "1", "--ablate.max-frames", "48"]

TABLES = ("heads", "phone_shares", "segmentation", "ablation", "probes_by_layer", "probes")
TABLES += ("patterns", "similarity", "layers")
CHAOTIC = ("tsne_1", "tsne_2")
"""Columns that rounding of maps turns around: t-SNE's places."""
WITHIN = {"rel": 1e-5, "abs": 2e-5}
"""Tables have seven digits; signed offsets are means of distances of up to a hundred positions."""


def tables_of(out):
    paths = sorted(
        path for place in ("analysis", "figures") for path in (out / place).glob("*.csv")
    )
    return {str(path.relative_to(out)): read(path) for path in paths}


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def number(cell):
    try:
        return float(cell)
    except ValueError:
        return cell


@pytest.mark.pods
def test_two_processes_find_in_every_study_what_one_finds(tiny_run, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    command = ["tests/undrawn.py", str(tiny_run.path), *FEW, "--out"]
    alone = python(sys.executable, *command, str(one))
    assert alone.returncode == 0, alone.stderr
    started = start([*command, str(two)], **PIPES)
    said = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert not without_gloo(said[1][0]), "only process 0 speaks"
    assert "processes (" in said[0][0]
    expected, found = tables_of(one), tables_of(two)
    assert set(found) == set(expected)
    assert {f"analysis/{name}.csv" for name in TABLES} <= set(found)
    for path, rows in expected.items():
        assert len(found[path]) == len(rows), path
        for ours, theirs in zip(found[path], rows, strict=True):
            assert list(ours) == list(theirs), path
            for name in ours.keys() - set(CHAOTIC):
                a, b = number(ours[name]), number(theirs[name])
                b = b if isinstance(b, str) else pytest.approx(b, nan_ok=True, **WITHIN)
                assert a == b, (path, name, theirs)
    for name in ("report.html", "explorer.html"):
        assert abs((two / name).stat().st_size - (one / name).stat().st_size) < 2000
