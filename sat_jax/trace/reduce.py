"""A model, batches and a measure in, one small array per utterance out.

Maps never leave the device: 12 x 12 heads at 1500 positions are 1.3 GB per utterance.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh as DeviceMesh

from sat_jax.errors import InputError
from sat_jax.mesh import by_device, place_batch, replicated
from sat_jax.trace.capture import Trace, capture

TraceFn = Callable[[Any, jax.Array, jax.Array], Any]
Measure = Callable[..., Mapping[str, jax.Array]]
Reduce = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
Part = tuple[np.ndarray, dict[str, np.ndarray]]


def make_trace_fn(model: nn.Module, mesh: DeviceMesh) -> TraceFn:
    """A jitted function of params, audio (B, N) and lengths (B,) in samples that gives a `Trace`.

    It is compiled apart from what is measured, so that several studies share it.
    """
    prepare = by_device(model.prepare, mesh)

    def trace_fn(params: Any, audio: jax.Array, lengths: jax.Array) -> Trace:
        return capture(model, params, *prepare(audio, lengths))

    return jax.jit(trace_fn)


def reducer(trace_fn: TraceFn, measure: Measure, mesh: DeviceMesh) -> Reduce:
    """A function of params, settings, audio (B, N), lengths (B,), index (B,) and more rows.

    `measure(traced, settings, *rows)` maps what the jitted `trace_fn` gives, settings (any tree,
    the same for all rows) and further arrays (B, ...) to named arrays (B, ...); it is jitted here.
    The result lies on every device, behind the indices of all rows.
    """

    def everywhere(
        traced: Any, settings: Any, index: jax.Array, *rows: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        return index, dict(measure(traced, settings, *rows))

    reduce = jax.jit(everywhere, out_shardings=replicated(mesh))

    def step(
        params: Any,
        settings: Any,
        audio: jax.Array,
        lengths: jax.Array,
        index: jax.Array,
        *rows: jax.Array,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        return reduce(trace_fn(params, audio, lengths), settings, index, *rows)

    return step


def stream(
    step: Reduce,
    params: Any,
    batches: Iterable[Any],
    mesh: DeviceMesh,
    settings: Any = None,
    rows_of: Callable[[Any], tuple[np.ndarray, ...]] = lambda batch: (),
) -> Iterator[Part]:
    """Utterance indices (B,) and reduced arrays (B, ...) batch by batch; filler rows are dropped.

    Batches have `audio` (B, N), `lengths` (B,) and `index` (B,), -1 in a filler row; `rows_of` a
    batch are the further arrays of `measure`. With several processes each brings its own rows and
    gets those of all.
    """
    for batch in batches:
        rows = (batch.audio, batch.lengths, batch.index, *rows_of(batch))
        everyone, reduced = step(params, settings, *place_batch(rows, mesh))
        index = np.asarray(everyone)
        kept = index >= 0
        yield index[kept], {name: np.asarray(values)[kept] for name, values in reduced.items()}


def require_finite(
    name: str, values: Mapping[str, np.ndarray], ids: Sequence[str], head_mask: np.ndarray
) -> None:
    """Raise `InputError` naming model, measure, utterance and head where a value is not finite.

    Values are (U, N, ...) of the N heads that are not pruned, True in `head_mask` (L, H).
    """
    for measure, array in values.items():
        wrong = ~np.isfinite(array)
        if wrong.any():
            utterance, place = np.argwhere(wrong)[0][:2]
            layer, head = np.argwhere(head_mask)[place]
            raise InputError(
                f"{name}: {measure} of utterance {ids[utterance]} is not finite at layer "
                f"{layer + 1}, head {head + 1}: the checkpoint has diverged; give another --step"
            )


def collect(parts: Iterable[Part]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All parts of a stream as one, in the order of the utterances: (U,) and name to (U, ...)."""
    indices, values = zip(*parts, strict=True)
    index = np.concatenate(indices)
    order = np.argsort(index)
    return index[order], {
        name: np.concatenate([part[name] for part in values])[order] for name in values[0]
    }


def collect_groups(
    parts: Iterable[Part], utterances: int, groups: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sums over at most `groups` groups of utterances: how many are in each, name to (groups, ...).

    Neighbouring indices share a group, one each where there are enough groups. Memory stays bounded
    for any number of utterances; resampling groups takes the place of resampling utterances.
    """
    groups = min(groups, utterances)
    counts = np.zeros(groups, np.int64)
    sums: dict[str, np.ndarray] = {}
    for index, values in parts:
        group = index.astype(np.int64) * groups // utterances
        np.add.at(counts, group, 1)
        for name, array in values.items():
            if name not in sums:
                sums[name] = np.zeros((groups, *array.shape[1:]), np.float64)
            np.add.at(sums[name], group, array)
    kept = counts > 0
    return counts[kept], {name: array[kept] for name, array in sums.items()}
