"""A small Audio ALBERT: toy_plain with one layer, used six times."""

import dataclasses

from sat_jax.experiments.toy_plain import CONFIG as TOY

CONFIG = dataclasses.replace(
    TOY, name="toy_albert", model=dataclasses.replace(TOY.model, share_layers=True)
)
