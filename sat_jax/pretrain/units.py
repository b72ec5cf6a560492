"""A corpus in, a label for each of its frames out: what masked prediction names (HuBERT).

Clusters of MFCC, or of another run's states, are found on the devices, once, before training; both
splits get the labels of the same clusters. They are kept in the run, so that it goes on without
what they were made from.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax import checkpoint, exchange, mesh
from sat_jax.audio.prepared import spread
from sat_jax.config import Config, Features, MaskedUnits
from sat_jax.config.json import encode, read_run
from sat_jax.errors import InputError
from sat_jax.features import batches, buckets
from sat_jax.features.batches import FrameLabels
from sat_jax.features.frontend import featurize, frame_grid
from sat_jax.grid import Grid
from sat_jax.model.attention.self_attention import TRACE
from sat_jax.model.build import build_model, init_params
from sat_jax.model.encoder import collect, unrolled
from sat_jax.pretrain import kept_units
from sat_jax.pretrain.kmeans import k_means, nearest, remembered

MFCC = Features(
    recipe="kaldi", input="mfcc", n_fft=512, mels=23, mfccs=13, deltas=2, normalize=False
)
"""39 numbers a frame of 10 ms, as HuBERT's first iteration clusters."""
FOLDER = "units"
SAMPLE = 20_000
"""Frames that the first centres are drawn from."""
KEPT = 2**28
"""Bytes of features that are kept from pass to pass; more are made anew in every pass."""
SIZE = 16
"""Utterances at a time, over all devices."""

States = Callable[[jax.Array, jax.Array], jax.Array]
"""Audio (B, N) and lengths (B,) to what is clustered (B, T, D), one row for every position of a
grid."""


class Source(NamedTuple):
    """What is clustered."""

    states: States
    grid: Grid
    name: str


def labels_of(
    config: Config,
    grid: Grid,
    splits: dict[str, Any],
    devices: DeviceMesh,
    say: Callable[[str], None],
) -> dict[str, FrameLabels]:
    """Labels of all frames of each split, from the run or made now.

    Every process calls this; process 0 writes, and hosts that do not see its directory get a copy
    into their own. Raises `InputError` where the run that states come from is missing or has no
    such layer, or where kept labels are damaged or of other speech.
    """
    folder = config.directory / FOLDER
    wanted = identity(config, splits)
    if not exchange.from_leader((folder / kept_units.KEPT_LAST).exists):
        make(config, grid, splits, devices, folder, wanted, say)
    kept = exchange.from_leader(lambda: kept_units.read(folder, list(splits)))
    if kept.get("identity") != wanted:
        raise InputError(
            f"{folder}: these units are of other speech or settings; delete the folder and the "
            "same command makes them anew"
        )
    kept_units.copy_to_all(folder, list(splits), kept)
    return {
        name: FrameLabels(np.load(folder / f"{name}.npy", mmap_mode="r"), ends_of(split, grid))
        for name, split in splits.items()
    }


def identity(config: Config, splits: dict[str, Any]) -> str:
    """A name for all that labels depend on: settings, speech, and the run they come from."""
    settings = {k: v for k, v in encode(config.objective).items() if k.startswith("units")}
    prints = {name: split.fingerprint for name, split in splits.items()}
    text = json.dumps([settings, prints, encode(config.model.frontend), config.seed])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ends_of(split: Any, grid: Grid) -> np.ndarray:
    """Where the labels of each utterance end (U,), one label for every frame."""
    return np.cumsum(batches.frames_of_split(split, grid))


def make(
    config: Config,
    grid: Grid,
    splits: dict[str, Any],
    devices: DeviceMesh,
    folder: Path,
    wanted: str,
    say: Callable[[str], None],
) -> None:
    """Cluster the training split, label every split, and write both."""
    objective: MaskedUnits = config.objective
    source = source_of(config, devices)
    learning = spread(splits["train"], objective.units_utterances)
    say(f"units: {objective.units} clusters of {source.name}, of {len(learning)} utterances")

    states = jax.jit(mesh.by_device(source.states, devices))

    def parts() -> Iterator[tuple[jax.Array, jax.Array]]:
        for batch in read(learning, source.grid):
            rows = states(*mesh.place_batch((batch.audio, batch.lengths), devices))
            positions = source.grid.positions(batch.lengths)
            valid = np.arange(rows.shape[1]) < positions[:, None]
            yield rows, mesh.place_batch(valid, devices)

    parts = remembered(parts, KEPT)
    passes = objective.units_passes
    shown = {1, 2, 5, 10, passes}
    clusters = k_means(
        parts,
        sample_of(parts, devices),
        objective.units,
        passes,
        config.seed,
        lambda number, spread: (
            number in shown
            and say(f"units: pass {number} of {passes}, mean squared distance {spread:.4g}")
        ),
    )
    share = clusters.sizes[clusters.sizes > 0] / clusters.sizes.sum()
    entropy = -(share * np.log(share)).sum()
    say(
        f"units: {len(share)} of {objective.units} clusters are not empty, as even as "
        f"{np.exp(entropy):.1f} equal ones"
    )
    if np.exp(entropy) < objective.units / 10:
        say(
            "ALARM: a few units hold nearly all frames, so that naming them teaches little: give "
            "fewer objective.units, or another objective.units-from or objective.units-layer"
        )
    found = {
        name: labelled(split, grid, source, clusters.centres, devices)
        for name, split in splits.items()
    }
    if jax.process_index() == 0:
        about = {"identity": wanted, "source": source.name}
        kept_units.write(folder, found, clusters.centres, about)


