"""Config in, gradient transformation out: AdamW, warm-up, decay, clipping."""

from typing import Any

import jax
import optax

from sat_jax.config import Optim
from sat_jax.errors import InputError


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


def optimizer(optim: Optim, steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) after clipping by global norm."""
    return optax.chain(
        optax.clip_by_global_norm(optim.clip_norm),
        optax.adamw(
            learning_rate(optim, steps),
            b1=optim.beta1,
            b2=optim.beta2,
            weight_decay=optim.weight_decay,
            mask=decayed,
        ),
    )
