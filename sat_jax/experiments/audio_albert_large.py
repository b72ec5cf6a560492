"""Audio ALBERT with 12 layers."""

import dataclasses

from sat_jax.experiments.audio_albert import CONFIG as BASE

CONFIG = dataclasses.replace(
    BASE, name="audio_albert_large", model=dataclasses.replace(BASE.model, layers=12)
)
