"""Config in, gradient transformation out: AdamW or Muon, warm-up, decay, clipping."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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
    rule = muon(optim, steps, mesh) if isinstance(optim, Muon) else adamw(optim, steps)
    if optim.average:
        return optax.chain(clip, rule, running_mean(optim.average))
    return optax.chain(clip, rule)


class RunningMean(NamedTuple):
    """Part of an optimiser's state: the mean of the parameters so far."""

    count: jax.Array
    """() updates."""
    params: Any


def running_mean(decay: float) -> optax.GradientTransformation:
    """Updates as they are; keeps the running mean of what the parameters become.

    The decay rises from 1/10 to `decay`, (1 + t) / (10 + t), so that the start is soon forgotten.
    """

    def start(params: Any) -> RunningMean:
        return RunningMean(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))

    def update(updates: Any, state: RunningMean, params: Any) -> tuple[Any, RunningMean]:
        now = jnp.minimum(decay, (1.0 + state.count) / (10.0 + state.count))
        mean = jax.tree.map(
            lambda m, p, u: now * m + (1 - now) * (p + u), state.params, params, updates
        )
        return updates, RunningMean(state.count + 1, mean)

    return optax.GradientTransformation(start, update)


def exchanged(params: Any, opt_state: Any) -> tuple[Any, Any]:
    """Parameters and their running mean in each other's place; as they are without one.

    So a checkpoint holds what is analysed where analyses look for it. Twice is not at all.
    """
    last = opt_state[-1] if isinstance(opt_state, tuple) and opt_state else None
    if not isinstance(last, RunningMean):
        return params, opt_state
    return last.params, (*opt_state[:-1], last._replace(params=params))


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
