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
from typing import Any

from sat_jax import peers
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

    from sat_jax.pretrain import terminal

    with terminal.open_terminal() as screen:
        train(config, screen)


def train(config: Config, screen: Any) -> None:
    """Train, from the first part to the last, and say on `screen` what happens."""
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    from sat_jax import checkpoint, checkpoint_files, mesh, run_directory
    from sat_jax.audio import dataset
    from sat_jax.config import json as config_json
    from sat_jax.features import batches
    from sat_jax.grid import SAMPLE_RATE
    from sat_jax.model.build import build_model
    from sat_jax.pretrain import ctc, log, optim, step, terminal, watch
    from sat_jax.pretrain.losses import loss_of, words_of

    loss_of(config.objective)
    words = words_of(config.objective)
    # --- Mesh: the same program on every process, all devices in one grid -----------------------
    mesh.join_cluster(config.distributed)
    devices = mesh.build_mesh(config.mesh, config.batches.size)
    process, processes = jax.process_index(), jax.process_count()
    leader = process == 0
    run_dir, loop = config.directory, config.loop

    def say(message: str) -> None:
        if leader:
            terminal.say(screen, message)

    # --- Run directory: a new one, or that of the same experiment; nobody else trains in it -----
    stored, saved = run_dir / "config.json", run_dir / "ckpt"
    before = config_json.require_same(stored, config)
    unwritable = run_directory.take(run_dir, say) if leader else None
    found = checkpoint.look(saved, loop.first)
    start = found.whole
    if start is not None and start >= loop.steps:
        say(f"{run_dir} has all of its {loop.steps} steps: nothing to do")
        return
    if leader:
        if unwritable:
            raise unwritable
        checkpoint_files.set_aside(saved, found.broken, say)
        config_json.write_config(stored, config)

    # --- Data: prepared once; after that one integer says where a run is in it ------------------
    if leader:
        dataset.prepare(config.corpus, say)
    multihost_utils.sync_global_devices("data")
    model = build_model(config)
    prepared = dataset.directory_of(config.corpus)
    train_split, valid_split = (dataset.open_split(prepared, name) for name in ("train", "valid"))
    hours = train_split.lengths.sum() / SAMPLE_RATE / 3600
    say(f"data: {prepared}: {len(train_split)} training utterances, {hours:.2f} h")
    skip = config.corpus.skip_bad
    stream_of = functools.partial(
        batches.train_batches,
        batches=config.batches,
        grid=model.grid,
        seed=config.seed,
        process=process,
        processes=processes,
        skip_short=skip,
        with_labels=bool(config.model.letters),
    )
    named = None
    if config.model.letters:
        named = ctc.unit_of_phones(train_split.phone_names, config.model.letters, str(prepared))
    plan = batches.train_plan(train_split, config.batches, model.grid, config.seed, skip, say)

    # --- State: shapes first, then arrays that no single device ever holds whole ----------------
    tx = optim.optimizer(config.optim, loop.steps - loop.first, devices)
    abstract, make_state = step.sharded_state(step.init_state(config, model, tx), devices)

    # --- Restore: the newest whole checkpoint, or step 0, kept for the untrained model ----------
    manager = checkpoint.open_checkpoints(saved, loop.keep)
    if start is None:
        if before:
            say(f"{saved} holds no whole checkpoint: training starts anew from step 0")
        state, start = make_state(), 0
        checkpoint.save(manager, 0, state.params, state._replace(params=None))
    else:
        params, rest = checkpoint.restore(
            manager, start, abstract.params, abstract._replace(params=None)
        )
        state = rest._replace(params=params)
        fresh = " with a fresh optimiser and learning rate" if start == loop.first > 0 else ""
        say(f"going on from step {start} of {loop.steps}{fresh}")
        if before and (change := watch.longer(config.optim, loop, before.loop.steps, start)):
            say(change)
    sinks = None
    if leader:
        sinks = log.open_sinks(run_dir, start, say)
        data = {"directory": str(prepared), "fingerprint": train_split.fingerprint}
        log.write_manifest(run_dir, data, [str(d) for d in devices.devices.flat], say)

    # --- Step: compiled for every bucket before the first one -----------------------------------
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    train_step = step.train_step(config, model, tx, devices, shardings)
    valid_step = step.valid_step(config, model, devices)
    say(mesh.device_table(devices))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(abstract.params))
    held = mesh.bytes_per_device(abstract, shardings) / 2**20
    say(f"model: {parameters:,} parameters; {held:,.0f} MiB of state per device")
    compiled = {}
    for frames in plan.edges:
        began = time.perf_counter()
        samples = model.grid.frame_samples(frames)
        units = frames // model.grid.frames if named is not None else 0
        shapes = mesh.batch_shapes(config.batches.size, samples, devices, units)
        compiled[samples] = train_step.lower(abstract, *shapes).compile()
        needed = held + compiled[samples].memory_analysis().temp_size_in_bytes / 2**20
        say(
            f"bucket {len(compiled)} of {len(plan.edges)}: {frames} frames, compiled in "
            f"{time.perf_counter() - began:.1f} s, a step needs {needed:,.0f} MiB per device"
        )

    def placed(batch) -> tuple[jax.Array, ...]:
        arrays = batch.audio, batch.lengths
        if named is not None:
            arrays += (batch.units(named, batch.labels.shape[1] // model.grid.frames),)
        return mesh.place_batch(arrays, devices)

    def evaluate(params) -> dict[str, float]:
        stream = stream_of(valid_split, start_step=0, edges=plan.edges)
        losses = []
        for number in range(loop.valid_batches):
            losses.append(valid_step(params, np.int32(number), *placed(next(stream))))
        stream.close()
        mean = jax.tree.map(lambda *values: float(np.mean(values)), *losses)
        return {f"valid_{name}": value for name, value in mean._asdict().items()}

    if start == 0:
        first = evaluate(state.params)
        beside = [f"{text} {first[f'valid_{name}']:.3f}" for name, text in words.others]
        say("; ".join([f"untrained loss {first['valid_loss']:.3f}", *beside]))
        if leader:
            log.write_metrics(sinks, 0, first)

    # --- Loop -----------------------------------------------------------------------------------
    terminated = []
    if processes == 1:
        signal.signal(signal.SIGTERM, lambda *_: terminated.append(True))
    rate = optim.learning_rate(config.optim, loop.steps - loop.first)
    warmup = loop.first + round(config.optim.warmup_share * (loop.steps - loop.first))
    alarm = ""
    stream = stream_of(train_split, start_step=start, edges=plan.edges)
    pending, window = collections.deque(), log.Window(time.perf_counter(), start)
    waited_in_all, began = 0.0, time.perf_counter()
    if leader:
        terminal.open_bar(screen, loop.steps, start)
    for done in range(start + 1, loop.steps + 1):
        before = time.perf_counter()
        batch = next(stream)
        waited = time.perf_counter() - before
        state, metrics = compiled[batch.audio.shape[1]](state, *placed(batch))
        pending.append((done, batch.index, metrics))
        window = window.add(waited, batch.lengths.sum() * processes / SAMPLE_RATE)
        waited_in_all += waited
        watch.settle(pending, watch.AHEAD, train_split.ids)
        last = done == loop.steps
        if processes == 1:
            leaving = bool(terminated)
        else:
            leaving = multihost_utils.reached_preemption_sync_point(done)

        if done % loop.log_every == 0 or last:
            metrics = watch.settle(pending, 0, train_split.ids)
            now = float(rate(done - 1 - loop.first))
            numbers = window.numbers(done, metrics, now, words.baseline)
            shown, window = window.first, log.Window(time.perf_counter(), done)
            checkpoint.report(manager)
            if not alarm:
                alarm = watch.no_better(done, warmup, numbers, words)
                if alarm:
                    say(alarm)
            if leader:
                log.write_metrics(sinks, done, numbers)
                terminal.show(screen, shown, done, numbers)
        if done % loop.valid_every == 0 or last:
            found = evaluate(state.params)
            errors = found.get("valid_error_rate")
            errors = "" if errors is None else f"; error rate {errors:.3f}"
            say(f"step {done}: valid loss {found['valid_loss']:.4f}{errors}")
            if leader:
                log.write_metrics(sinks, done, found)
        if done % loop.checkpoint_every == 0 or last or leaving:
            watch.settle(pending, 0, train_split.ids)
            if leader:
                log.settle_on_disk(sinks)
            checkpoint.save(manager, done, state.params, state._replace(params=None))
        if leaving and not last:
            checkpoint.finish(manager)
            raise Interrupted(f"SIGTERM: saved step {done} in {run_dir}; the same command goes on")

    # --- Save -----------------------------------------------------------------------------------
    stream.close()
    checkpoint.finish(manager)
    if leader:
        log.close_sinks(sinks)
    share = waited_in_all / max(time.perf_counter() - began, 1e-9)
    say(f"done: {loop.steps} steps; waited for data {share:.1%} of the time")
    say(as_called(f"next: python analyze.py {run_dir}"))


def run() -> None:
    """The command, in the environment that it needs."""
    relaunch()
    guarded(main)


if __name__ == "__main__":
    run()
