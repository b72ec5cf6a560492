"""toy_plain, with the demo's masks, telling codes apart as wav2vec 2.0 does."""

import dataclasses

from sat_jax.config import Contrastive
from sat_jax.experiments.toy_plain import CONFIG as TOY

CONFIG = dataclasses.replace(
    TOY,
    name="toy_contrastive",
    # Small code books and soft first choices: they do not collapse and learn soon.
    objective=Contrastive(
        mask_share=0.3,
        mask_length=1,
        negatives=50,
        groups=8,
        codes=8,
        code_width=16,
        logit_std=0.1,
        gumbel_start=1.0,
        gumbel_decay=0.995,
    ),
)
