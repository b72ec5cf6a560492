"""TERA BASE: s3prl's 3 layers of 12 heads and its features; trained here with masked time only."""

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
    name="tera_base",
    features=Features(recipe="s3prl"),
    model=Model(layers=3, frontend=StackedFrames(stack=1)),
    objective=MaskedReconstruction(c_num=7),
    optim=AdamW(peak_lr=2e-4, clip_norm=5.0),
    batches=Batches(size=32, max_frames=1500),
    loop=Loop(steps=1_000_000),
)
