"""Pretrain one model: parse, mesh, data, state, restore, step, loop, save.

python train.py toy
python train.py mockingjay_base --corpus.kind librispeech --corpus.path LibriSpeech
python train.py runs/toy_pruned --loop.steps 3000

The same command again goes on from the newest checkpoint that is whole, to the same numbers; with
more --loop.steps it makes a run longer. A run directory in the place of an experiment is a run that
goes on; one that export.py made starts with a fresh optimiser.
"""

import collections
import functools
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from sat_jax import address, cloud, peers
from sat_jax.command_line import as_called, experiment_or_run, guarded
from sat_jax.config import Config
from sat_jax.config.check import check
from sat_jax.errors import Interrupted
from sat_jax.experiments import experiments
from sat_jax.launch import relaunch


def parse_config() -> Config:
    """The experiment, or the run, that the command line asks for, checked."""
    config = experiment_or_run(experiments(), as_called(__doc__))
    check(config)
    return config


def main() -> None:
    """Settle what has to be settled before jax is imported, and train."""
    config = parse_config()
    peers.watch(config.distributed, config.directory / "ckpt")
    if config.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()

    import jax

    from sat_jax import exchange, mesh
    from sat_jax.pretrain import terminal

    with terminal.open_terminal() as screen:
        cluster = mesh.join_cluster(config.distributed)
        say = functools.partial(terminal.say, screen)
        leader = jax.process_index() == 0
        if leader and cluster:
            say(cluster)
        # Process 0 alone keeps a copy of a run in the cloud; what others need of it travels.
        bucket = config.run_dir if address.address_of(config.run_dir) else None
        if bucket:
            exchange.from_leader(lambda: str(cloud.fetched(bucket, "train", say)))
        with (
            exchange.leaving_together(),
            cloud.mirrored(bucket if leader else None, say) as begin_uploads,
        ):
            train(config, screen, begin_uploads)


