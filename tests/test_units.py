"""Clusters and labels of masked prediction: k-means against scikit-learn, labels against audio."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from meshes import mesh_of
from objective_runs import RAW, SPECTRAL, config_of
from sklearn.cluster import KMeans

from sat_jax import checkpoint, mesh
from sat_jax.config import Features
from sat_jax.config.json import write_config
from sat_jax.errors import InputError
from sat_jax.features.frontend import featurize, frame_grid
from sat_jax.model.build import build_model, init_params
from sat_jax.pretrain import kmeans, units
from sat_jax.pretrain.labels import at_positions


def blobs(count=300, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 6, (6, 4))
    return (centres[rng.integers(0, 6, count)] + rng.normal(0, 1, (count, 4))).astype(np.float32)


def parts_of(rows, size, devices=None):
    """Rows in parts of `size`, the last filled up with what does not count."""

    def parts():
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            padded = np.pad(part, ((0, size - len(part)), (0, 0)), constant_values=1e6)
            counts = np.arange(size) < len(part)
            if devices is not None:
                padded, counts = mesh.place_batch((padded, counts), devices)
            yield padded, counts

    return parts


def test_k_means_is_lloyds_algorithm():
    rows = blobs()
    first = kmeans.far_apart(rows, 6, 0)
    found = kmeans.k_means(parts_of(rows, 64), rows, 6, 15, seed=0)
    theirs = KMeans(6, init=first, n_init=1, max_iter=15, tol=0, algorithm="lloyd").fit(rows)
    np.testing.assert_allclose(found.centres, theirs.cluster_centers_, atol=1e-4)
    assert found.sizes.sum() == len(rows)
    assert found.spread[-1] == pytest.approx(theirs.inertia_ / len(rows), rel=1e-4)
    assert (np.diff(found.spread) <= 1e-5).all()


def test_parts_and_devices_change_no_centre():
    rows = blobs()
    alone = kmeans.k_means(parts_of(rows, 300), rows, 6, 5, seed=0)
    shared = kmeans.k_means(parts_of(rows, 40, mesh_of(8)), rows, 6, 5, seed=0)
    np.testing.assert_allclose(shared.centres, alone.centres, atol=1e-4)
    np.testing.assert_array_equal(shared.sizes, alone.sizes)


def test_parts_are_made_once_where_they_fit():
    rows, made = blobs(), []

    def parts():
        made.append(1)
        yield from parts_of(rows, 64)()

    size = sum(a.nbytes for part in parts_of(rows, 64)() for a in part)
    for most, times in ((size, 1), (size - 1, 3)):
        made.clear()
        again = kmeans.remembered(parts, most)
        for _ in range(3):
            found = np.concatenate([np.asarray(part[0]) for part in again()])
            np.testing.assert_array_equal(found[: len(rows)], rows)
        assert len(made) == times


def test_first_centres_lie_apart_and_a_centre_without_rows_stays():
    rows = blobs()
    assert len(np.unique(kmeans.far_apart(rows, 6, 1), axis=0)) == 6
    same = np.ones((5, 2), np.float32)
    found = kmeans.k_means(parts_of(same, 5), same, 3, 2, seed=0)
    np.testing.assert_array_equal(found.centres, np.ones((3, 2)))
    assert found.sizes.tolist() == [5, 0, 0]


def test_nearest_is_the_first_of_equally_near_ones():
    centres = jnp.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert kmeans.nearest(jnp.array([[2.0, 1.0], [-3.0, 0.0]]), centres).tolist() == [0, 1]


class Split:
    """Noise of several lengths, as a split of a corpus."""

    fingerprint = "noise"
    phone_names = ()

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.lengths = rng.integers(3000, 9000, count)
        self.ids = [str(n) for n in range(count)]
        scale = rng.uniform(100, 8000, count)
        self.audio = [
            (s * rng.normal(size=n)).clip(-32000, 32000).astype(np.int16)
            for n, s in zip(self.lengths, scale, strict=True)
        ]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        class Record:
            audio = self.audio[index]
            phones = np.zeros((0, 3), np.int32)

        return Record


def labels_of(tmp_path, model, **more):
    config = config_of("masked_units")
    objective = dataclasses.replace(config.objective, units_passes=3, units_utterances=0, **more)
    config = dataclasses.replace(config, model=model, objective=objective, run_dir=tmp_path / "run")
    grid, splits = build_model(config).grid, {"train": Split(4, 0), "valid": Split(2, 1)}
    said = []
    found = units.labels_of(config, grid, splits, mesh_of(2), said.append)
    return config, grid, splits, found, said


@pytest.mark.parametrize("model", [RAW, SPECTRAL])
def test_labels_are_clusters_of_mfcc_at_the_centres_of_frames(tmp_path, model):
    _, grid, splits, found, said = labels_of(tmp_path, model)
    with np.load(tmp_path / "run" / "units" / "centres.npz") as file:
        centres = file["centres"]
    for name, split in splits.items():
        for utterance in range(2):
            audio = split.audio[utterance]
            own = found[name].of(utterance)
            assert len(own) == grid.frame_count(len(audio))
            heard = jax.jit(featurize, static_argnums=2)
            rows, _, _ = heard(audio[None], np.array([len(audio)]), units.MFCC)
            at = np.rint((grid.frame_centres(len(own)) - 200) / 160).astype(int)
            at = at.clip(0, frame_grid(units.MFCC).positions(len(audio)) - 1)
            distance = ((np.asarray(rows)[0, at, None] - centres) ** 2).sum(-1)
            assert (distance.argmin(1) == own).mean() > 0.99
    assert "5 clusters of MFCC, of 4 utterances" in said[0]


def test_labels_are_made_once_and_belong_to_their_speech(tmp_path):
    config, grid, splits, found, _ = labels_of(tmp_path, RAW)
    said = []
    again = units.labels_of(config, grid, splits, mesh_of(2), said.append)
    assert said == []
    np.testing.assert_array_equal(again["train"].flat, found["train"].flat)
    other = {**splits, "train": Split(4, 0)}
    other["train"].fingerprint = "other"
    with pytest.raises(InputError, match="these units are of other speech or settings"):
        units.labels_of(config, grid, other, mesh_of(2), said.append)


@pytest.mark.parametrize("name", ["units.json", "train.npy", "valid.npy"])
def test_labels_that_are_damaged_are_not_learned_from(tmp_path, name):
    config, grid, splits, found, _ = labels_of(tmp_path, RAW)
    path = config.directory / "units" / name
    whole, labels = path.read_bytes(), np.array(found["train"].flat)
    flipped = whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:]
    for damaged in (b"", whole[: len(whole) // 2], flipped):
        path.unlink()  # it may be mapped into memory
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="units are damaged .*; delete the folder and the"):
            units.labels_of(config, grid, splits, mesh_of(2), print)
    shutil.rmtree(path.parent)
    again = units.labels_of(config, grid, splits, mesh_of(2), lambda _: None)
    np.testing.assert_array_equal(again["train"].flat, labels)


def test_positions_take_the_label_of_their_middle_frame():
    labels = np.arange(2 * 12).reshape(2, 12)
    grid = build_model(config_of("tera")).grid
    assert grid.frames == 3
    assert at_positions(labels, grid).tolist() == [[1, 4, 7, 10], [13, 16, 19, 22]]
    raw = build_model(config_of("contrastive")).grid
    np.testing.assert_array_equal(at_positions(labels, raw), labels)


def teacher(tmp_path, model):
    """A run with random parameters."""
    config = dataclasses.replace(config_of("masked_units"), model=model, run_dir=tmp_path / "first")
    config.directory.mkdir()
    write_config(config.directory / "config.json", config)
    params = init_params(jax.random.key(1), build_model(config))
    checkpoints = checkpoint.open_checkpoints(config.directory / "ckpt", 1)
    checkpoint.save(checkpoints, 0, params, {"step": jnp.zeros(())})
    checkpoint.finish(checkpoints)
    return config


@pytest.mark.parametrize("scan", [False, True])
def test_the_second_iteration_clusters_states_of_the_first(tmp_path, scan):
    model = dataclasses.replace(RAW, scan_layers=scan)
    first = teacher(tmp_path, model)
    more = {"units_from": first.directory, "units_layer": 1}
    _, grid, splits, found, said = labels_of(tmp_path, RAW, **more)
    assert f"layer 1 of {first.directory} (step 0)" in said[0]
    source = units.states_of_run(first.directory, 1, mesh_of(1))
    audio = splits["train"].audio[0]
    states = source.states(audio[None], jnp.array([len(audio)]))[0]
    with np.load(tmp_path / "run" / "units" / "centres.npz") as file:
        wanted = kmeans.nearest(states, jnp.asarray(file["centres"]))
    assert (np.asarray(wanted) == found["train"].of(0)).mean() > 0.95
    with pytest.raises(InputError, match=r"objective.units-layer is 3, and .* has 2 layers"):
        units.states_of_run(first.directory, 3, mesh_of(1))


def test_mfcc_are_39_numbers():
    assert isinstance(units.MFCC, Features)
    audio = np.random.default_rng(0).normal(0, 1000, (1, 4000)).astype(np.int16)
    assert featurize(audio, np.array([4000]), units.MFCC)[0].shape == (1, 23, 39)
