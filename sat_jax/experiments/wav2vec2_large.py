"""wav2vec 2.0 LARGE as of LibriVox and XLSR-53: 24 layers of 16 heads, pre-LN."""

from sat_jax.config import Config, Convolutions, Model, NoObjective

CONFIG = Config(
    name="wav2vec2_large",
    model=Model(
        kind="wav2vec2",
        frontend=Convolutions(bias=True, norm="layer", normalize_audio=True),
        layers=24,
        heads=16,
        width=1024,
        ffn=4096,
        pre_ln=True,
        layer_norm_eps=1e-5,
    ),
    objective=NoObjective(),
)
