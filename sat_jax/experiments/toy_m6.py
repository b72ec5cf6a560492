"""The demo with spans of 6 masked frames (M6 of the paper): compare with toy and toy_m9."""

import dataclasses

from sat_jax.experiments.toy import CONFIG as TOY

CONFIG = dataclasses.replace(
    TOY, name="toy_m6", objective=dataclasses.replace(TOY.objective, c_num=6)
)
