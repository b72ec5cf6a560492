"""What a model loses with its heads: every ordering at every depth, spans, replaced attention."""

import dataclasses
import resource
import sys
import time

import numpy as np

from sat_jax import exchange
from sat_jax.errors import InputError
from sat_jax.figures.report import Section
from sat_jax.records.ablation import Single
from sat_jax.records.heads import HeadTable
from sat_jax.study.ablate.context import (
    UNASKED,
    SweepContext,
    gradient_importance,
    identity_of,
    of_checkpoint,
    open_context,
)
from sat_jax.study.ablate.corpus import Speech, open_speech
from sat_jax.study.ablate.layers import Probed, probe_layers
from sat_jax.study.ablate.measure import mean_frame_error, measure
from sat_jax.study.ablate.page import write
from sat_jax.study.ablate.result import AblationResult
from sat_jax.study.ablate.scores import single_of, task_scores
from sat_jax.study.ablate.tasks import RECONSTRUCTION, probe_tasks
from sat_jax.study.heads import kept_heads
from sat_jax.study.loaded_run import LoadedRun, alone
from sat_jax.sweep import plan as plans
from sat_jax.sweep.orderings import order_by
from sat_jax.sweep.plan import Orders, Plan
from sat_jax.sweep.store import Arrays, Store
from sat_jax.sweep.trie import distinct, node_counts

COARSE_DRAWS = 3
"""Random orderings of the coarse preset."""


def study(loaded: LoadedRun) -> list[Section]:
    """Prune, limit and replace heads of the trained model, ask every task; writes tables, figures.

    Raises `InputError` where a setting means nothing, and where this study alone was asked for but
    cannot be made of this run; among other studies it is then left out, in words.
    """
    obstacle = obstacle_of(loaded)
    if obstacle and "ablate" in loaded.analysis.only:
        raise InputError(obstacle)
    if obstacle:
        loaded.say(obstacle)
        return []
    check(loaded)
    loaded = with_possible_tasks(alone(loaded))
    ablation, model = loaded.analysis.ablate, loaded.model.spec
    checkpoint, shape = loaded.model.checkpoints[0], (model.layers, model.heads)
    user = None
    if ablation.order:
        user = exchange.from_leader(lambda: plans.read_order(ablation.order, shape))
    began, held = time.perf_counter(), most_memory()
    speech = open_speech(loaded)
    if speech is None:
        return []
    tasks = probe_tasks(ablation, speech, loaded.say)
    if not tasks and RECONSTRUCTION not in ablation.tasks:
        loaded.say("ablate: no task is left to ask")
        return []
    layers, wide = Probed([], []), None
    if tasks:
        wide = open_speech(loaded, ablation.mlp_utterances)
        layers = probe_layers(loaded, wide)
    context = open_context(loaded, checkpoint, speech, tasks)
    opened = most_memory()
    kept = kept_heads(loaded, checkpoint.end)
    gradient = None
    if ablation.preset == "full" and loaded.model.spec.target_width:
        gradient = gradient_importance(loaded, checkpoint, speech)
    orders = plans.preset_orders(
        ablation.preset,
        plans.metric_orders(kept.metrics),
        gradient,
        user,
        min(ablation.draws, COARSE_DRAWS) if ablation.preset == "coarse" else ablation.draws,
        loaded.analysis.seed,
        shape,
    )
    plan = plans.make_plan(ablation.preset, orders, shape, ablation.kind)
    tell_plan(context, plan)
    store = Store(loaded.out / "analysis" / "leaves", identity_of(context), loaded.say)
    arrays = measure(context, plan.settings, store, f"{checkpoint.name}: ablate")
    if ablation.preset == "full":
        plan, arrays, orders = with_left_out(context, store, plan, arrays, orders)
    store.join()
    single = None if ablation.preset == "full" else left_out(context)
    control = untrained(context)
    deep = None
    if wide is not None and ablation.preset != "coarse":
        deep = with_hidden_layer(loaded, wide, orders, kept)
    tell_cost(context, time.perf_counter() - began, held, opened)
    result = result_of(context, plan, arrays, orders, kept)
    return write(result, control, deep, layers, single) if loaded.is_leader else []


