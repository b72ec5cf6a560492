"""TERA LARGE: tera_base with 12 layers."""

import dataclasses

from sat_jax.experiments.tera_base import CONFIG as BASE

CONFIG = dataclasses.replace(
    BASE, name="tera_large", model=dataclasses.replace(BASE.model, layers=12)
)
