"""M3 of docs/findings.md: the demo's model with spans of 3 masked frames, trained by AdamW."""

from sat_jax.config import (
    AdamW,
    Batches,
    Config,
    Loop,
    MaskedReconstruction,
    Model,
    QueryKey,
    StackedFrames,
)

CONFIG = Config(
    name="toy_m3",
    model=Model(
        frontend=StackedFrames(max_positions=512, position_base=100.0, init_std=0.03),
        attention=QueryKey(tied=True, init_scale=1.5),
        layers=6,
        heads=8,
        width=128,
        ffn=512,
        dropout=0.0,
        init_std=None,
        residual_init_scale=0.3,
    ),
    objective=MaskedReconstruction(position_offset=150),
    optim=AdamW(peak_lr=1e-3, warmup_share=0.1, final_lr_share=0.05, beta2=0.98),
    batches=Batches(size=8, max_frames=336, buckets=1),
    loop=Loop(steps=2400, log_every=20, valid_every=500, checkpoint_every=500),
)
