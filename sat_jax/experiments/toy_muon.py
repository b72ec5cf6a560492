"""The demo's model with Muon and pre-LN: lower loss in about as long, but fewer kinds of heads."""

import dataclasses

from sat_jax.config import Muon
from sat_jax.experiments.toy import CONFIG as TOY

CONFIG = dataclasses.replace(
    TOY,
    name="toy_muon",
    model=dataclasses.replace(TOY.model, pre_ln=True),
    objective=dataclasses.replace(TOY.objective, position_offset=40),
    optim=Muon(peak_lr=2e-3, warmup_share=0.1, final_lr_share=0.0, beta2=0.98, momentum=0.9),
    loop=dataclasses.replace(TOY.loop, steps=1800),
)
