"""toy_plain, with the demo's masks, naming clusters of MFCC as HuBERT does."""

import dataclasses

from sat_jax.config import MaskedUnits
from sat_jax.experiments.toy_plain import CONFIG as TOY

CONFIG = dataclasses.replace(
    TOY,
    name="toy_units",
    objective=MaskedUnits(
        mask_share=0.3, mask_length=1, unit_width=64, unmasked_weight=0.5, units_normalize=True
    ),
)
