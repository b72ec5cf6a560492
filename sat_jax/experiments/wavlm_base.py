"""WavLM BASE (arXiv:2110.13900): 12 layers of 12 heads, a gated position bias."""

from sat_jax.config import Config, Convolutions, GatedBias, Model, NoObjective

CONFIG = Config(
    name="wavlm_base",
    model=Model(
        kind="wavlm",
        frontend=Convolutions(),
        attention=GatedBias(),
        layers=12,
        heads=12,
        width=768,
        ffn=3072,
        layer_norm_eps=1e-5,
    ),
    objective=NoObjective(),
)
