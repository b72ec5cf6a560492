"""The ablation study as small as can be: its options, its heads and readers of its tables."""

import csv

import numpy as np
from head_tables import write_head_table

from sat_jax.records.heads import RANKED

L, H = 2, 4
TASKS = ("reconstruction", "phone", "speaker-frame", "speaker-utterance")
SMALL = {"train_utterances": 12, "valid_utterances": 4, "test_utterances": 4, "max_frames": 96}
SMALL |= {"probe_steps": 6, "probe_batch": 64, "hidden": 8, "draws": 2}
SMALL |= {"mlp_utterances": 16, "mlp_steps": 8}
DRAWS = 50
LEAN = ["--batch-size", "4", "--buckets", "1"]
"""As few rows of padding and as few lengths to compile for as can be."""


def options(**changes):
    """SMALL and more as the command line has it."""
    known = {f"--ablate.{name.replace('_', '-')}": v for name, v in (SMALL | changes).items()}
    text = [each for name, value in known.items() for each in (name, str(value))]
    return ["--only", "ablate", "--draws", str(DRAWS), *LEAN, *text]


def place(out):
    """A directory for results in which the heads study has been, with numbers made up."""
    rng = np.random.default_rng(7)
    metrics = {name: rng.random((L, H)) for name in RANKED}
    for name in ("heads.npz", "heads_untrained.npz"):
        write_head_table(out / "analysis" / name, metrics)
    return out


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def number(row, name="value"):
    return float(row[name])
