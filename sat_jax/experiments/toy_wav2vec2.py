"""A small wav2vec 2.0 on raw audio: tells quantised features apart, in minutes on a CPU."""

import dataclasses

from sat_jax.config import Contrastive
from sat_jax.experiments.toy_hubert import CONFIG as HUBERT

CONFIG = dataclasses.replace(
    HUBERT,
    name="toy_wav2vec2",
    model=dataclasses.replace(HUBERT.model, kind="wav2vec2"),
    objective=Contrastive(groups=2, codes=64, code_width=32, gumbel_decay=0.999, stem_gradient=1.0),
)