def read(split: Any, grid: Grid) -> Iterator[batches.Batch]:
    """All utterances of a split, whole, this process's rows of each batch."""
    edges = buckets.bucket_edges(split.lengths, 2**31, 3, grid)
    size = -(-SIZE // jax.device_count()) * jax.device_count()
    return batches.eval_batches(
        split, edges, size, grid, jax.process_index(), jax.process_count(), 1, skip_short=True
    )


def sample_of(parts: Callable[[], Iterator[Any]], devices: DeviceMesh) -> np.ndarray:
    """About `SAMPLE` rows (N, D), every so many of those that count, the same on every process."""
    gather = jax.jit(lambda *arrays: arrays, out_shardings=mesh.replicated(devices))
    found: list[np.ndarray] = []
    for rows, counts in parts():
        rows, counts = (np.asarray(each) for each in gather(rows, counts))
        found.append(rows[counts])
        if sum(map(len, found)) > 4 * SAMPLE:
            found = [np.concatenate(found)[::2]]
    rows = np.concatenate(found)
    return rows[:: max(len(rows) // SAMPLE, 1)]


def labelled(
    split: Any, grid: Grid, source: Source, centres: np.ndarray, devices: DeviceMesh
) -> np.ndarray:
    """The label of every frame of a split, flat: that of the nearest position of the source."""
    ends = ends_of(split, grid)
    flat = np.full(ends[-1], -1, np.int16 if len(centres) < 2**15 else np.int32)

    def label(audio: jax.Array, lengths: jax.Array) -> jax.Array:
        return nearest(source.states(audio, lengths).astype(jnp.float32), jnp.asarray(centres))

    step = jax.jit(mesh.by_device(label, devices), out_shardings=mesh.replicated(devices))
    whole = jax.jit(lambda each: each, out_shardings=mesh.replicated(devices))
    for batch in read(split, source.grid):
        placed = mesh.place_batch((batch.audio, batch.lengths, batch.index), devices)
        found = np.asarray(step(*placed[:2]))
        lengths, index = (np.asarray(whole(each)) for each in placed[1:])
        for row, length, utterance in zip(found, lengths, index, strict=True):
            if utterance >= 0:
                own = at_frames(row, int(length), ends, utterance, grid, source.grid)
                flat[ends[utterance] - len(own) : ends[utterance]] = own
    return flat


def at_frames(
    labels: np.ndarray, samples: int, ends: np.ndarray, utterance: int, grid: Grid, of: Grid
) -> np.ndarray:
    """Labels of positions of the grid `of`, read at the centres of an utterance's frames."""
    frames = int(ends[utterance] - (ends[utterance - 1] if utterance else 0))
    positions = int(of.positions(samples))
    place = np.rint((grid.frame_centres(frames) - of.centre(0)) / of.stride).astype(int)
    return labels[np.clip(place, 0, positions - 1)]


def source_of(config: Config, devices: DeviceMesh) -> Source:
    """MFCC, or the states of the run that the objective names."""
    objective = config.objective
    if objective.units_from is None:
        mfcc = dataclasses.replace(MFCC, normalize=objective.units_normalize)
        name = "normalised MFCC" if mfcc.normalize else "MFCC"
        return Source(
            lambda audio, lengths: featurize(audio, lengths, mfcc)[0], frame_grid(mfcc), name
        )
    return states_of_run(objective.units_from, objective.units_layer, devices)


def states_of_run(run: Path, layer: int, devices: DeviceMesh) -> Source:
    """The output of one layer of a trained run's model."""
    teacher = exchange.from_leader(lambda: read_run(run))
    if not 1 <= layer <= teacher.model.layers:
        raise InputError(
            f"objective.units-layer is {layer}, and {run} has {teacher.model.layers} layers: give "
            "one of them"
        )
    module = build_model(teacher)
    shapes = jax.eval_shape(lambda: init_params(jax.random.key(0), module))
    place = mesh.replicated(devices)
    target = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes
    )
    step, params = checkpoint.restore_params(run / "ckpt", None, target)
    module, params = unrolled(module, params)

    def states(audio: jax.Array, lengths: jax.Array) -> jax.Array:
        inputs, valid = module.prepare(audio, lengths)
        _, sown = module.apply({"params": params}, inputs, valid, mutable=[TRACE])
        return collect(sown[TRACE], module.config).hidden[layer]

    return Source(states, module.grid, f"layer {layer} of {run} (step {step})")
