"""HuBERT LARGE: 24 layers of 16 heads, pre-LN; names 500 clusters of layer 9 of a base model."""

from pathlib import Path

from sat_jax.config import AdamW, Batches, Config, Convolutions, Loop, MaskedUnits, Model

CONFIG = Config(
    name="hubert_large",
    model=Model(
        kind="hubert",
        frontend=Convolutions(norm="layer", normalize_audio=True),
        layers=24,
        heads=16,
        width=1024,
        ffn=4096,
        dropout=0.0,
        pre_ln=True,
        layer_norm_eps=1e-5,
    ),
    objective=MaskedUnits(
        units=500,
        unit_width=768,
        units_from=Path("runs/hubert_two"),
        units_layer=9,
        stem_gradient=1.0,
    ),
    optim=AdamW(peak_lr=1.5e-3, warmup_share=0.08, beta2=0.98, epsilon=1e-6),
    # 2 hours a step, as the paper's 128 GPUs have; crops of 15.6 s.
    batches=Batches(size=464, max_frames=780),
    loop=Loop(steps=400_000),
)
