"""Representations of many settings in, a small classifier per setting and seed out.

A probe is a small classifier, linear or with hidden layers, on a frozen representation. All
settings of a sweep are other representations (N, D) of the same positions, and a position is R
frames with labels of their own. Training draws the same rows for every setting, so that settings
are paired.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from sat_jax.analysis.probe_inputs import Inputs, for_features, standardised
from sat_jax.errors import InputError

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""


class Budget(NamedTuple):
    """What one probe may cost; the same for every setting."""

    hidden: int
    """Width of the hidden layers; 0: a linear probe."""
    steps: int
    """Most steps of Adam: a multiple of `every`."""
    batch: int
    """Rows per step, drawn with replacement."""
    rate: float
    """Peak learning rate: it rises over `WARM_UP` of the steps, then falls to 0; both linear."""
    every: int
    """Steps between evaluations on validation rows."""
    patience: int
    """Evaluations without improvement after which training stops."""
    checked: int
    """Most validation rows that an evaluation looks at, evenly spread over those there are."""
    ridge: float | None
    """None: inputs are standardised. Else they are then decorrelated as well, up to this share of
    a dimension's variance: the probe can express the same, but learns it in far fewer steps."""
    depth: int = 1
    """Hidden layers, where `hidden` is over 0."""


class Examples(NamedTuple):
    """What a task learns from or is checked on; the same for every setting."""

    rows: jax.Array
    """(n,) int32: which rows of the features."""
    labels: jax.Array
    """(n, R) int32: class of each frame of that row in [0, classes), -1 is none."""


class Layer(NamedTuple):
    """An affine map."""

    kernel: jax.Array
    """(inputs, outputs)."""
    bias: jax.Array
    """(outputs,)."""


class Probe(NamedTuple):
    """A trained classifier of features as they come: standardising is in its first layer.

    From `train_probes`, every leaf has the axes settings and seeds in front.
    """

    mean: jax.Array
    """(D,): of the training rows; subtracted from features before the first layer."""
    layers: tuple[Layer, ...]
    """One (linear) or more; ReLU between them."""
    loss: jax.Array
    """Cross entropy on the checked rows, nats per frame; inf where no evaluation was finite."""
    kept: jax.Array
    """Step after which these parameters were the best."""
    taken: jax.Array
    """Steps after which training stopped."""


class _Training(NamedTuple):
    """One setting and seed on its way."""

    layers: tuple[Layer, ...]
    adam: optax.OptState
    best: tuple[Layer, ...]
    loss: jax.Array
    kept: jax.Array
    taken: jax.Array
    waited: jax.Array
    """Evaluations since the best one."""


def _require(budget: Budget) -> None:
    least = {"steps": 1, "batch": 1, "every": 1, "patience": 1, "checked": 1, "hidden": 0}
    least |= {"depth": 1}
    for name, value in least.items():
        if getattr(budget, name) < value:
            raise InputError(f"probe {name} is {getattr(budget, name)}: it has to be >= {value}")
    if budget.steps % budget.every:
        raise InputError(
            f"probe steps is {budget.steps}: it has to be a multiple of every ({budget.every})"
        )
    if not budget.rate > 0:
        raise InputError(f"probe rate is {budget.rate}: it has to be > 0")
    if budget.ridge is not None and not budget.ridge > 0:
        raise InputError(f"probe ridge is {budget.ridge}: it has to be > 0, or None")


def learning_rate(step: jax.Array, budget: Budget) -> jax.Array:
    """Rate of Adam's update number `step`, from 0: up to the peak and down, never 0."""
    rising = max(1, round(WARM_UP * budget.steps))
    up, down = (step + 1) / rising, (budget.steps - step) / max(1, budget.steps - rising)
    return budget.rate * jnp.minimum(up, down)


def _optimizer(budget: Budget) -> optax.GradientTransformation:
    return optax.adam(lambda step: learning_rate(step, budget))


def _logits(layers: tuple[Layer, ...], inputs: jax.Array) -> jax.Array:
    for layer in layers[:-1]:
        inputs = jax.nn.relu(inputs @ layer.kernel + layer.bias)
    return inputs @ layers[-1].kernel + layers[-1].bias


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over labelled frames of logits (n, C) against labels (n, R), -1 ignored, in nats.

    A row counts as often as it has labels; 0 where there is no label at all.
    """
    target = jax.nn.one_hot(labels, logits.shape[-1]).sum(-2)
    frames = target.sum(-1)
    lost = frames * jax.nn.logsumexp(logits, axis=-1) - (target * logits).sum(-1)
    return lost.sum() / jnp.maximum(frames.sum(), 1)


def start_layers(key: jax.Array, width: int, classes: int, budget: Budget) -> tuple[Layer, ...]:
    """Layers before the first step: normal kernels of deviation inputs^-1/2, biases 0."""
    widths = (width, *(budget.hidden,) * budget.depth * bool(budget.hidden), classes)
    keys = jax.random.split(key, len(widths) - 1)
    return tuple(
        Layer(jax.random.normal(k, (n, m)) / np.sqrt(n), jnp.zeros(m))
        for k, n, m in zip(keys, widths[:-1], widths[1:], strict=True)
    )


def drawn_rows(key: jax.Array, first: jax.Array, steps: int, batch: int, n: int) -> jax.Array:
    """Rows below n of the steps `first`, `first + 1`, ..., from 1: (steps, batch)."""

    def draw(step: jax.Array) -> jax.Array:
        return jax.random.randint(jax.random.fold_in(key, step), (batch,), 0, n)

    return jax.vmap(draw)(first + jnp.arange(steps))


def _for_features(inputs: Inputs, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The same classifier of features that are only centred."""
    return (Layer(for_features(inputs, layers[0].kernel), layers[0].bias), *layers[1:])


