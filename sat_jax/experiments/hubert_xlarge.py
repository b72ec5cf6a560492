"""HuBERT X-LARGE: 48 layers of 16 heads, pre-LN."""

from sat_jax.config import Config, Convolutions, Model, NoObjective

CONFIG = Config(
    name="hubert_xlarge",
    model=Model(
        kind="hubert",
        frontend=Convolutions(norm="layer", normalize_audio=True),
        layers=48,
        heads=16,
        width=1280,
        ffn=5120,
        pre_ln=True,
        layer_norm_eps=1e-5,
    ),
    objective=NoObjective(),
)
