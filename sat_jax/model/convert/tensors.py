"""A checkpoint's files in, its tensors by name out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sat_jax.errors import InputError
from sat_jax.model.convert.unpickle import read_pickle

Tensors = dict[str, np.ndarray]

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Under which names a folder of the hub holds its weights, the best first."""
PICKLED = (".bin", ".pt", ".ckpt", ".pth")


def weights_in(folder: Path) -> Path:
    """The file of weights in a folder, or the index of several; raises `InputError` if none."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder}: no weights here: expected {WEIGHTS[0]} or {WEIGHTS[2]} beside config.json"
    )


def read_tensors(path: Path) -> Tensors:
    """All tensors of a file of weights, or of the files that an index names."""
    if path.name.endswith(".index.json"):
        names = read_json(path).get("weight_map", {})
        if not names:
            raise InputError(f"{path}: no weight_map in it: download it again")
        found: Tensors = {}
        for name in sorted(set(names.values())):
            if Path(name).name != name:
                raise InputError(f"{path}: names a file outside of its folder, {name!r}: refused")
            found |= read_tensors(path.parent / name)
        return found
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    found = read_pickle(path)
    return only_tensors(found, path)


def only_tensors(found: Any, path: Path) -> Tensors:
    """A dict of tensors; raises `InputError` where it is another thing."""
    if not isinstance(found, Mapping) or not any(isinstance(v, np.ndarray) for v in found.values()):
        raise InputError(f"{path}: holds no dictionary of tensors: give the file of weights")
    return {str(name): value for name, value in found.items() if isinstance(value, np.ndarray)}


def read_safetensors(path: Path) -> Tensors:
    """All tensors of a safetensors file; raises `InputError` where it is cut off or broken."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="flax") as file:
            return {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: not found: download or copy the folder again") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: not a whole safetensors file ({error}): download or copy it again"
        ) from None


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """Write tensors as PyTorch's loaders expect them."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    path.write_bytes(save(arrays, {"format": "pt"}))


def read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file; raises `InputError` where it is none."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: not found: give the whole folder of the checkpoint") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not JSON ({error}): download or copy it again") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected an object: download or copy it again")
    return values
