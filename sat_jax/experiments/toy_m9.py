"""The demo with spans of 9 masked frames (M9 of the paper): compare with toy and toy_m6."""

import dataclasses

from sat_jax.experiments.toy import CONFIG as TOY

CONFIG = dataclasses.replace(
    TOY, name="toy_m9", objective=dataclasses.replace(TOY.objective, c_num=9)
)
