"""State and batch in, state and numbers out: what runs on the devices, once per step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from sat_jax.config import Config
from sat_jax.mesh import BATCH, by_device, replicated, state_shardings, traced_for
from sat_jax.model.build import init_params
from sat_jax.pretrain.objectives.objective import OWN, Losses, examples_of
from sat_jax.pretrain.objectives.table import objective_of

SMOOTHING = 0.98
FEATURES = "features"
"""Under this name the compiled program has what comes before the model."""


class TrainState(NamedTuple):
    """Everything that changes in training; with the config and the data it is the whole run."""

    step: jax.Array
    params: Any
    """Of the model, and under `OWN` of the objective where it has any."""
    opt_state: Any
    smooth: jax.Array
    """(2,) running means of loss and its baseline; here, so that a resumed run has them too."""


class StepMetrics(NamedTuple):
    """Scalars of one training step."""

    losses: Losses
    """The objective's."""
    smooth: jax.Array
    """(2,) running means of what is judged and its baseline."""
    grad_norm: jax.Array
    group_norms: dict[str, jax.Array]
    """The same of each part of the model."""
    finite: jax.Array
    """Whether loss and gradients were."""

    @property
    def loss(self) -> jax.Array:
        """What was minimised."""
        return self.losses.loss


def init_state(
    config: Config, model: nn.Module, tx: optax.GradientTransformation
) -> Callable[[], TrainState]:
    """A function of nothing that makes the start state; trace it for shapes, jit it for arrays."""
    objective = objective_of(config.objective)

    def init() -> TrainState:
        params = init_params(jax.random.key(config.seed), model)
        if objective.own is not None:
            key = jax.random.fold_in(jax.random.key(config.seed), 1)
            params = {**params, OWN: objective.own(key, model, config)}
        return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), jnp.zeros(2))

    return init


def begun(state: TrainState, params: Any, number: int) -> TrainState:
    """A start state with the model's parameters of a run that was made elsewhere at step `number`;
    the objective's own are fresh."""
    step = jnp.full_like(state.step, number)
    return state._replace(step=step, params=joined(params, state.params.get(OWN)))


def joined(params: Any, own: Any) -> Any:
    """The model's parameters and the objective's own, or None, as one tree."""
    return params if own is None else {**params, OWN: own}


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
    """The jitted step: audio (B, N) int16, lengths (B,) in samples and, where the objective has
    them, labels (B, U), to the next state.

    Randomness is `fold_in(key(seed), step)` and nothing else, so that a resumed run repeats it.
    With `batches.parts` over 1, gradients of so many parts of the batch are taken one after the
    other and added up, each weighted by the terms of its loss.
    """
    gradients = gradients_of(config, model, mesh)

    def step(state: TrainState, *batch: jax.Array) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(config.seed + 1), state.step)
        losses, grads = gradients(state.params, batch, key, state.step)
        grads = jax.lax.with_sharding_constraint(grads, shardings.params)
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(losses.loss) & jnp.isfinite(norm)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        now = jnp.stack([losses.judged, losses.baseline])
        fresh = state.step == config.loop.first
        smooth = jnp.where(fresh, now, SMOOTHING * state.smooth + (1 - SMOOTHING) * now)
        metrics = StepMetrics(losses, smooth, norm, group_norms(grads), finite)
        return TrainState(state.step + 1, params, opt_state, smooth), metrics

    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated(mesh)))


def gradients_of(config: Config, model: nn.Module, mesh: DeviceMesh) -> Callable[..., Any]:
    """(params, batch, key, step) to the losses and gradients of the whole batch."""
    objective = objective_of(config.objective)
    prepare = by_device(functools.partial(examples_of, model, objective.spectra), mesh)
    parts = config.batches.parts

    def of_part(params: Any, batch: Any, key: jax.Array, step: jax.Array) -> tuple[Losses, Any]:
        with jax.named_scope(FEATURES):
            examples = prepare(*batch)

        def loss(params: Any) -> tuple[jax.Array, Losses]:
            losses = objective.loss(model, config, params, examples, key, step)
            # Weighted here and not after, gradients are only added to their sum: so XLA takes the
            # reduction over devices, which is linear, out of the loop over parts.
            return losses.loss * (1 if parts == 1 else terms(losses)), losses

        with traced_for(mesh):
            (_, losses), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return losses, grads

    def of_all(params: Any, batch: Any, key: jax.Array, step: jax.Array) -> tuple[Losses, Any]:
        def add(sums: Any, own: Any) -> tuple[Any, None]:
            number, rows = own
            losses, grads = of_part(params, rows, jax.random.fold_in(key, number), step)
            weight = terms(losses)
            losses = jax.tree.map(lambda x: weight * x, losses)
            return jax.tree.map(jnp.add, sums, ((losses, grads), weight)), None

        # A part takes every so many rows, which each device finds among its own.
        place = NamedSharding(mesh, P(None, *BATCH))
        split = [
            jax.lax.with_sharding_constraint(
                a.reshape(len(a) // parts, parts, *a.shape[1:]).swapaxes(0, 1), place
            )
            for a in batch
        ]
        shapes = jax.eval_shape(of_part, params, [a[0] for a in split], key, step)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)
        (total, count), _ = jax.lax.scan(add, (nothing, jnp.float32(0)), (jnp.arange(parts), split))
        losses, grads = jax.tree.map(lambda x: x / jnp.maximum(count, 1), total)
        return losses._replace(count=count), grads

    return of_part if parts == 1 else of_all


def terms(losses: Losses) -> jax.Array:
    """How many terms the mean of a loss has, as its weight among those of other parts."""
    return losses.count.astype(jnp.float32)


def group_norms(grads: Any) -> dict[str, jax.Array]:
    """Norms of the gradients of each part of the model; of an unrolled encoder of each layer."""
    groups = dict(grads)
    encoder = groups.pop("encoder", {})
    groups |= {f"encoder/{name}": part for name, part in encoder.items()}
    return {name: optax.tree.norm(part) for name, part in groups.items()}


def valid_step(config: Config, model: nn.Module, mesh: DeviceMesh) -> Callable[..., Any]:
    """The jitted evaluation: params, the batch's number, audio, lengths and labels to its losses.

    The same batch number draws the same masks at every evaluation of every run with this seed.
    """
    objective = objective_of(config.objective)
    prepare = by_device(functools.partial(examples_of, model, objective.spectra), mesh)

    def step(params: Any, number: jax.Array, *batch: jax.Array) -> Losses:
        key = jax.random.fold_in(jax.random.key(config.seed + 2), number)
        with traced_for(mesh):
            return objective.loss(model, config, params, prepare(*batch), key, None)

    return jax.jit(step, out_shardings=replicated(mesh))
