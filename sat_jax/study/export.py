"""A run and what to prune of it in; the smaller model, how it compares and its run directory out.

The masked model is the whole one with gates and spans: what the smaller one has to agree with.
"""

import contextlib
import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax import checkpoint, mesh
from sat_jax.audio.prepared import open_split, spread
from sat_jax.config import Config, Export, Model
from sat_jax.config.json import write_config
from sat_jax.errors import InputError, writing
from sat_jax.features import batches
from sat_jax.model.attention.edit import NO_SPAN, HeadEdit, limit_of
from sat_jax.model.build import Spec, build_model, spec_of
from sat_jax.pretrain import log, optim, step
from sat_jax.study.heads import read_heads
from sat_jax.study.passes import edges_of
from sat_jax.sweep import plan as plans
from sat_jax.trace.importance import reconstruction_error

TOLERANCE = 1e-5
"""Largest difference to the masked model, as a share of its largest output where that is over 1."""
ROUNDS = 25
"""Batches that every model is timed on, in turns."""


def heads_to_prune(run: Path, spec: Spec, options: Export) -> np.ndarray:
    """The heads, flat, that go first of those that are not pruned yet.

    Raises `InputError` where the ordering cannot be read, or names too few heads.
    """
    if not options.heads:
        return np.arange(0)
    shape = spec.layers, spec.heads
    if options.order is not None:
        order = plans.read_order(options.order, shape, "order")
    else:
        metrics = plans.metric_orders(read_heads(run / "analysis" / "heads.npz", spec).metrics)
        order = (metrics | plans.reversed_orders(metrics))[options.by]
    present = np.flatnonzero(spec.head_mask)
    order = order[np.isin(order, present)]
    if options.heads > len(order):
        raise InputError(
            f"heads is {options.heads}, and the ordering has {len(order)} of the {len(present)} "
            "heads that are not pruned: give fewer"
        )
    return order[: options.heads]


def pruned_model(model: Model, pruned: np.ndarray, options: Export) -> Model:
    """The model without the heads `pruned` (flat), and with the span that is asked for.

    Raises `InputError` where spans that it has already act in another way.
    """
    if options.span is not None and model.spans and model.span_softmax != options.softmax:
        raise InputError(
            f"softmax is {options.softmax}, and the run has spans of its own with "
            f"{model.span_softmax}: give --softmax {model.span_softmax}"
        )
    more = set(pruned.tolist())
    rows = [
        [
            (head, min((own, options.span), key=limit_of))
            for head, own in zip(heads, spans, strict=True)
            if layer * model.heads + head not in more
        ]
        for layer, (heads, spans) in enumerate(
            zip(model.unpruned_heads, model.head_spans, strict=True)
        )
    ]
    limited = any(own is not None for row in rows for _, own in row)
    return dataclasses.replace(
        model,
        pruned_heads=tuple(
            tuple(h for h in range(model.heads) if h not in dict(row)) for row in rows
        )
        if any(len(row) < model.heads for row in rows)
        else (),
        spans=tuple(tuple(own for _, own in row) for row in rows) if limited else (),
        span_softmax=options.softmax if options.span is not None else model.span_softmax,
        scan_layers=False,
        share_layers=False,
    )


def description(before: Model, after: Model) -> str:
    """How many heads there still are, and what limits them."""
    counts = [len(heads) for heads in after.unpruned_heads]
    had = sum(len(heads) for heads in before.unpruned_heads)
    spans = sorted({span for row in after.spans for span in row}, key=limit_of)
    names = ", ".join("no limit" if span is None else str(span) for span in spans)
    limits = f"; spans {names} ({after.span_softmax})" if spans else ""
    return f"{sum(counts)} of {had} heads stay, by layer {' '.join(map(str, counts))}{limits}"


def edit_of(model: Model) -> HeadEdit:
    """Gates (L, H) and spans (L, H), None for none, that make the whole model equal to `model`."""
    gate = np.zeros((model.layers, model.heads), np.float32)
    span = np.full(gate.shape, NO_SPAN, np.int32)
    for layer, (heads, spans) in enumerate(
        zip(model.unpruned_heads, model.head_spans, strict=True)
    ):
        for head, own in zip(heads, spans, strict=True):
            gate[layer, head] = 1.0
            span[layer, head] = limit_of(own)
    return HeadEdit(gate, span if model.spans else None)


