"""wav2vec 2.0 BASE (arXiv:2006.11477): 12 layers of 12 heads on raw audio."""

from sat_jax.config import Config, Convolutions, Model, NoObjective

CONFIG = Config(
    name="wav2vec2_base",
    model=Model(
        kind="wav2vec2",
        frontend=Convolutions(),
        layers=12,
        heads=12,
        width=768,
        ffn=3072,
        layer_norm_eps=1e-5,
    ),
    objective=NoObjective(),
)
