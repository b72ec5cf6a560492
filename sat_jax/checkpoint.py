"""Training state in, files out and back: Orbax checkpoints that appear whole or not at all.

A checkpoint holds two items, `params` and `optimizer`, so that an analysis reads only the first.
Restoring always names target shapes and shardings: a pod's checkpoint opens on a laptop.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from sat_jax.errors import InputError


def open_checkpoints(directory: Path, keep: int) -> ocp.CheckpointManager:
    """The checkpoints of a run: step 0 is kept for ever, and the latest `keep`."""
    policies = checkpoint_managers.preservation_policy
    policy = policies.AnyPreservationPolicy([policies.LatestN(keep), policies.CustomSteps([0])])
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        enable_async_checkpointing=True,
        cleanup_tmp_directories=True,
        create=True,
    )
    with _readable_errors(directory):
        return _manager(directory, options)


def _manager(directory: Path, options: ocp.CheckpointManagerOptions) -> ocp.CheckpointManager:
    handlers = {name: ocp.StandardCheckpointHandler() for name in ("params", "optimizer")}
    return ocp.CheckpointManager(directory.absolute(), options=options, item_handlers=handlers)


def save(manager: ocp.CheckpointManager, step: int, params: Any, optimizer: Any) -> None:
    """Start writing a checkpoint in the background; the arrays may be donated afterwards."""
    with _readable_errors(manager.directory):
        manager.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(params), optimizer=ocp.args.StandardSave(optimizer)
            ),
        )


def finish(manager: ocp.CheckpointManager) -> None:
    """Wait until everything that was saved is on disk, and report what went wrong."""
    with _readable_errors(manager.directory):
        manager.wait_until_finished()


def restore(manager: ocp.CheckpointManager, step: int, params: Any, optimizer: Any) -> Any:
    """(params, optimizer) of `step` into the shapes and shardings of the given abstract trees."""
    _compare_shapes(manager, step, params)
    with _readable_errors(manager.directory):
        restored = manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(params),
                optimizer=ocp.args.StandardRestore(optimizer),
            ),
        )
    return restored["params"], restored["optimizer"]


def restore_params(directory: Path, step: int | None, params: Any) -> tuple[int, Any]:
    """(step, params) of one checkpoint, by default the latest, on the shardings of `params`."""
    if not directory.is_dir():
        raise InputError(f"{directory}: no checkpoints here; give a run that train.py made")
    with _manager(directory, ocp.CheckpointManagerOptions(create=False)) as manager:
        steps = sorted(manager.all_steps())
        if not steps:
            raise InputError(f"{directory}: no finished checkpoint; let train.py reach one")
        step = steps[-1] if step is None else step
        if step not in steps:
            raise InputError(f"{directory}: no checkpoint of step {step}; there are {steps}")
        _compare_shapes(manager, step, params)
        with _readable_errors(directory):
            args = ocp.args.Composite(params=ocp.args.StandardRestore(params))
            return step, manager.restore(step, args=args)["params"]


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
    """Turn a disk that is full or closed into one line; everything else passes."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        text = str(error)
        for sign, cure in (
            ("No space left", "the disk is full: free some space; finished checkpoints are intact"),
            ("Permission denied", "not writable: give another --run-dir"),
            ("Read-only file system", "not writable: give another --run-dir"),
            ("Not a directory", "is a file: give another --run-dir"),
        ):
            if sign in text:
                raise InputError(f"{directory}: {cure}") from error
        raise
