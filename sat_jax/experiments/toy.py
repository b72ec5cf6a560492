"""The demo: a small Mockingjay that grows all three kinds of heads in minutes on a CPU."""

import dataclasses

from sat_jax.config import QueryKey
from sat_jax.experiments.toy_plain import CONFIG as PLAIN

# Masked speech is filled in from what stands beside it. Heads that begin by looking there learn in
# 1000 steps what takes the others 1900 (docs/findings.md).
NEIGHBOURS = (-1, 1, -2, 2, -1, 1, 0, 0)

CONFIG = dataclasses.replace(
    PLAIN,
    name="toy",
    model=dataclasses.replace(
        PLAIN.model, attention=QueryKey(neighbours=NEIGHBOURS, init_scale=2.0)
    ),
    loop=dataclasses.replace(PLAIN.loop, steps=1000),
)
