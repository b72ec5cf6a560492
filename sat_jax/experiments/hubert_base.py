"""HuBERT BASE (arXiv:2106.07447), first iteration: names 100 clusters of MFCC.

The second: --objective.units 500 --objective.units-from runs/hubert_base --run-dir runs/hubert_two
--loop.steps 400000.
"""

from sat_jax.config import AdamW, Batches, Config, Convolutions, Loop, MaskedUnits, Model

CONFIG = Config(
    name="hubert_base",
    model=Model(
        kind="hubert",
        frontend=Convolutions(),
        layers=12,
        heads=12,
        width=768,
        ffn=3072,
        layer_drop=0.05,
        layer_norm_eps=1e-5,
    ),
    objective=MaskedUnits(),
    optim=AdamW(peak_lr=5e-4, warmup_share=0.08, beta2=0.98, epsilon=1e-6, clip_norm=10.0),
    # 47 minutes a step, as the paper's 32 GPUs have; crops of 15.6 s.
    batches=Batches(size=176, max_frames=780),
    loop=Loop(steps=250_000),
)
