"""M6 of docs/findings.md: toy_m3 with spans of 6 masked frames."""

import dataclasses

from sat_jax.experiments.toy_m3 import CONFIG as M3

CONFIG = dataclasses.replace(
    M3, name="toy_m6", objective=dataclasses.replace(M3.objective, c_num=6)
)
