"""Leaves of the ablation study on disk: kept as soon as they are there, and found again."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sat_jax.model.attention.edit import NO_SPAN
from sat_jax.sweep import store as stores
from sat_jax.sweep.store import Store, keys_of
from sat_jax.sweep.trie import make_settings, take

L, H = 2, 4


def some_settings(count, seed=0):
    gates = np.random.default_rng(seed).integers(0, 2, (count, L, H))
    return make_settings(np.unique(gates, axis=0))


def test_keys_are_those_of_what_settings_do():
    settings = some_settings(20)
    keys = keys_of(settings)
    assert len(set(keys)) == len(keys)
    assert keys_of(take(settings, [3, 1])) == [keys[3], keys[1]]
    gate = np.ones((1, L, H))
    gate[0, 1, 2] = 0
    span = np.full((1, L, H), NO_SPAN)
    span[0, 1, 2] = 3
    assert keys_of(make_settings(gate, span)) == keys_of(make_settings(gate))
    span[0, 1, 1] = 3
    assert keys_of(make_settings(gate, span)) != keys_of(make_settings(gate))


def test_leaves_come_back_from_memory_and_from_disk(tmp_path):
    said = []
    keys = [f"k{i}" for i in range(7)]
    values = {"a": np.random.default_rng(0).normal(size=(7, 3)), "b/c": np.arange(7)}
    store = Store(tmp_path, "one", said.append)
    for part in (slice(0, 3), slice(3, 7)):
        store.add(keys[part], {name: value[part] for name, value in values.items()})
    order = [5, 0, 3, 3, 6]
    for opened in (store, Store(tmp_path, "one", said.append)):
        assert len(opened) == 7
        assert "k6" in opened
        assert "k7" not in opened
        found = opened.take([keys[i] for i in order])
        assert set(found) == {"a", "b/c"}
        for name, value in values.items():
            np.testing.assert_array_equal(found[name], value[order])
        with pytest.raises(KeyError, match="k7"):
            opened.take(["k7"])
    assert len(Store(tmp_path, "two", said.append)) == 0
    assert said == []


def test_joined_leaves_are_one_file_and_more_can_be_added(tmp_path):
    said = []
    store = Store(tmp_path, "one", said.append)
    for i in range(4):
        store.add([f"k{i}"], {"a": np.array([10 * i])})
    store.join()
    assert [path.name for path in tmp_path.glob("one/*")] == ["leaves.npz"]
    store.add(["k4"], {"a": np.array([40])})
    again = Store(tmp_path, "one", said.append)
    again.add(["k5"], {"a": np.array([50])})
    again.join()
    last = Store(tmp_path, "one", said.append)
    assert last.take(["k5", "k4", "k0"])["a"].tolist() == [50, 40, 0]
    assert [path.name for path in tmp_path.glob("one/*")] == ["leaves.npz"]
    assert said == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not an archive"),
        lambda path: np.savez(path, other=np.zeros(3)),
    ],
)
def test_of_damaged_leaves_the_others_are_kept(tmp_path, damage):
    store = Store(tmp_path, "one", print)
    for i in range(3):
        store.add([f"k{i}"], {"a": np.array([10 * i])})
    damage(tmp_path / "one" / "00001-0.npz")
    said = []
    opened = Store(tmp_path, "one", said.append)
    assert len(said) == 1
    assert str(tmp_path / "one" / "00001-0.npz") in said[0]
    assert "made anew" in said[0]
    assert [f"k{i}" in opened for i in range(3)] == [True, False, True]
    opened.add(["k1"], {"a": np.array([10])})
    opened.join()
    assert Store(tmp_path, "one", said.append).take(["k2", "k1"])["a"].tolist() == [20, 10]
    assert len(said) == 1


def test_processes_without_a_disk_in_common_give_each_other_what_they_lack(tmp_path, monkeypatch):
    here, said, both = threading.local(), [None, None], threading.Barrier(2)

    def everywhere(value):
        said[here.process] = value
        both.wait(10)
        found = list(said)
        both.wait(10)
        return found

    monkeypatch.setattr(stores, "everywhere", everywhere)
    monkeypatch.setattr(stores.jax, "process_index", lambda: here.process)
    keys = ["k0", "k1", "k2", "k3"]

    def run(process):
        here.process = process
        store = Store(tmp_path / str(process), "one", print)
        for i in (0, 1, 2) if process else (0, 3):
            store.add([keys[i]], {"a": np.array([10 * i + process])})
        held = store.held([*keys, "k4"])
        store.exchange(keys)
        store.join()
        return held.tolist(), store.take(keys)["a"].tolist()

    with ThreadPoolExecutor(2) as pool:
        (held, mine), (same, theirs) = pool.map(run, range(2))
    assert held == same == [[True, False, False, True, False], [True, True, True, False, False]]
    assert mine == [0, 11, 21, 30]
    assert theirs == [1, 11, 21, 30]
    here.process = 0
    assert Store(tmp_path / "0", "one", print).take(keys)["a"].tolist() == mine
    assert [path.name for path in (tmp_path / "0" / "one").iterdir()] == ["leaves.npz"]
    assert len(list((tmp_path / "1" / "one").iterdir())) == 3
