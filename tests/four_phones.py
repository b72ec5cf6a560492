"""Four phones, and attention among them that is given utterance by utterance."""

import numpy as np

from sat_jax.analysis.phone_summary import (
    Attention,
)

PHONES = ("sil", "a", "b", "s")
P, SILENCE = len(PHONES), 0


def one_each(joint, own, joint_uniform, own_uniform):
    return Attention(np.ones(len(joint)), joint, own, joint_uniform, own_uniform)