def train(config: Config, screen: Any, begin_uploads: Callable[[], None]) -> None:
    """Train, from the first part to the last, and say on `screen` what happens.

    `begin_uploads` is called when nobody else can train in the run directory any more.
    """
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    from sat_jax import checkpoint, checkpoint_files, exchange, mesh, run_directory
    from sat_jax.audio import dataset
    from sat_jax.audio.prepared import open_split
    from sat_jax.checkpoint_steps import look
    from sat_jax.config import json as config_json
    from sat_jax.features import batches
    from sat_jax.grid import SAMPLE_RATE
    from sat_jax.model.build import build_model
    from sat_jax.plan import chips
    from sat_jax.pretrain import labels, log, optim, programs, speed, step, terminal, watch
    from sat_jax.pretrain.objectives.objective import split_own
    from sat_jax.pretrain.objectives.table import objective_of

    objective = objective_of(config.objective)
    # --- Mesh: the same program on every process, all devices in one grid -----------------------
    devices = mesh.build_mesh(config.mesh, config.batches.size, config.batches.parts)
    process, processes = jax.process_index(), jax.process_count()
    leader = process == 0
    run_dir, loop = config.directory, config.loop
    named = address.shown(config.run_dir or run_dir)
    compilations = speed.Compilations()

    def say(message: str) -> None:
        if leader:
            terminal.say(screen, message)

    # --- Run directory: a new one, or that of the same experiment; nobody else trains in it -----
    stored, saved = run_dir / "config.json", run_dir / "ckpt"
    before = exchange.from_leader(lambda: config_json.require_same(stored, config))
    unwritable = run_directory.take(run_dir, say) if leader else None
    if not unwritable:
        begin_uploads()
    found = look(saved, loop.first)
    start = found.whole
    if start is not None and start >= loop.steps:
        say(f"{named} has all of its {loop.steps} steps: nothing to do")
        return
    if leader:
        if unwritable:
            raise unwritable
        checkpoint_files.set_aside(saved, found.broken, say)
        config_json.write_config(stored, config)
    shared = len(set(exchange.everywhere(run_directory.token(run_dir)))) == 1
    if not shared:
        say(f"{run_dir}: only process 0 sees it, and reads and writes checkpoints for all")

    # --- Data: prepared once; after that one integer says where a run is in it ------------------
    if leader:
        dataset.prepare(config.corpus, say)
    multihost_utils.sync_global_devices("data")
    model = build_model(config)
    prepared = dataset.receive(config.corpus)
    splits = {name: open_split(prepared, name) for name in ("train", "valid")}
    splits = labels.labelled_whole(config, model.grid, splits, say)
    ids = splits["train"].ids
    hours = splits["train"].lengths.sum() / SAMPLE_RATE / 3600
    say(f"data: {prepared}: {len(ids)} training utterances, {hours:.2f} h")
    skip = config.corpus.skip_bad
    plan = batches.train_plan(splits["train"], config.batches, model.grid, config.seed, skip, say)
    beside = labels.open_labels(config, model.grid, splits, devices, str(prepared), say)

    def stream_of(name: str, first: int) -> Any:
        return batches.train_batches(
            *(splits[name], config.batches, model.grid, config.seed, first, process, processes),
            skip_short=skip,
            edges=plan.edges,
            with_labels=beside.phones,
            with_texts=beside.texts,
            labels=beside.frames.get(name),
        )

    # --- State: shapes first, then arrays that no single device ever holds whole ----------------
    tx = optim.optimizer(config.optim, loop.steps - loop.first, devices)
    abstract, make_state = step.sharded_state(step.init_state(config, model, tx), devices)

    # --- Restore: the newest whole checkpoint, or step 0, kept for the untrained model ----------
    checkpoints = checkpoint.open_checkpoints(saved, loop.keep, shared)

    def save(number: int, state: Any) -> None:
        params, opt_state = optim.exchanged(state.params, state.opt_state)
        params, own = split_own(params)
        checkpoint.save(
            checkpoints, number, params, state._replace(params=own, opt_state=opt_state)
        )

    if start is None:
        if before:
            say(f"{saved} holds no whole checkpoint: training starts anew from step 0")
        state, start = make_state(), 0
        save(0, state)
    elif start == loop.first > 0:
        say(f"going on from step {start} of {loop.steps} with a fresh optimiser and learning rate")
        params = checkpoint.restore_params(saved, start, split_own(abstract.params)[0])[1]
        state = step.begun(make_state(), params, start)
    else:
        params, own = split_own(abstract.params)
        params, rest = checkpoint.restore(checkpoints, start, params, abstract._replace(params=own))
        params, opt_state = optim.exchanged(step.joined(params, rest.params), rest.opt_state)
        state = rest._replace(params=params, opt_state=opt_state)
        say(f"going on from step {start} of {loop.steps}")
        if before and (change := watch.longer(config.optim, loop, before.loop.steps, start)):
            say(change)
    sinks = None
    if leader:
        sinks = log.open_sinks(run_dir, start, say)
        data = {"directory": str(prepared), "fingerprint": splits["train"].fingerprint}
        log.write_manifest(run_dir, data, [str(d) for d in devices.devices.flat], say)

    # --- Step: compiled for every bucket before the first one -----------------------------------
    say(mesh.device_table(devices))
    compiled = programs.compile_steps(config, model, tx, devices, abstract, plan.edges, beside, say)
    flops = programs.step_flops(config, model, plan.edges)
    valid_step = step.valid_step(config, model, devices)

    def placed(batch: Any) -> tuple[jax.Array, ...]:
        return mesh.place_batch((batch.audio, batch.lengths, *beside.of(batch)), devices)

    def evaluate(state: Any) -> dict[str, float]:
        params, _ = optim.exchanged(state.params, state.opt_state)
        stream = stream_of("valid", 0)
        losses = []
        for number in range(loop.valid_batches):
            found = valid_step(params, np.int32(number), *placed(next(stream)))
            losses.append(mesh.paced(found))
        stream.close()
        mean = jax.tree.map(lambda *values: float(np.mean(values)), *losses)
        return {f"valid_{k}": value for k, value in mean._asdict().items() if k != "count"}

    words = objective.words
    if start == 0:
        first = evaluate(state)
        others = [f"{text} {first[f'valid_{name}']:.3f}" for name, text in words.others]
        say("; ".join([f"untrained loss {first['valid_loss']:.3f}", *others]))
        if leader:
            log.write_metrics(sinks, 0, first)

    # --- Loop -----------------------------------------------------------------------------------
    terminated = []
    if processes == 1:
        signal.signal(signal.SIGTERM, lambda *_: terminated.append(True))
    rate = optim.learning_rate(config.optim, loop.steps - loop.first)
    warmup = loop.first + round(config.optim.warmup_share * (loop.steps - loop.first))
    alarm = ""
    stream = stream_of("train", start)
    pending, window = collections.deque(), speed.Window(time.perf_counter(), start)
    waited_in_all, began = 0.0, time.perf_counter()
    kind = devices.devices.flat[0].device_kind
    peak = devices.size * chips.peak_of(kind, config.model.compute_dtype)
    recorded = speed.Profile(run_dir / "profile", start, config.profile, loop.steps, say)
    if leader:
        terminal.open_bar(screen, loop.steps, start)
    for done in range(start + 1, loop.steps + 1):
        recorded.begin(done)
        before = time.perf_counter()
        batch = next(stream)
        waited = time.perf_counter() - before
        samples = batch.audio.shape[1]
        rows = placed(batch)
        called = time.perf_counter()
        state, metrics = compiled[samples](state, *rows)
        pending.append((done, batch.index, metrics))
        # A CPU computes in the call itself.
        asked = called if jax.default_backend() == "cpu" else time.perf_counter()
        watch.settle(pending, watch.AHEAD, ids)
        window = window.add(
            waited,
            time.perf_counter() - asked,
            batch.lengths.sum() * processes / SAMPLE_RATE,
            len(batch.index) * processes,
            flops[samples],
        )
        waited_in_all += waited
        recorded.end(done, metrics)
        last = done == loop.steps
        if processes == 1:
            leaving = bool(terminated)
        else:
            leaving = multihost_utils.reached_preemption_sync_point(done)

        if done % loop.log_every == 0 or last:
            metrics = watch.settle(pending, 0, ids)
            now = float(rate(done - 1 - loop.first))
            numbers = log.numbers_of(metrics, words.baseline, now)
            numbers |= window.numbers(done, peak)
            numbers |= {"compilations": compilations.count, "memory_mib": speed.most_memory()}
            shown, window = window.first, speed.Window(time.perf_counter(), done)
            checkpoint.report(checkpoints)
            if not alarm:
                alarm = watch.alarm_of(done, warmup, numbers, objective, config)
                if alarm:
                    say(alarm)
            if leader:
                log.write_metrics(sinks, done, numbers)
                terminal.show(screen, shown, done, numbers)
        if done % loop.valid_every == 0 or last:
            found = evaluate(state)
            told = [f"{name} {found[f'valid_{name}']:.3f}" for name in words.told]
            say("; ".join([f"step {done}: valid loss {found['valid_loss']:.4f}", *told]))
            if leader:
                log.write_metrics(sinks, done, found)
        if done % loop.checkpoint_every == 0 or last or leaving:
            watch.settle(pending, 0, ids)
            if leader:
                log.settle_on_disk(sinks)
            save(done, state)
        if leaving and not last:
            checkpoint.finish(checkpoints)
            raise Interrupted(f"SIGTERM: saved step {done} in {named}; the same command goes on")

    # --- Save -----------------------------------------------------------------------------------
    stream.close()
    checkpoint.finish(checkpoints)
    if leader:
        log.close_sinks(sinks)
    share = waited_in_all / max(time.perf_counter() - began, 1e-9)
    say(f"done: {loop.steps} steps; waited for data {share:.1%} of the time")
    say(as_called(f"next: python analyze.py {named}"))


def run() -> None:
    """The command, in the environment that it needs."""
    relaunch()
    guarded(main)


if __name__ == "__main__":
    run()
