"""Metrics of steps in flight in, alarms out: a run that goes wrong says so, and where."""

import collections
from collections.abc import Sequence

import numpy as np

from sat_jax.config import Config, Loop, Optim
from sat_jax.errors import InputError
from sat_jax.pretrain.objectives.objective import Objective
from sat_jax.pretrain.optim import learning_rate
from sat_jax.pretrain.step import SMOOTHING, StepMetrics

# Steps that the host may be ahead of the devices: enough to hide its work, few enough to notice a
# broken step at once.
AHEAD = 2

# Steps after which the running means have forgotten 98 % of how the run began.
SETTLED = round(4 / (1 - SMOOTHING))

InFlight = collections.deque[tuple[int, np.ndarray, StepMetrics]]


def settle(pending: InFlight, keep: int, ids: Sequence[str]) -> StepMetrics | None:
    """Wait for all but the last `keep` steps (number, utterances, metrics) and return the latest.

    Raises `InputError` at the first step whose loss or gradient was not finite, with its number and
    the ids of this process's utterances.
    """
    metrics = None
    while len(pending) > keep:
        number, index, metrics = pending.popleft()
        if not bool(metrics.finite):
            named = ", ".join(ids[i] for i in index if i >= 0)
            raise InputError(
                f"step {number}: loss {float(metrics.loss)}, gradient norm "
                f"{float(metrics.grad_norm)}; utterances {named}: listen to them, or lower "
                "optim.peak-lr; the last checkpoint is from before"
            )
    return metrics


def alarm_of(
    done: int, warmup: int, numbers: dict[str, float], objective: Objective, config: Config
) -> str:
    """The alarm of a loss that the objective's baseline reaches as well, or of what the objective
    itself finds wrong; or nothing.

    `numbers` are those of the log line of step `done`; both losses are running means over the same
    masks. Nothing is said before the warm-up of `warmup` steps is over and the means are settled.
    """
    if done < max(warmup, SETTLED):
        return ""
    wrong = objective.alarm(numbers, config)
    if wrong:
        return f"ALARM at step {done}: {wrong}"
    words = objective.words
    loss, baseline = numbers["smooth_loss"], numbers[words.baseline]
    if loss < baseline:
        return ""
    return (
        f"ALARM at step {done}: after the warm-up the loss, {loss:.3f}, is no better than "
        f"{words.baseline_is}, {baseline:.3f}; try another optim.peak-lr or optim.warmup-share"
    )


def longer(optim: Optim, loop: Loop, before: int, start: int) -> str:
    """What it means for the learning rate that a run of `before` steps has more now, or nothing.

    The run has done `start` steps. Warm-up and decay are laid over all steps of `loop` anew.
    """
    if loop.steps == before or start == loop.first:
        return ""
    old, new = (learning_rate(optim, steps - loop.first) for steps in (before, loop.steps))
    was, now = float(old(start - 1 - loop.first)), float(new(start - loop.first))
    return (
        f"loop.steps was {before} and is {loop.steps}: warm-up and decay of the learning rate are "
        f"laid over all {loop.steps} steps anew, so that it goes from {was:.3g} at step {start} to "
        f"{now:.3g} at step {start + 1}; a run that begins with {loop.steps} steps gives other "
        "numbers"
    )
