"""Every objective on a model that is as small as can be, trained for a few steps on made-up speech.

As a script it is one of several processes, and prints the losses of all objectives:
python tests/objective_runs.py HOST:PORT PROCESSES PROCESS
"""

import json
import sys

import jax
import numpy as np

from sat_jax import mesh
from sat_jax.config import (
    AdamW,
    Batches,
    Config,
    Contrastive,
    Convolutions,
    Ctc,
    Distributed,
    Features,
    Loop,
    MaskedReconstruction,
    MaskedUnits,
    Mesh,
    Model,
    Tera,
)
from sat_jax.model.build import build_model
from sat_jax.pretrain.optim import optimizer
from sat_jax.pretrain.step import init_state, sharded_state, train_step

SAMPLES = 400 + 320 * 23
STEPS = 20
SIZES = {"layers": 2, "heads": 2, "width": 16, "ffn": 32, "dropout": 0.1, "init_std": None}
SPECTRAL = Model(**SIZES)
RAW = Model(
    kind="wav2vec2",
    frontend=Convolutions(
        channels=(4, 8, 8), kernels=(10, 8, 8), strides=(10, 8, 4), position_kernel=5,
        position_groups=2,
    ),
    layer_norm_eps=1e-5,
    **SIZES,
)  # fmt: skip
LETTERS = Model(**{**RAW.__dict__, "letters": ("_", "a", "b"), "kind": "hubert"})
FEW = Contrastive(mask_share=0.5, mask_length=3, negatives=7, groups=2, codes=6, code_width=4)
UNITS = MaskedUnits(mask_share=0.5, mask_length=3, units=5, unit_width=6)
CASES = {
    "masked_reconstruction": (SPECTRAL, MaskedReconstruction(position_offset=3)),
    "tera": (SPECTRAL, Tera(c_num=3, magnitude_share=0.5)),
    "contrastive": (RAW, FEW),
    "contrastive on spectra": (SPECTRAL, FEW),
    "masked_units": (RAW, UNITS),
    "masked_units on spectra": (SPECTRAL, UNITS),
    "ctc": (LETTERS, Ctc(mask_share=0.2, mask_length=2)),
}

CLUSTERED = ("masked_reconstruction", "tera", "contrastive", "masked_units", "ctc")
"""Those that are trained on several devices and in several processes: one of each objective."""


def config_of(name, **more):
    """The config of one case."""
    model, objective = CASES[name]
    return Config(
        features=Features(mels=8, mfccs=8),
        model=model,
        objective=objective,
        optim=AdamW(peak_lr=3e-3, warmup_share=0.2),
        batches=Batches(size=8, max_frames=48, **more),
        loop=Loop(steps=STEPS),
    )


def batch_of(config, step):
    """Audio, lengths and, where the objective needs them, labels: whole arrays (B, ...)."""
    rng = np.random.default_rng(step)
    lengths = rng.integers(SAMPLES // 2, SAMPLES + 1, 8).astype(np.int32)
    lengths[0] = SAMPLES
    time = np.arange(SAMPLES) / 16000
    audio = 8000 * np.sin(2 * np.pi * rng.uniform(300, 3000, (8, 1)) * time * (1 + time))
    audio += rng.normal(0, 30, audio.shape)
    audio = np.where(np.arange(SAMPLES) < lengths[:, None], audio, 0).astype(np.int16)
    positions = build_model(config).grid.positions(SAMPLES)
    if isinstance(config.objective, MaskedUnits):
        return audio, lengths, rng.integers(0, 5, (8, positions)).astype(np.int32)
    if isinstance(config.objective, Ctc):
        letters = np.full((8, positions), -1, np.int32)
        letters[:, :2] = rng.integers(1, 3, (8, 2))
        return audio, lengths, letters
    return audio, lengths


class Run:
    """The training of one config on a mesh."""

    def __init__(self, config, devices):
        self.config, self.mesh = config, devices
        self.model = build_model(config)
        tx = optimizer(config.optim, config.loop.steps, devices)
        self.abstract, self.make = sharded_state(init_state(config, self.model, tx), devices)
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        self.step = train_step(config, self.model, tx, devices, shardings)

    def placed(self, step):
        rows = slice(None)
        if jax.process_count() > 1:
            share = 8 // jax.process_count()
            rows = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
        batch = tuple(array[rows] for array in batch_of(self.config, step))
        return mesh.place_batch(batch, self.mesh)

    def go(self, state, first, last):
        metrics = []
        for number in range(first, last):
            state, found = self.step(state, *self.placed(number))
            metrics.append(jax.device_get(found))
        return state, metrics


def curve(name, devices, steps=STEPS):
    """The losses of one case."""
    run = Run(config_of(name), devices)
    return [float(each.loss) for each in run.go(run.make(), 0, steps)[1]]


if __name__ == "__main__":
    coordinator, processes, process = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    mesh.join_cluster(Distributed(False, coordinator, processes, process))
    everywhere = mesh.build_mesh(Mesh(), 8)
    found = {name: curve(name, everywhere) for name in CLUSTERED}
    if process == 0:
        print(json.dumps(found), flush=True)
