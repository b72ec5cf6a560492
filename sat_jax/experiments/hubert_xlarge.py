"""HuBERT X-LARGE: 48 layers of 16 heads, pre-LN; names the same clusters as hubert_large."""

import dataclasses

from sat_jax.experiments.hubert_large import CONFIG as LARGE

CONFIG = dataclasses.replace(
    LARGE,
    name="hubert_xlarge",
    model=dataclasses.replace(LARGE.model, layers=48, width=1280, ffn=5120),
    objective=dataclasses.replace(LARGE.objective, unit_width=1024),
    optim=dataclasses.replace(LARGE.optim, peak_lr=3e-3),
)