class Compared(NamedTuple):
    """A model before and after, on utterances of the validation split, in float32."""

    difference: float
    """Largest |difference| of an output to that of the masked model."""
    scale: float
    """Largest |output| of the masked model."""
    paper: float
    """The same to the masked model whose softmax runs over all keys."""
    before: float
    """Mean L1 between output and clean target, nothing masked; NaN where none is predicted."""
    after: float
    utterances: int


def compare(
    config: Config,
    small: Config,
    whole_params: Any,
    small_params: Any,
    split: Any,
    size: int,
    devices: DeviceMesh,
    edit: HeadEdit | None = None,
) -> Compared:
    """Run the models of both configs, and the whole one with `edit`, on every utterance of a split.

    `edit` is what `small` has pruned and limited, unless another one is given.
    """
    spec = spec_of(config)
    edit = edit_of(small.model) if edit is None else edit
    whole, ours = (_exact(each) for each in (config, small))
    masked, paper = (
        whole.clone(config=dataclasses.replace(whole.config, span_softmax=kind))
        for kind in (small.model.span_softmax, "row")
    )
    prepare = mesh.by_device(whole.prepare, devices)
    targets_of = mesh.by_device(whole.targets, devices) if spec.target_width else None

    def run(params: Any, pruned: Any, audio: jax.Array, lengths: jax.Array) -> dict[str, jax.Array]:
        inputs, valid = prepare(audio, lengths)
        before = whole.apply({"params": params}, inputs, valid)
        after = ours.apply({"params": pruned}, inputs, valid)
        t, own = valid.shape[1], edit
        if own.maps is not None:
            own = own._replace(maps=own.maps[..., :t, :t])
        outputs = {
            "difference": masked.apply({"params": params}, inputs, valid, own),
            "paper": paper.apply({"params": params}, inputs, valid, own),
        }
        seen = valid[:, :, None]
        apart = {
            name: jnp.where(seen, jnp.abs(output - after), 0.0).max((1, 2))
            for name, output in outputs.items()
        }
        found = {"scale": jnp.where(seen, jnp.abs(outputs["difference"]), 0.0).max((1, 2))}
        if targets_of is None:
            return apart | found | dict.fromkeys(("before", "after"), jnp.full(len(valid), jnp.nan))
        targets = targets_of(audio, lengths)
        found["before"] = reconstruction_error(before, targets, valid)
        found["after"] = reconstruction_error(after, targets, valid)
        return apart | found

    compiled = jax.jit(run, out_shardings=mesh.replicated(devices))
    edges = edges_of(spec_of(small), split, None, config.batches.buckets)
    read = batches.eval_batches(split, edges, size, spec.grid, skip_short=True)
    rows = []
    # A GPU would round the factors of float32 products by default.
    with jax.default_matmul_precision("highest"):
        for batch in read:
            placed = mesh.place_batch((batch.audio, batch.lengths), devices)
            found = compiled(whole_params, small_params, *placed)
            rows.append({k: np.asarray(v)[batch.index >= 0] for k, v in found.items()})
    values = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    largest = {name: float(values[name].max()) for name in ("difference", "scale", "paper")}
    means = {name: float(values[name].mean()) for name in ("before", "after")}
    return Compared(**largest, **means, utterances=len(values["scale"]))


def _exact(config: Config) -> Any:
    """The model of a config with unrolled layers, in float32."""
    model = dataclasses.replace(config.model, compute_dtype="float32", scan_layers=False)
    return build_model(dataclasses.replace(config, model=model))


def require_equal(compared: Compared) -> None:
    """Raise `InputError` where the smaller model is not the masked one."""
    allowed = TOLERANCE * max(compared.scale, 1.0)
    if not compared.difference <= allowed:
        raise InputError(
            f"outputs differ from the masked model by {compared.difference:.1e}, over "
            f"{allowed:.1e}: nothing was written; check the checkpoint, or give another --step"
        )