def with_hidden_layer(
    loaded: LoadedRun, speech: Speech, orders: Orders, kept: HeadTable
) -> AblationResult:
    """The trained model at the paper's seven points of the metric orderings, with probes that have
    a hidden layer and learn from the utterances of `speech`."""
    ablation, checkpoint = loaded.analysis.ablate, loaded.model.checkpoints[0]
    tasks = tuple(task for task in ablation.tasks if task != RECONSTRUCTION)
    ablate = dataclasses.replace(ablation, tasks=tasks)
    loaded = loaded._replace(analysis=dataclasses.replace(loaded.analysis, ablate=ablate))
    found = probe_tasks(ablate, speech, lambda _: None, ablate.hidden)
    context = open_context(loaded, checkpoint, speech, found)
    orders = {name: orders[name] for name in plans.METRICS}
    plan = plans.make_plan("coarse", orders, kept.category.shape, ablation.kind)
    store = Store(loaded.out / "analysis" / "leaves", identity_of(context), loaded.say)
    arrays = measure(context, plan.settings, store, f"{checkpoint.name}: hidden layer")
    store.join()
    return result_of(context, plan, arrays, orders, kept)


def with_possible_tasks(loaded: LoadedRun) -> LoadedRun:
    """The same without reconstruction where the model predicts no spectra, and a word about it."""
    ablation = loaded.analysis.ablate
    if loaded.model.spec.target_width or RECONSTRUCTION not in ablation.tasks:
        return loaded
    loaded.say("ablate: reconstruction is left out, as the model predicts no spectra")
    tasks = tuple(task for task in ablation.tasks if task != RECONSTRUCTION)
    ablate = dataclasses.replace(ablation, tasks=tasks)
    return loaded._replace(analysis=dataclasses.replace(loaded.analysis, ablate=ablate))


def obstacle_of(loaded: LoadedRun) -> str:
    """Why this study cannot be made of a run, and the cure; empty where it can."""
    if loaded.model.spec.edited:
        return (
            f"ablate: {loaded.directory} was pruned by export.py, and this study needs a whole "
            "model; give the run that it was made from"
        )
    return ""


def check(loaded: LoadedRun) -> None:
    """Raise `InputError` for settings that cannot work."""
    ablation, model = loaded.analysis.ablate, loaded.model.spec
    if ablation.layer is not None and not 1 <= ablation.layer <= model.layers:
        raise InputError(
            f"ablate.layer is {ablation.layer}: give 1 to {model.layers}, or none for the last"
        )
    least = {"train_utterances": 1, "valid_utterances": 1, "test_utterances": 1, "probe_seeds": 1}
    least |= {
        "probe_steps": 1,
        "probe_batch": 1,
        "hidden": 1,
        "mlp_utterances": 1,
        "mlp_steps": 1,
        "memory_mib": 1,
        "draws": 0,
    }
    least |= {"max_frames": loaded.model.spec.grid.frames}
    for name, value in least.items():
        if getattr(ablation, name) < value:
            dashed = name.replace("_", "-")
            raise InputError(f"ablate.{dashed} is {getattr(ablation, name)}: give at least {value}")
    for name in ("probe_rate", "mlp_rate"):
        if not (value := getattr(ablation, name)) > 0:
            dashed = name.replace("_", "-")
            raise InputError(f"ablate.{dashed} is {value}: give a positive number")
    if not ablation.tasks:
        raise InputError("ablate.tasks is empty: give at least one task")


def result_of(
    context: SweepContext, plan: Plan, arrays: Arrays, orders: Orders, kept: HeadTable
) -> AblationResult:
    """Everything that was measured of one checkpoint, with its scores."""
    analysis = context.loaded.analysis
    mean_error = mean_frame_error(context.speech) if RECONSTRUCTION in arrays else np.nan
    scores = task_scores(
        arrays, context.tasks, analysis.draws, analysis.seed, mean_error=mean_error
    )
    return AblationResult(context, plan, arrays, orders, scores, kept)


def untrained(context: SweepContext) -> AblationResult:
    """The untrained model, pruned by its own globalness at the paper's numbers of heads."""
    loaded = context.loaded
    checkpoint = loaded.model.checkpoints[1]
    context = of_checkpoint(context, checkpoint)
    kept = kept_heads(loaded, checkpoint.end)
    orders = {"globalness": plans.metric_orders(kept.metrics)["globalness"]}
    plan = plans.make_plan("coarse", orders, kept.category.shape, loaded.analysis.ablate.kind)
    store = Store(loaded.out / "analysis" / "leaves", identity_of(context), loaded.say)
    arrays = measure(context, plan.settings, store, f"{checkpoint.name}: ablate")
    store.join()
    return result_of(context, plan, arrays, orders, kept)