def _begin(inputs: Inputs, key: jax.Array, classes: int, budget: Budget) -> _Training:
    layers = start_layers(jax.random.fold_in(key, 0), inputs.train.shape[-1], classes, budget)
    zero = jnp.zeros((), jnp.int32)
    adam = _optimizer(budget).init(layers)
    return _Training(layers, adam, layers, jnp.float32(jnp.inf), zero, zero, zero)


def _advance(
    now: _Training,
    inputs: Inputs,
    drawn: jax.Array,
    labels: jax.Array,
    checked_labels: jax.Array,
    budget: Budget,
) -> _Training:
    """`every` steps on the rows drawn (every, batch), then an evaluation."""

    def loss(layers: tuple[Layer, ...], rows: jax.Array) -> jax.Array:
        return cross_entropy(_logits(layers, inputs.train[rows]), labels[rows])

    def step(i: jax.Array, carry: tuple) -> tuple:
        layers, adam = carry
        updates, adam = _optimizer(budget).update(jax.grad(loss)(layers, drawn[i]), adam)
        return optax.apply_updates(layers, updates), adam

    layers, adam = lax.fori_loop(0, budget.every, step, (now.layers, now.adam))
    found = cross_entropy(_logits(layers, inputs.checked), checked_labels)
    active = now.waited < budget.patience
    taken = now.taken + active * budget.every
    better = active & (found < now.loss)
    best, loss_, kept = jax.tree.map(
        lambda new, old: jnp.where(better, new, old),
        (layers, found, taken),
        (now.best, now.loss, now.kept),
    )
    return _Training(layers, adam, best, loss_, kept, taken, jnp.where(better, 0, now.waited + 1))


def _fit(
    inputs: Inputs,
    labels: jax.Array,
    checked_labels: jax.Array,
    classes: int,
    budget: Budget,
    keys: jax.Array,
) -> Probe:
    """The probe of one setting and key; of inputs (M, ...) and keys (S,), all of them in step."""
    together = keys.ndim > 0

    def seeds(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.vmap(function) if together else function

    def probes(function: Callable[..., Any]) -> Callable[..., Any]:
        """Of arguments that there are for each setting and seed, each setting, each seed."""
        if not together:
            return function
        return jax.vmap(jax.vmap(function, (0, None, 0)), (0, 0, None))

    def unfinished(carry: tuple[jax.Array, _Training]) -> jax.Array:
        step, now = carry
        return (step < budget.steps) & (now.waited < budget.patience).any()

    def stage(carry: tuple[jax.Array, _Training]) -> tuple[jax.Array, _Training]:
        # The step is the same for all, so that settings share the rows that are drawn.
        step, now = carry
        n = inputs.train.shape[-2]
        drawn = seeds(lambda key: drawn_rows(key, step + 1, budget.every, budget.batch, n))(keys)
        return step + budget.every, probes(advance)(now, inputs, drawn)

    def begin(_: None, inputs: Inputs, key: jax.Array) -> _Training:
        return _begin(inputs, key, classes, budget)

    def advance(now: _Training, inputs: Inputs, drawn: jax.Array) -> _Training:
        return _advance(now, inputs, drawn, labels, checked_labels, budget)

    def end(now: _Training, inputs: Inputs, _: jax.Array) -> Probe:
        layers = _for_features(inputs, now.best)
        return Probe(inputs.mean, layers, now.loss, now.kept, now.taken)

    start = (jnp.zeros((), jnp.int32), probes(begin)(None, inputs, keys))
    _, now = lax.while_loop(unfinished, stage, start)
    return probes(end)(now, inputs, keys)


@functools.partial(jax.jit, static_argnames=("classes", "budget", "batched"))
def train_probes(
    features: jax.Array,
    train: Examples,
    valid: Examples,
    classes: int,
    budget: Budget,
    keys: jax.Array,
    batched: bool = False,
) -> Probe:
    """Probes of every setting of features (M, N, D) and every one of keys (S,): leaves (M, S, ...).

    Inputs are standardised by the training rows of their own setting. Adam minimises
    `cross_entropy`; of the evaluations on `valid` the best one is kept. A probe depends on its own
    setting and key alone. batched: all probes take each step together, which suits an accelerator
    and small probes, and end with the last of them; otherwise they are trained one by one, which
    suits the caches of a CPU. Raises `InputError` for a budget that means nothing.
    """
    _require(budget)
    spread = np.linspace(0, len(valid.rows) - 1, min(len(valid.rows), budget.checked))
    checked = Examples(*(part[spread.round().astype(int)] for part in valid))

    def prepare(setting: jax.Array) -> Inputs:
        return standardised(setting, train.rows, checked.rows, budget.ridge)

    def fit(inputs: Inputs, keys: jax.Array) -> Probe:
        return _fit(inputs, train.labels, checked.labels, classes, budget, keys)

    def one_by_one(setting: jax.Array) -> Probe:
        inputs = prepare(setting)
        return lax.map(lambda key: fit(inputs, key), keys)

    if batched:
        return fit(jax.vmap(prepare)(features), keys)
    return lax.map(one_by_one, features)


def train_probe(
    features: jax.Array,
    train: Examples,
    valid: Examples,
    classes: int,
    budget: Budget,
    key: jax.Array,
) -> Probe:
    """The probe of one setting of features (N, D) and one key, as `train_probes` trains it."""
    probes = train_probes(features[None], train, valid, classes, budget, key[None])
    return jax.tree.map(lambda leaf: leaf[0, 0], probes)


def predict(probe: Probe, features: jax.Array) -> jax.Array:
    """Most likely class of every row of features (n, D), of any setting: (n,) int32."""
    return _logits(probe.layers, features - probe.mean).argmax(-1).astype(jnp.int32)
