"""Which checkpoint of a run is whole, and who sees it: files in, a step out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from sat_jax import exchange
from sat_jax.checkpoint_files import ITEMS, Survey, fault, is_sealed, saved_steps, seal_of, survey
from sat_jax.errors import InputError


def look(directory: Path, first: int) -> Survey:
    """The newest whole step, and what is wrong with newer ones, as process 0 sees them.

    It reads every file of the steps that it looks at. Raises `InputError` where a run that was
    exported at step `first` has no whole step from there.
    """
    found = exchange.from_leader(
        lambda: survey(directory, lambda step: _fault(directory, step, ITEMS))
    )
    if first > (found.whole or 0):
        raise InputError(f"{directory}: no step from {first} on is whole: export the run again")
    return found


def whole_step(directory: Path, step: int | None, say: Callable[[str], None]) -> int:
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
    only = alone("look")
    try:
        for item in items:
            handler = ocp.StandardCheckpointHandler(multiprocessing_options=only)
            with ocp.Checkpointer(handler, multiprocessing_options=only) as reader:
                where = (step_directory / item).absolute()
                target = in_host_memory(reader.metadata(where).item_metadata)
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


def is_seen_by_all(step_directory: Path) -> bool:
    """Whether every process sees the same checkpoint there, by its checksums."""
    if jax.process_count() == 1:
        return True
    seals = exchange.everywhere(seal_of(step_directory))
    return bool(seals[0]) and len(set(seals)) == 1


def alone(purpose: str) -> ocp.options.MultiprocessingOptions:
    """For what this process does without the others."""
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=purpose
    )


def in_host_memory(shapes: Any) -> Any:
    """A target to restore into numpy arrays; takes no memory itself."""
    return jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), shapes)
