"""Mockingjay BASE: 3 layers of 12 heads, no stacking, spans of 7 frames; log-mel and deltas in."""

from sat_jax.config import (
    AdamW,
    Batches,
    Config,
    Features,
    Loop,
    MaskedReconstruction,
    Model,
    StackedFrames,
)

CONFIG = Config(
    name="mockingjay_base",
    features=Features(deltas=1),
    model=Model(layers=3, frontend=StackedFrames(stack=1)),
    objective=MaskedReconstruction(c_num=7),
    optim=AdamW(),
    batches=Batches(size=6, max_frames=1500),
    loop=Loop(steps=500_000),
)
