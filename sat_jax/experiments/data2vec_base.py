"""data2vec-audio BASE (arXiv:2202.03555): 12 layers of 12 heads on raw audio."""

from sat_jax.config import Config, Convolutions, Model, NoObjective

CONFIG = Config(
    name="data2vec_base",
    model=Model(
        kind="data2vec",
        frontend=Convolutions(
            norm="layer",
            normalize_audio=True,
            position_kernel=19,
            position_layers=5,
            position_norm="layer",
        ),
        layers=12,
        heads=12,
        width=768,
        ffn=3072,
        layer_norm_eps=1e-5,
    ),
    objective=NoObjective(),
)
