"""HuBERT LARGE: 24 layers of 16 heads, pre-LN."""

from sat_jax.config import Config, Convolutions, Model, NoObjective

CONFIG = Config(
    name="hubert_large",
    model=Model(
        kind="hubert",
        frontend=Convolutions(norm="layer", normalize_audio=True),
        layers=24,
        heads=16,
        width=1024,
        ffn=4096,
        pre_ln=True,
        layer_norm_eps=1e-5,
    ),
    objective=NoObjective(),
)
