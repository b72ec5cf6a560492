"""Training state in, files out and back: Orbax checkpoints that appear whole or not at all.

A checkpoint holds two items, `params` and `optimizer`, so that an analysis reads only the first,
and checksums of their files. Restoring always names target shapes and shardings: a pod's checkpoint
opens on a laptop. Where hosts share no disk, process 0 reads and writes for all of them, and states
travel; what lies on disk is the same.
"""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from sat_jax import exchange, stalls
from sat_jax.checkpoint_files import ITEMS, seal
from sat_jax.checkpoint_steps import alone, in_host_memory, is_seen_by_all, whole_step
from sat_jax.errors import WRITE_ERRORS, InputError, unwritable

# Errors of Orbax's threads are raised again where they are waited for; there they end in one line.
logging.getLogger("absl").setLevel(logging.CRITICAL)


def _after_failure(ignored: Any) -> None:
    """Say nothing of writes that tensorstore finishes when the first failure has been reported."""
    if str(ignored.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(ignored)


sys.unraisablehook = _after_failure


class Checkpoints(NamedTuple):
    """The checkpoints of a run that trains."""

    directory: Path
    manager: ocp.CheckpointManager | None
    """None where process 0 reads and writes for this process."""
    shared: bool
    """Whether all processes read and write the directory, each its part of the arrays."""


def open_checkpoints(directory: Path, keep: int, shared: bool = True) -> Checkpoints:
    """The checkpoints of a run: step 0 is kept for ever, and the latest `keep`.

    Without `shared`, the directory of process 0 counts, and no other is looked at.
    """
    if not shared and jax.process_index():
        return Checkpoints(directory, None, shared)
    policies = checkpoint_managers.preservation_policy
    policy = policies.AnyPreservationPolicy([policies.LatestN(keep), policies.CustomSteps([0])])
    processes = ocp.options.MultiprocessingOptions() if shared else alone("save")
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        enable_async_checkpointing=True,
        async_options=ocp.AsyncOptions(post_finalization_callback=lambda: _seal(directory)),
        cleanup_tmp_directories=True,
        create=shared,
        multiprocessing_options=processes,
    )
    with _readable_errors(directory):
        if not shared:
            directory.mkdir(parents=True, exist_ok=True)
        return Checkpoints(directory, _manager(directory, options), shared)


def _seal(directory: Path) -> None:
    """Checksums of what was just written; Orbax calls this before the step gets its name."""
    if jax.process_index() == 0:
        (unnamed,) = directory.glob("*.orbax-checkpoint-tmp*")
        seal(unnamed)


def _manager(
    directory: Path, options: ocp.CheckpointManagerOptions, items: Sequence[str] = ITEMS
) -> ocp.CheckpointManager:
    processes = options.multiprocessing_options
    handlers = {
        name: ocp.StandardCheckpointHandler(multiprocessing_options=processes) for name in items
    }
    return ocp.CheckpointManager(directory.absolute(), options=options, item_handlers=handlers)


def save(checkpoints: Checkpoints, step: int, params: Any, optimizer: Any) -> None:
    """Start writing a checkpoint in the background; the arrays may be donated afterwards."""
    state = (params, optimizer) if checkpoints.shared else exchange.gathered((params, optimizer))
    if checkpoints.manager is None:
        return
    params, optimizer = state
    with _readable_errors(checkpoints.directory):
        checkpoints.manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params), optimizer=ocp.args.StandardSave(optimizer)
            ),
        )


def finish(checkpoints: Checkpoints) -> None:
    """Wait until everything that was saved is on disk, and report what went wrong."""
    if checkpoints.manager is not None:
        with _readable_errors(checkpoints.directory):
            checkpoints.manager.wait_until_finished()


def close(checkpoints: Checkpoints) -> None:
    """The same, and its threads end."""
    finish(checkpoints)
    if checkpoints.manager is not None:
        checkpoints.manager.close()


def report(checkpoints: Checkpoints) -> None:
    """Report what went wrong in the background so far, without waiting."""
    if checkpoints.manager is not None:
        with _readable_errors(checkpoints.directory):
            checkpoints.manager.check_for_errors()


def restore(checkpoints: Checkpoints, step: int, params: Any, optimizer: Any) -> Any:
    """(params, optimizer) of `step` into the shapes and shardings of the given abstract trees."""
    target = {"params": params, "optimizer": optimizer}
    found = _restored(checkpoints.manager, checkpoints.shared, step, target)
    return found["params"], found["optimizer"]


def restore_params(
    directory: Path, step: int | None, params: Any, say: Callable[[str], None] = print
) -> tuple[int, Any]:
    """(step, params) of one checkpoint, by default the newest whole one, on `params`' shardings.

    Process 0 chooses the step; what it passes over, as it is broken, is said. Raises `InputError`
    where the step that is asked for is missing or broken, or where none is whole.
    """
    step = exchange.from_leader(lambda: whole_step(directory, step, say))
    shared = is_seen_by_all(directory / str(step))
    if not shared and jax.process_index():
        return step, _restored(None, shared, step, {"params": params})["params"]
    processes = ocp.options.MultiprocessingOptions() if shared else alone("read")
    options = ocp.CheckpointManagerOptions(create=False, multiprocessing_options=processes)
    with _manager(directory, options, ITEMS[:1]) as manager:
        return step, _restored(manager, shared, step, {"params": params})["params"]


def _restored(
    manager: ocp.CheckpointManager | None, shared: bool, step: int, target: dict[str, Any]
) -> dict[str, Any]:
    """The items of a step on the shardings of `target`: read by all, or by process 0 for all."""

    def read(into: dict[str, Any]) -> dict[str, Any]:
        _compare_shapes(manager, step, target["params"])
        args = {name: ocp.args.StandardRestore(tree) for name, tree in into.items()}
        with _readable_errors(manager.directory):
            restored = manager.restore(step, args=ocp.args.Composite(**args))
        return {name: restored[name] for name in into}

    if shared:
        return read(target)
    found: list[dict[str, Any]] = []
    exchange.from_leader(lambda: found.append(read(in_host_memory(target))))
    return exchange.dealt(found[0] if found else None, target)


def _compare_shapes(manager: ocp.CheckpointManager, step: int, params: Any) -> None:
    """Raise `InputError` naming the first parameter whose shape is not that of the model."""
    metadata = manager.item_metadata(step)["params"]
    if metadata is None:
        raise InputError(
            f"{manager.directory}/{step}: the item params is missing; delete this step"
        )
    stored, wanted = (_shapes(tree) for tree in (metadata, params))
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise InputError(
                f"{manager.directory}/{step}: {name} is {stored.get(name, 'missing')} there and "
                f"{wanted.get(name, 'unknown')} in the model; use the run's own config.json, or "
                "another --run-dir for another model"
            )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        "/".join(str(getattr(k, "key", getattr(k, "name", k))) for k in path): tuple(leaf.shape)
        for path, leaf in leaves
    }


@contextlib.contextmanager
def _readable_errors(directory: Any) -> Iterator[None]:
    """Turn a disk that is full, closed or broken into one line; everything else passes.

    Tensorstore says in words what the operating system said, under other types. A disk that does
    not answer is named.
    """
    try:
        with stalls.waiting_for(f"checkpoints in {directory}"):
            yield
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        for number in WRITE_ERRORS.keys() - {errno.ENOENT, errno.EEXIST}:
            if os.strerror(number) in str(error):
                raise unwritable(directory, OSError(number, "")) from error
        raise