def left_out(context: SweepContext) -> Single | None:
    """What reconstruction loses with each head alone; None where it is not measured.

    It needs no probes, so that it costs little beside what does.
    """
    loaded = context.loaded
    if RECONSTRUCTION not in loaded.analysis.ablate.tasks:
        return None
    ablate = dataclasses.replace(loaded.analysis.ablate, tasks=(RECONSTRUCTION,))
    loaded = loaded._replace(analysis=dataclasses.replace(loaded.analysis, ablate=ablate))
    bare = context._replace(
        loaded=loaded, tasks=(), train_and_score=None, score_frozen=None, chunk=UNASKED
    )
    shape = loaded.model.spec.layers, loaded.model.spec.heads
    plan = plans.single_plan(shape, ablate.kind)
    store = Store(loaded.out / "analysis" / "leaves", identity_of(bare), loaded.say)
    arrays = measure(bare, plan.settings, store, f"{context.checkpoint.name}: one head left out")
    store.join()
    scores = task_scores(arrays, (), loaded.analysis.draws, loaded.analysis.seed)
    return single_of(scores[0], plan.rows, shape)


def with_left_out(
    context: SweepContext, store: Store, plan: Plan, arrays: Arrays, orders: Orders
) -> tuple[Plan, Arrays, Orders]:
    """The plan with one more ordering: what is missed least when it is left out goes first."""
    loaded = context.loaded
    model, kind = loaded.model.spec, loaded.analysis.ablate.kind
    shape = model.layers, model.heads
    found = task_scores(arrays, context.tasks, 1, 0)[0]
    single = [i for i, row in enumerate(plan.rows) if row.study == "single"]
    change = found.value[single[1:]] - found.value[single[0]]
    order = order_by((change if found.lower_is_better else -change).reshape(shape), False)
    points = np.arange(len(order) + 1)
    more = [
        plans.order_plan("leave-one-out", 0, order, points, shape, kind),
        plans.order_plan("leave-one-out reversed", 0, order[::-1], points, shape, kind),
    ]
    orders = {**orders, "leave-one-out": order, "leave-one-out reversed": order[::-1]}
    whole = plans.joined([plan, *more])
    title = f"{context.checkpoint.name}: leave-one-out ordering"
    return whole, measure(context, whole.settings, store, title), orders


def tell_plan(context: SweepContext, plan: Plan) -> None:
    """Say what is about to be measured and on what."""
    speech, say = context.speech, context.loaded.say
    unique, _ = distinct(plan.settings)
    nodes, naive = node_counts(unique), len(plan.rows) * unique.gate.shape[1]
    parts = np.bincount(speech.part, minlength=3)
    ablation = context.loaded.analysis.ablate
    say(
        f"ablate: {len(plan.rows)} settings ({len(unique.gate)} distinct), "
        f"preset {ablation.preset}, on the first {speech.seconds:.1f} s of utterances; "
        f"{parts[0]} utterances to learn from, {parts[1]} to stop by, {parts[2]} to test on "
        f"({speech.origin})"
    )
    say(
        f"ablate: layers computed per batch: {nodes.sum()} ({' '.join(map(str, nodes))}) where "
        f"single runs need {naive}: {naive / nodes.sum():.2f} times fewer"
    )
    if not context.tasks:
        return
    say(
        f"ablate: memory given {ablation.memory_mib} MiB; {len(context.buffer)} settings at a time "
        f"take {context.buffer.nbytes / 2**20:.0f} MiB of it"
    )


def tell_cost(context: SweepContext, seconds: float, before: float, opened: float) -> None:
    """Say what it took, where the process held so many MiB before, and with the speech opened."""
    most, given = most_memory(), context.loaded.analysis.ablate.memory_mib
    context.loaded.say(
        f"ablate: done in {seconds / 60:.1f} min; {sum(context.counts.nodes.values())} ops run, "
        f"{len(context.counts.compiled)} compiled; the process held at most {most:.0f} MiB: "
        f"{before:.0f} before, {opened - before:.0f} more with speech and programs, "
        f"{most - opened:.0f} of the {given} given"
    )


def most_memory() -> float:
    """MiB that this process has held at most so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
