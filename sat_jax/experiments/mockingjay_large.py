"""Mockingjay LARGE: 12 layers of 12 heads, linear target; --objective.c-num 3, 6 or 9."""

from sat_jax.config import AdamW, Batches, Config, Features, Loop, MaskedReconstruction, Model

CONFIG = Config(
    name="mockingjay_large",
    features=Features(deltas=1, target="linear", target_n_fft=2048),
    model=Model(layers=12),
    objective=MaskedReconstruction(c_num=3),
    optim=AdamW(),
    batches=Batches(size=6, max_frames=1500),
    loop=Loop(steps=500_000),
)
