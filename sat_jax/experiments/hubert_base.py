"""HuBERT BASE (arXiv:2106.07447): 12 layers of 12 heads on raw audio."""

from sat_jax.config import Config, Convolutions, Model, NoObjective

CONFIG = Config(
    name="hubert_base",
    model=Model(
        kind="hubert",
        frontend=Convolutions(),
        layers=12,
        heads=12,
        width=768,
        ffn=3072,
        layer_norm_eps=1e-5,
    ),
    objective=NoObjective(),
)
