"""State and batch in, state and numbers out: what runs on the devices, once per step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh as DeviceMesh

from sat_jax.config import Config
from sat_jax.mesh import by_device, replicated, state_shardings, traced_for
from sat_jax.model.build import init_params
from sat_jax.pretrain.losses import examples_of, loss_of

SMOOTHING = 0.98


class TrainState(NamedTuple):
    """Everything that changes in training; with the config and the data it is the whole run."""

    step: jax.Array
    params: Any
    opt_state: Any
    smooth: jax.Array
    """(2,) running means of loss and its baseline; here, so that a resumed run has them too."""


class StepMetrics(NamedTuple):
    """Scalars of one training step."""

    loss: jax.Array
    smooth: jax.Array
    """(2,) running means of loss and its baseline."""
    grad_norm: jax.Array
    finite: jax.Array
    """Whether loss and gradients were."""


def init_state(
    config: Config, model: nn.Module, tx: optax.GradientTransformation
) -> Callable[[], TrainState]:
    """A function of nothing that makes the start state; trace it for shapes, jit it for arrays."""

    def init() -> TrainState:
        params = init_params(jax.random.key(config.seed), model)
        return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), jnp.zeros(2))

    return init


def sharded_state(
    init: Callable[[], TrainState], mesh: DeviceMesh
) -> tuple[TrainState, Callable[[], TrainState]]:
    """The abstract state with shardings, and a jitted init that never holds it on one device."""
    shapes = jax.eval_shape(init)
    shardings = state_shardings(shapes, mesh)
    abstract = jax.tree.map(
        lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes, shardings
    )
    return abstract, jax.jit(init, out_shardings=shardings)


def train_step(
    config: Config,
    model: nn.Module,
    tx: optax.GradientTransformation,
    mesh: DeviceMesh,
    shardings: TrainState,
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """The jitted step: audio (B, N) int16 and lengths (B,) in samples, of CTC units (B, U) too, to
    the next state.

    Randomness is `fold_in(key(seed), step)` and nothing else, so that a resumed run repeats it.
    """
    objective = loss_of(config.objective)
    prepare = by_device(functools.partial(examples_of, model), mesh)

    def step(
        state: TrainState, audio: jax.Array, lengths: jax.Array, *units: jax.Array
    ) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(config.seed + 1), state.step)
        examples = prepare(audio, lengths, *units)

        def objective_and_parts(params: Any) -> tuple[jax.Array, Any]:
            losses = objective(model, config, params, examples, key, True)
            return losses.loss, losses

        with traced_for(mesh):
            gradient = jax.value_and_grad(objective_and_parts, has_aux=True)
            (_, losses), grads = gradient(state.params)
        grads = jax.lax.with_sharding_constraint(grads, shardings.params)
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(losses.loss) & jnp.isfinite(norm)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        now = jnp.stack([losses.loss, losses.baseline])
        fresh = state.step == config.loop.first
        smooth = jnp.where(fresh, now, SMOOTHING * state.smooth + (1 - SMOOTHING) * now)
        metrics = StepMetrics(losses.loss, smooth, norm, finite)
        return TrainState(state.step + 1, params, opt_state, smooth), metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated(mesh)))


def valid_step(config: Config, model: nn.Module, mesh: DeviceMesh) -> Callable[..., Any]:
    """The jitted evaluation: params, the batch's number, audio, lengths and units to its losses.

    The same batch number draws the same masks at every evaluation of every run with this seed.
    """
    objective = loss_of(config.objective)
    prepare = by_device(functools.partial(examples_of, model), mesh)

    def step(
        params: Any, number: jax.Array, audio: jax.Array, lengths: jax.Array, *units: jax.Array
    ) -> Any:
        key = jax.random.fold_in(jax.random.key(config.seed + 2), number)
        examples = prepare(audio, lengths, *units)
        with traced_for(mesh):
            return objective(model, config, params, examples, key, False)

    return jax.jit(step, out_shardings=replicated(mesh))
