"""Config in, gradient transformation out: AdamW or Muon, warm-up, decay, clipping."""

from typing import Any

import jax
import optax
from jax.sharding import Mesh as DeviceMesh

from sat_jax.config import Muon, Optim
from sat_jax.errors import InputError
from sat_jax.pretrain.muon import orthogonalised_updates


def learning_rate(optim: Optim, steps: int) -> optax.Schedule:
    """Linear rise over the first `warmup_share` of the steps, then linear fall."""
    warmup = round(optim.warmup_share * steps)
    if warmup >= steps:
        raise InputError(f"optim.warmup-share leaves no step after warm-up of {steps}: lower it")
    final = optim.peak_lr * optim.final_lr_share
    # Step 0 already learns: with warmup w the rates are peak/w, 2 peak/w, ..., peak.
    rise = optax.linear_schedule(optim.peak_lr / max(warmup, 1), optim.peak_lr, max(warmup - 1, 1))
    fall = optax.linear_schedule(optim.peak_lr, final, max(steps - warmup, 1))
    return optax.join_schedules([rise, fall], [warmup]) if warmup else fall


def decayed(params: Any) -> Any:
    """True for kernels: biases and normalisation are never decayed, in any layout of layers."""

    def is_kernel(path: tuple[Any, ...], _: jax.Array) -> bool:
        return path[-1].key == "kernel"

    return jax.tree_util.tree_map_with_path(is_kernel, params)


def optimizer(
    optim: Optim, steps: int, mesh: DeviceMesh | None = None
) -> optax.GradientTransformation:
    """The optimiser of a config after clipping by global norm; `mesh` shares out Muon's work."""
    clip = optax.clip_by_global_norm(optim.clip_norm)
    if isinstance(optim, Muon):
        return optax.chain(clip, muon(optim, steps, mesh))
    return optax.chain(clip, adamw(optim, steps))


def adamw(optim: Optim, steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019)."""
    return optax.adamw(
        learning_rate(optim, steps),
        b1=optim.beta1,
        b2=optim.beta2,
        eps=optim.epsilon,
        weight_decay=optim.weight_decay,
        mask=decayed,
    )


def muon(optim: Muon, steps: int, mesh: DeviceMesh | None) -> optax.GradientTransformation:
    """Muon (Jordan et al. 2024) on the kernels of the encoder, AdamW on everything else.

    Updates are scaled so that their root mean square is `matrix_rms` of the learning rate whatever
    the shape (Liu et al. 2025, arXiv:2502.16982), which lets both share one learning rate.
    """
    matrices = optax.chain(
        optax.trace(optim.momentum, nesterov=True),
        orthogonalised_updates(optim.newton_schulz, optim.matrix_rms, mesh),
        optax.add_decayed_weights(optim.weight_decay),
        optax.scale_by_learning_rate(learning_rate(optim, steps)),
    )
    return optax.partition({"matrix": matrices, "other": adamw(optim, steps)}, matrix_labels)


def matrix_labels(params: Any) -> Any:
    """ "matrix" for the encoder's kernels (of scanned layers: stacks of them), "other" else."""

    def label(path: tuple[Any, ...], leaf: jax.Array) -> str:
        names = [key.key for key in path]
        return "matrix" if names[0] == "encoder" and names[-1] == "kernel" else "other"

    return jax.tree_util.tree_map_with_path(label, params)
