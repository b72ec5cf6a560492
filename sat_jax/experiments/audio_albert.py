"""Audio ALBERT (arXiv:2005.08575): 3 layers of 12 heads that share their parameters, on s3prl's
features; masked frames only."""

import dataclasses

from sat_jax.config import MaskedReconstruction
from sat_jax.experiments.tera_base import CONFIG as TERA

CONFIG = dataclasses.replace(
    TERA,
    name="audio_albert",
    model=dataclasses.replace(TERA.model, share_layers=True),
    objective=MaskedReconstruction(c_num=7),
)
