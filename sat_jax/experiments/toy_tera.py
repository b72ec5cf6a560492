"""A small TERA: toy_plain, with channels and magnitude altered as well."""

import dataclasses

from sat_jax.config import Tera
from sat_jax.experiments.toy_plain import CONFIG as TOY

CONFIG = dataclasses.replace(
    TOY,
    name="toy_tera",
    objective=Tera(mask_share=0.3, c_num=3, position_offset=84),
)
