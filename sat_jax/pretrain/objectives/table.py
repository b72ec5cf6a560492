"""A config's objective in, how it is learned out."""

from sat_jax import config as settings
from sat_jax.errors import InputError
from sat_jax.pretrain.objectives.contrastive import CONTRASTIVE
from sat_jax.pretrain.objectives.ctc import CTC
from sat_jax.pretrain.objectives.masked_units import MASKED_UNITS
from sat_jax.pretrain.objectives.objective import Objective
from sat_jax.pretrain.objectives.reconstruction import MASKED_RECONSTRUCTION, TERA


def objective_of(objective: settings.Objective) -> Objective:
    """How the objective of a config is learned; raises `InputError` where there is none."""
    if type(objective) not in OBJECTIVES:
        raise InputError(
            "objective is none, so there is nothing to train for: give --objective "
            "masked_reconstruction, contrastive, masked_units, ctc, or another that the model can "
            "learn"
        )
    return OBJECTIVES[type(objective)]


OBJECTIVES: dict[type[settings.Objective], Objective] = {
    settings.MaskedReconstruction: MASKED_RECONSTRUCTION,
    settings.Tera: TERA,
    settings.Contrastive: CONTRASTIVE,
    settings.MaskedUnits: MASKED_UNITS,
    settings.Ctc: CTC,
}
