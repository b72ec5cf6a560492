"""Four phones, and attention among them that is given utterance by utterance."""

import numpy as np

from sat_jax.analysis.phone_summary import Attention

PHONES = ("sil", "a", "b", "s")
P, SILENCE = len(PHONES), 0


def one_each(joint, own, joint_uniform, own_uniform):
    """What of a diagonal is not in the own segment is in others of the same phone."""
    recurring, recurring_uniform = (
        np.diagonal(pairs, axis1=-2, axis2=-1) - inside
        for pairs, inside in ((joint, own), (joint_uniform, own_uniform))
    )
    return Attention(
        np.ones(len(joint)), joint, own, recurring, joint_uniform, own_uniform, recurring_uniform
    )
