"""wav2vec 2.0 BASE (arXiv:2006.11477): 12 layers of 12 heads on raw audio."""

from sat_jax.config import AdamW, Batches, Config, Contrastive, Convolutions, Loop, Model

CONFIG = Config(
    name="wav2vec2_base",
    model=Model(
        kind="wav2vec2",
        frontend=Convolutions(),
        layers=12,
        heads=12,
        width=768,
        ffn=3072,
        layer_drop=0.05,
        layer_norm_eps=1e-5,
    ),
    objective=Contrastive(),
    optim=AdamW(peak_lr=5e-4, warmup_share=0.08, beta2=0.98, epsilon=1e-6),
    # 1.6 hours a step, as the paper's 64 GPUs have; crops of 15.6 s.
    batches=Batches(size=352, max_frames=780),
    loop=Loop(steps=400_000),
)