def seconds_per_batch(
    models: Mapping[str, tuple[Any, Any]],
    positions: int,
    size: int,
    devices: DeviceMesh,
) -> dict[str, float]:
    """Median seconds of a forward pass over `size` utterances of `positions` for each model.

    Models are (module, parameters) of one family; they take turns, so that a busy machine slows all
    of them.
    """
    module, _ = next(iter(models.values()))
    samples = module.grid.samples(positions)
    noise = np.random.default_rng(0).normal(0, 1000, (size, samples)).astype(np.int16)
    heard = jax.jit(module.prepare)(noise, np.full(size, samples, np.int32))
    placed = mesh.place_batch(jax.tree.map(np.asarray, heard), devices)
    runs: dict[str, Callable[[], jax.Array]] = {}
    for name, (module, params) in models.items():
        forward = jax.jit(lambda p, x, v, module=module: module.apply({"params": p}, x, v))
        runs[name] = functools.partial(forward, params, *placed)
        runs[name]().block_until_ready()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter()
            run().block_until_ready()
            times[name].append(time.perf_counter() - began)
    return {name: float(np.median(each)) for name, each in times.items()}


def masked_losses(
    config: Config, checkpoints: Sequence[Any], prepared: Path, devices: DeviceMesh
) -> list[dict[str, float]]:
    """The losses that train.py evaluates, on the same batches and masks, of each parameters."""
    module = build_model(config)
    train, valid = (open_split(prepared, name) for name in ("train", "valid"))
    how = (config.batches, module.grid, config.seed)
    quiet = {"skip_short": config.corpus.skip_bad, "say": lambda _: None}
    edges = batches.train_plan(train, *how, **quiet).edges
    evaluate = step.valid_step(config, module, devices)
    losses: list[list[Any]] = [[] for _ in checkpoints]
    with contextlib.closing(batches.train_batches(valid, *how, **quiet, edges=edges)) as stream:
        for number in range(config.loop.valid_batches):
            batch = next(stream)
            placed = mesh.place_batch((batch.audio, batch.lengths), devices)
            for params, found in zip(checkpoints, losses, strict=True):
                found.append(mesh.paced(evaluate(params, np.int32(number), *placed)))
    means = [jax.tree.map(lambda *values: float(np.mean(values)), *found) for found in losses]
    return [
        {f"valid_{name}": value for name, value in m._asdict().items() if name != "count"}
        for m in means
    ]


def write_run(
    config: Config,
    params: Mapping[int, Any],
    records: Mapping[int, Mapping[str, float]],
    data: dict[str, Any],
    devices: DeviceMesh,
) -> None:
    """Make the run directory of `config`, whole or not at all.

    `params` are parameters by step; each is saved with an optimiser that has seen nothing yet.
    `records` are lines of metrics.jsonl by step, `data` is the manifest's.
    """
    out = config.directory
    temporary = out.with_name(f".{out.name}.tmp")
    if temporary.exists():
        shutil.rmtree(temporary)
    with writing(out):
        temporary.mkdir(parents=True)
    write_config(temporary / "config.json", config)
    tx = optim.optimizer(config.optim, config.loop.steps)
    checkpoints = checkpoint.open_checkpoints(temporary / "ckpt", config.loop.keep)
    for number, each in sorted(params.items()):
        state = step.TrainState(jnp.int32(number), None, tx.init(each), jnp.zeros(2))
        checkpoint.save(checkpoints, number, each, state)
    checkpoint.close(checkpoints)
    sinks = log.open_sinks(temporary, 0)
    for number, values in sorted(records.items()):
        log.write_metrics(sinks, number, dict(values))
    log.close_sinks(sinks)
    log.write_manifest(temporary, data, [str(device) for device in devices.devices.flat])
    temporary.replace(out)


def utterances_of(prepared: Path, most: int) -> Any:
    """At most so many utterances of the validation split, evenly spread; 0 is all."""
    return spread(open_split(prepared, "valid"), most)
