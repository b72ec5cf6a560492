"""Pickled files of PyTorch: tensors of every type are read, and no file gets anything executed."""

import math
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch_files as files
from torch_files import built, called, listed, mapped, name, plain, several, storage, tensor, whole

from sat_jax.errors import InputError
from sat_jax.model.convert.restricted import Inert
from sat_jax.model.convert.settings import plain as settings
from sat_jax.model.convert.tensors import read_tensors
from sat_jax.model.convert.unpickle import read_pickle

WRITERS = {"zip": files.write_zip, "legacy": files.write_legacy}
NUMBERS = np.arange(24, dtype=np.float32)


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


@pytest.mark.parametrize("dtype", files.KINDS)
def test_tensors_of_every_type_come_back(tmp_path, write, dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    array = (np.arange(12) - 3).reshape(3, 4).astype(kind)
    scalar = np.array(5).astype(kind)
    body = mapped({"a": whole(array, "0"), "s": whole(scalar, "1")})
    found = read_tensors(write(tmp_path / "x.pt", body, {"0": array, "1": scalar}))
    assert list(found) == ["a", "s"]
    assert found["a"].dtype == array.dtype
    np.testing.assert_array_equal(found["a"], array)
    assert found["s"].shape == ()
    assert found["s"] == scalar


def test_views_share_a_storage(tmp_path, write):
    stored = storage("FloatStorage", "7", 24)
    views = {
        "turned": tensor(stored, 0, (4, 6), (1, 4)),
        "middle": tensor(stored, 5, (2, 3), (6, 1)),
        "repeated": tensor(stored, 23, (3, 2), (0, 0)),
        "empty": tensor(stored, 0, (0, 5), (5, 1)),
    }
    found = read_pickle(write(tmp_path / "x.pt", mapped(views), {"7": NUMBERS}))
    np.testing.assert_array_equal(found["turned"], NUMBERS.reshape(6, 4).T)
    np.testing.assert_array_equal(found["middle"], [[5, 6, 7], [11, 12, 13]])
    np.testing.assert_array_equal(found["repeated"], np.full((3, 2), 23))
    assert found["empty"].shape == (0, 5)
    found["middle"][:] = 0  # a copy: it may be written, and the others keep their numbers
    assert found["turned"][1, 1] == 5


def test_parameters_and_plain_values_come_back(tmp_path, write):
    hooks = called(name("collections", "OrderedDict"))
    rebuild = name("torch._utils", "_rebuild_parameter")
    state = built(hooks, mapped({"_metadata": mapped({})}))
    body = mapped(
        {
            "w": called(rebuild, whole(NUMBERS, "0"), b"\x88", hooks),
            "state": state,
            "nested": listed(plain(1), several(plain(2.5), plain("three")), plain(None)),
            "size": called(name("torch", "Size"), listed(plain(2), plain(3))),
            "dtype": name("torch", "float16"),
        }
    )
    found = read_pickle(write(tmp_path / "x.pt", body, {"0": NUMBERS}))
    np.testing.assert_array_equal(found.pop("w"), NUMBERS)
    expected = {"state": {}, "nested": [1, [2.5, "three"], None], "size": [2, 3]}
    assert found == expected | {"dtype": "float16"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_scalars_of_numpy_come_back(tmp_path, order):
    dtype = called(name("numpy", "dtype"), plain("f8"), b"\x89", b"\x88")
    state = several(plain(3), plain(order), *[plain(None)] * 3, *map(plain, (-1, -1, 0)))
    raw = np.array(2.5, order + "f8").tobytes().decode("latin1")
    data = called(name("_codecs", "encode"), plain(raw), plain("latin1"))
    body = called(name("numpy.core.multiarray", "scalar"), built(dtype, state), data)
    assert read_pickle(files.write_zip(tmp_path / "x.pt", body, {})) == 2.5


def test_objects_of_known_packages_are_passed_over(tmp_path, write):
    """A scheduler of a module that is gone, with a tensor, a list's items and slots in it."""
    scheduler = built(
        name("optimizers", "Schedule") + several() + b"\x81",
        several(mapped({"rate": plain(0.1), "w": whole(NUMBERS, "0")}), mapped({"slot": plain(4)})),
    )
    filled = called(name("fairseq.data.dictionary", "Dictionary"), plain(1)) + b"(" + plain(2)
    body = mapped(
        {
            "Scheduler": scheduler,
            "dictionary": filled + b"e",
            "rng": called(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray")),
            "args": built(
                name("argparse", "Namespace") + several() + b"\x81", mapped({"a": plain(1)})
            ),
            "kind": name("__builtin__", "long"),
        }
    )
    found = read_pickle(write(tmp_path / "x.pt", body, {"0": NUMBERS}))
    assert isinstance(found["Scheduler"], Inert)
    assert (found["Scheduler"].rate, found["Scheduler"].slot) == (0.1, 4)
    np.testing.assert_array_equal(found["Scheduler"].w, NUMBERS)
    assert found["args"].a == 1
    assert settings(found["args"]) == {"a": 1}


def test_nodes_that_know_their_parents_become_plain_settings(tmp_path):
    # Memo 200 is the parent; its children refer back to it (texts take the numbers from 0).
    parent = name("omegaconf.dictconfig", "DictConfig") + several() + b"\x81q\xc8"
    node = name("omegaconf.nodes", "AnyNode") + several() + b"\x81"
    child = built(node, mapped({"_parent": b"h\xc8", "_val": plain(12)}))
    enum = called(name("fairseq.dataclass.constants", "Choice"), plain("layer_norm"))
    mode = built(node, mapped({"_parent": b"h\xc8", "_val": enum}))
    content = mapped({"layers": child, "mode": mode})
    body = built(parent, mapped({"_content": content, "_parent": plain(None)}))
    found = read_pickle(files.write_zip(tmp_path / "x.pt", body, {}))
    assert settings(found) == {"layers": 12, "mode": "layer_norm"}


def touching(path) -> bytes:
    """A pickle that would run a command."""
    return called(name("os", "system"), plain(f"touch {path}"))


ATTACKS = {
    "system": touching,
    "posix": lambda path: called(name("posix", "system"), plain(f"touch {path}")),
    "eval": lambda path: called(name("builtins", "eval"), plain(f"open({str(path)!r}, 'w')")),
    "exec": lambda path: called(name("__builtin__", "exec"), plain(f"open({str(path)!r}, 'w')")),
    "nested": lambda path: mapped({"a": listed(plain(1), listed(several(touching(path))))}),
    "inst": lambda path: b"(" + plain(f"touch {path}") + b"ios\nsystem\n",
    "getattr": lambda path: called(name("builtins", "getattr"), name("torch", "Size"), plain("x")),
    "dotted": lambda path: b"\x8c\x05torch\x8c\x10_utils.os.system\x93",
    "inside": lambda path: name("optimizers", "S") + several(touching(path)) + b"\x81",
    "loaded": lambda path: called(name("torch.storage", "_load_from_bytes"), plain("x")),
    "reader": lambda path: built(
        name("torch._utils", "_rebuild_parameter"),
        several(plain(None), mapped({"__defaults__": several(plain(1))})),
    ),
    "kind": lambda path: (
        several(plain("storage"), name("optimizers", "S"), plain("0"), plain("cpu"), plain(1))
        + b"Q"
    ),
    "module": lambda path: several(plain("module"), *[plain("x")] * 5) + b"Q",
    "object dtype": lambda path: called(name("numpy", "dtype"), plain("O")),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_whatever_asks_for_more_than_data_is_refused(tmp_path, write, attack):
    ran = tmp_path / "ran"
    path = write(tmp_path / "x.pt", ATTACKS[attack](ran), {})
    with pytest.raises(InputError, match="refused, and nothing was executed") as error:
        read_pickle(path)
    assert not ran.exists()
    assert "\n" not in str(error.value)
    # The reader is what it was.
    good = write(tmp_path / "good.pt", mapped({"a": whole(NUMBERS, "0")}), {"0": NUMBERS})
    np.testing.assert_array_equal(read_pickle(good)["a"], NUMBERS)


BROKEN = {
    "beyond": tensor(storage("FloatStorage", "0", 24), 20, (5,), (1,)),
    "strided beyond": tensor(storage("FloatStorage", "0", 24), 0, (5, 2), (6, 1)),
    "before": tensor(storage("FloatStorage", "0", 24), 5, (3,), (-2,)),
    "negative": tensor(storage("FloatStorage", "0", 24), 0, (-3, -1), (1, 1)),
    "huge": tensor(storage("FloatStorage", "0", 24), 0, (2**20, 2**20), (0, 0)),
    "unlike": tensor(storage("FloatStorage", "0", 24), 0, (2, 2), (1,)),
    "absent": tensor(storage("FloatStorage", "1", 24), 0, (2,), (1,)),
    "larger": tensor(storage("FloatStorage", "0", 48), 0, (48,), (1,)),
    "less than none": tensor(storage("FloatStorage", "0", -1), 0, (2,), (1,)),
    "two kinds": listed(
        tensor(storage("FloatStorage", "0", 24), 0, (2,), (1,)),
        tensor(storage("IntStorage", "0", 24), 0, (2,), (1,)),
    ),
    "elsewhere": tensor(storage("FloatStorage", "../version", 24), 0, (2,), (1,)),
    "deep": b"(" * 5000 + b"l" * 5000,
    "no stack": b"R",
    "a class": built(name("optimizers", "S"), mapped({"a": plain(1)})),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_one_line(tmp_path, write, fault):
    path = write(tmp_path / "x.pt", BROKEN[fault], {"0": NUMBERS})
    with pytest.raises(InputError, match="not a whole PyTorch file") as error:
        read_pickle(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_cut_off_is_one_line_wherever_it_is_cut(tmp_path, write):
    path = write(tmp_path / "x.pt", mapped({"a": whole(NUMBERS, "0")}), {"0": NUMBERS})
    whole_file = path.read_bytes()
    for end in range(0, len(whole_file), math.ceil(len(whole_file) / 40)):
        path.write_bytes(whole_file[:end])
        with pytest.raises(InputError, match="not a whole PyTorch file"):
            read_pickle(path)


def test_files_of_another_kind_say_what_they_are(tmp_path):
    body = mapped({"a": whole(NUMBERS, "0")})
    path = files.write_zip(tmp_path / "big.pt", body, {"0": NUMBERS}, order=b"big")
    with pytest.raises(InputError, match="big-endian"):
        read_pickle(path)
    path = files.write_zip(tmp_path / "script.pt", body, {"0": NUMBERS})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("any/constants.pkl", b"")
    with pytest.raises(InputError, match="TorchScript"):
        read_pickle(path)
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("readme", b"")
    with pytest.raises(InputError, match="another archive"):
        read_pickle(tmp_path / "other.pt")
    with pytest.raises(InputError, match="not a whole"):
        read_pickle(tmp_path)
    path = files.write_zip(tmp_path / "list.pt", listed(plain(1)), {})
    with pytest.raises(InputError, match="no dictionary of tensors"):
        read_tensors(path)


def test_the_attacks_would_work_on_an_ordinary_reader(tmp_path):
    """The files above are real: Python's own unpickler runs their command."""
    pickle.loads(b"\x80\x02" + touching(tmp_path / "ran") + b".")
    assert (tmp_path / "ran").exists()
