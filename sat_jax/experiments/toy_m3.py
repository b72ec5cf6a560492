"""M3 of docs/findings.md: toy_plain with 15 % of the frames masked, trained by AdamW."""

import dataclasses

from sat_jax.config import AdamW, Loop, MaskedReconstruction
from sat_jax.experiments.toy_plain import CONFIG as PLAIN

CONFIG = dataclasses.replace(
    PLAIN,
    name="toy_m3",
    objective=MaskedReconstruction(position_offset=150),
    optim=AdamW(peak_lr=1e-3, warmup_share=0.1, final_lr_share=0.05, beta2=0.98),
    loop=Loop(steps=2400, log_every=20, valid_every=500, checkpoint_every=500),
)
