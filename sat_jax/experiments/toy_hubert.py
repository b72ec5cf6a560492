"""A small HuBERT on raw audio: names clusters of MFCC, in minutes on a CPU."""

from sat_jax.config import Batches, Config, Convolutions, Loop, MaskedUnits, Model, Muon

CONFIG = Config(
    name="toy_hubert",
    model=Model(
        kind="hubert",
        frontend=Convolutions(
            channels=(32, 64, 64, 128, 128, 128, 128), position_kernel=32, position_groups=8
        ),
        layers=6,
        heads=8,
        width=128,
        ffn=512,
        dropout=0.0,
        layer_norm_eps=1e-5,
        init_std=None,
        residual_init_scale=0.3,
    ),
    objective=MaskedUnits(
        mask_share=0.3,
        mask_length=2,
        unit_width=64,
        unmasked_weight=0.5,
        units_normalize=True,
        stem_gradient=1.0,
    ),
    optim=Muon(peak_lr=2e-3, warmup_share=0.1, beta2=0.98, momentum=0.9),
    batches=Batches(size=8, max_frames=168, buckets=1),
    loop=Loop(steps=1500, log_every=20, valid_every=250, checkpoint_every=500),
)
