"""wav2vec 2.0 LARGE as of LibriVox and XLSR-53: 24 layers of 16 heads, pre-LN."""

from sat_jax.config import AdamW, Batches, Config, Contrastive, Convolutions, Loop, Model

CONFIG = Config(
    name="wav2vec2_large",
    model=Model(
        kind="wav2vec2",
        frontend=Convolutions(bias=True, norm="layer", normalize_audio=True),
        layers=24,
        heads=16,
        width=1024,
        ffn=4096,
        dropout=0.0,
        pre_ln=True,
        layer_norm_eps=1e-5,
    ),
    objective=Contrastive(code_width=384, gumbel_end=0.1, penalty_weight=0.0, stem_gradient=1.0),
    optim=AdamW(peak_lr=3e-4, warmup_share=0.032, beta2=0.98, epsilon=1e-6),
    # 2.7 hours a step, as the paper's 128 GPUs have; crops of 20 s.
    batches=Batches(size=480, max_frames=1000),
    loop=Loop(steps=1_000_000),
)
