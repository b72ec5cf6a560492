"""WavLM LARGE: 24 layers of 16 heads, pre-LN, a gated position bias."""

from sat_jax.config import Config, Convolutions, GatedBias, Model, NoObjective

CONFIG = Config(
    name="wavlm_large",
    model=Model(
        kind="wavlm",
        frontend=Convolutions(norm="layer", normalize_audio=True),
        attention=GatedBias(),
        layers=24,
        heads=16,
        width=1024,
        ffn=4096,
        pre_ln=True,
        layer_norm_eps=1e-5,
    ),
    objective=NoObjective(),
)
