"""TERA BASE (arXiv:2007.06028): s3prl's 3 layers of 12 heads and its features; hides time, channels
and magnitude."""

from sat_jax.config import AdamW, Batches, Config, Features, Loop, Model, StackedFrames, Tera

CONFIG = Config(
    name="tera_base",
    features=Features(recipe="s3prl"),
    model=Model(layers=3, frontend=StackedFrames(stack=1)),
    objective=Tera(),
    optim=AdamW(peak_lr=2e-4, clip_norm=5.0),
    batches=Batches(size=32, max_frames=1500),
    loop=Loop(steps=1_000_000),
)
