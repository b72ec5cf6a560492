"""Training state in, files out and back: Orbax checkpoints that appear whole or not at all.

A checkpoint holds two items, `params` and `optimizer`, so that an analysis reads only the first,
and checksums of their files. Restoring always names target shapes and shardings: a pod's checkpoint
opens on a laptop.
"""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from sat_jax.checkpoint_files import ITEMS, Survey, fault, is_sealed, saved_steps, seal, survey
from sat_jax.errors import WRITE_ERRORS, InputError, unwritable

NOTHING, FAILED = -1, -2

# Errors of Orbax's threads are raised again where they are waited for; there they end in one line.
logging.getLogger("absl").setLevel(logging.CRITICAL)


def _after_failure(ignored: Any) -> None:
    """Say nothing of writes that tensorstore finishes when the first failure has been reported."""
    if str(ignored.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(ignored)


sys.unraisablehook = _after_failure


def open_checkpoints(directory: Path, keep: int) -> ocp.CheckpointManager:
    """The checkpoints of a run: step 0 is kept for ever, and the latest `keep`."""
    policies = checkpoint_managers.preservation_policy
    policy = policies.AnyPreservationPolicy([policies.LatestN(keep), policies.CustomSteps([0])])
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        enable_async_checkpointing=True,
        async_options=ocp.AsyncOptions(post_finalization_callback=lambda: _seal(directory)),
        cleanup_tmp_directories=True,
        create=True,
    )
    with _readable_errors(directory):
        return _manager(directory, options)


def _seal(directory: Path) -> None:
    """Checksums of what was just written; Orbax calls this before the step gets its name."""
    if jax.process_index() == 0:
        (unnamed,) = directory.glob("*.orbax-checkpoint-tmp*")
        seal(unnamed)


def _manager(
    directory: Path, options: ocp.CheckpointManagerOptions, items: Sequence[str] = ITEMS
) -> ocp.CheckpointManager:
    handlers = {name: ocp.StandardCheckpointHandler() for name in items}
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


def report(manager: ocp.CheckpointManager) -> None:
    """Report what went wrong in the background so far, without waiting."""
    with _readable_errors(manager.directory):
        manager.check_for_errors()


def look(directory: Path, first: int) -> Survey:
    """The newest whole step, the same on every process, and what is wrong with newer ones.

    Process 0 reads every file of the steps that it looks at; what is wrong is known to it only.
    Raises `InputError` where a run that was exported at step `first` has no whole step from there.
    """
    found = Survey(None, {})

    def newest() -> int:
        nonlocal found
        found = survey(directory, lambda step: _fault(directory, step, ITEMS))
        return NOTHING if found.whole is None else found.whole

    step = _from_process_0(newest)
    if first > max(step, 0):
        raise InputError(f"{directory}: no step from {first} on is whole: export the run again")
    return found._replace(whole=None if step == NOTHING else step)


def _from_process_0(number: Callable[[], int]) -> int:
    """What `number` gives on process 0, on every process; where it raises, all do."""
    if jax.process_count() == 1:
        return number()
    found, error = FAILED, None
    if jax.process_index() == 0:
        try:
            found = number()
        except InputError as raised:
            error = raised
    found = int(multihost_utils.broadcast_one_to_all(np.int32(found)))
    if found == FAILED:
        raise error or InputError("process 0 found nothing to go on with: see what it says")
    return found


def _whole_step(directory: Path, step: int | None, say: Callable[[str], None]) -> int:
    """The step to read parameters from, see `restore_params`."""
    if not directory.is_dir():
        raise InputError(f"{directory}: no checkpoints here; give a run that train.py made")
    steps = saved_steps(directory)[::-1]
    if not steps:
        raise InputError(f"{directory}: no finished checkpoint; let train.py reach one")
    if step is not None and step not in steps:
        raise InputError(f"{directory}: no checkpoint of step {step}; there are {steps}")

    def fault_of(step: int) -> str:
        return _fault(directory, step, ITEMS[:1])

    if step is not None:
        wrong = fault_of(step)
        if wrong:
            whole = [other for other in steps if other != step and not fault_of(other)]
            cure = f"whole steps are {whole}" if whole else "no other step is whole either"
            raise InputError(f"{directory}/{step} is broken: {wrong}; {cure}")
        return step
    found = survey(directory, fault_of)
    for passed, wrong in found.broken.items():
        say(f"{directory}/{passed} is broken and passed over: {wrong}")
    if found.whole is None:
        raise InputError(f"{directory}: none of the steps {steps} is whole; train again")
    return found.whole


def _fault(directory: Path, step: int, items: Sequence[str]) -> str:
    where = directory / str(step)
    return fault(where, items) or ("" if is_sealed(where) else _unreadable(where, items))


def _unreadable(step_directory: Path, items: Sequence[str]) -> str:
    """What keeps a step without checksums from being read into host memory, or nothing."""
    alone = ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix="look",
    )
    try:
        for item in items:
            handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
            with ocp.Checkpointer(handler, multiprocessing_options=alone) as reader:
                where = (step_directory / item).absolute()
                shapes = reader.metadata(where).item_metadata
                target = jax.tree.map(
                    lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), shapes
                )
                reader.restore(where, args=ocp.args.StandardRestore(target))
    except PermissionError as error:
        raise InputError(f"{error.filename}: permission denied; make it readable") from None
    except MemoryError:
        raise
    except Exception as error:
        # Whatever Orbax and tensorstore make of damaged files; it counts as damage.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"it cannot be read ({first[:160]})"
    return ""


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


def restore_params(
    directory: Path, step: int | None, params: Any, say: Callable[[str], None] = print
) -> tuple[int, Any]:
    """(step, params) of one checkpoint, by default the newest whole one, on `params`' shardings.

    Broken steps that are passed over are said. Raises `InputError` where the step that is asked
    for is missing or broken, or where none is whole.
    """
    step = _from_process_0(lambda: _whole_step(directory, step, say))
    options = ocp.CheckpointManagerOptions(create=False)
    with _manager(directory, options, ITEMS[:1]) as manager:
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
    """Turn a disk that is full, closed or broken into one line; everything else passes.

    Tensorstore says in words what the operating system said, under other types.
    """
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        for number in WRITE_ERRORS.keys() - {errno.ENOENT, errno.EEXIST}:
            if os.strerror(number) in str(error):
                raise unwritable(directory, OSError(number, "")) from error
        raise
