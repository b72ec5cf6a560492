"""A small wav2vec 2.0 on raw audio: tells quantised features apart."""

import dataclasses

from sat_jax.experiments.toy_contrastive import CONFIG as CONTRASTIVE
from sat_jax.experiments.toy_hubert import CONFIG as HUBERT

CONFIG = dataclasses.replace(
    HUBERT,
    name="toy_wav2vec2",
    model=dataclasses.replace(HUBERT.model, kind="wav2vec2"),
    objective=dataclasses.replace(CONTRASTIVE.objective, mask_length=2, stem_gradient=1.0),
)
