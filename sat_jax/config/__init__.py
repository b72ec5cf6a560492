"""Every setting of an experiment, as frozen dataclasses. Ground floor: imports no jax, no numpy.

A config is built by one file under `configs/`, changed by the command line, checked once
(`config.check`) and written into the run that it made (`config.json`). The text under a field is
its `--help`.
"""

from sat_jax.config.analysis import Ablation, Analysis, Explorer, Export, Similarity
from sat_jax.config.attention import Attention, GatedBias, QueryKey
from sat_jax.config.corpus import Corpus, Talker
from sat_jax.config.features import Features
from sat_jax.config.model import Convolutions, Frontend, Model, StackedFrames
from sat_jax.config.objective import (
    Contrastive,
    Ctc,
    MaskedReconstruction,
    MaskedUnits,
    NoObjective,
    Objective,
    Tera,
)
from sat_jax.config.plan import Plan
from sat_jax.config.train import (
    AdamW,
    Batches,
    Config,
    Distributed,
    Loop,
    Mesh,
    Muon,
    Optim,
)

__all__ = [
    "Ablation",
    "AdamW",
    "Analysis",
    "Attention",
    "Batches",
    "Config",
    "Contrastive",
    "Convolutions",
    "Corpus",
    "Ctc",
    "Distributed",
    "Explorer",
    "Export",
    "Features",
    "Frontend",
    "GatedBias",
    "Loop",
    "MaskedReconstruction",
    "MaskedUnits",
    "Mesh",
    "Model",
    "Muon",
    "NoObjective",
    "Objective",
    "Optim",
    "Plan",
    "QueryKey",
    "Similarity",
    "StackedFrames",
    "Talker",
    "Tera",
]
