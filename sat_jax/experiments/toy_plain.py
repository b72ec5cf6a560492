"""The demo's model whose heads have yet to find their neighbours: what others compare with."""

from sat_jax.config import (
    Batches,
    Config,
    Loop,
    MaskedReconstruction,
    Model,
    Muon,
    QueryKey,
    StackedFrames,
)

CONFIG = Config(
    name="toy_plain",
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
    # Twice the paper's share of masked frames: more to learn from in every step.
    objective=MaskedReconstruction(mask_share=0.3, position_offset=84),
    optim=Muon(peak_lr=3e-3, warmup_share=0.1, beta2=0.98, momentum=0.9),
    batches=Batches(size=8, max_frames=336, buckets=1),
    loop=Loop(steps=1900, log_every=20, valid_every=500, checkpoint_every=500),
)
