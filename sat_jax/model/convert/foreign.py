"""A path or a name on the hub in, somebody else's model as a config and parameters out."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sat_jax.config import Config
from sat_jax.config.check import check
from sat_jax.errors import InputError
from sat_jax.model.build import build_model, init_params
from sat_jax.model.convert import fairseq, s3prl, transformers
from sat_jax.model.convert.tensors import PICKLED, read_tensors, weights_in
from sat_jax.model.convert.unpickle import read_pickle


class Foreign(NamedTuple):
    """A model that was trained by another program."""

    config: Config
    params: Any
    """Of an unrolled model, float32."""
    said: list[str]
    """What was passed over and why, a line each."""


def open_foreign(source: str | Path, name: str = "") -> Foreign:
    """The model of a folder, a file of weights, or a name on the hub such as facebook/hubert-base.

    A folder is of `transformers`, a file of s3prl, fairseq or unilm.

    Raises `InputError` for what is none, lacks a tensor, has one that is not known, or is broken.
    """
    path = local(source)
    name = name or path.stem.replace(".", "_")
    if path.is_dir():
        config = transformers.config_of(path, name)
        weights = weights_in(path)
        opened = transformers.params_of(config, read_tensors(weights), weights)
    elif path.suffix in PICKLED:
        opened = opened_file(path, name)
    else:
        raise InputError(
            f"{path}: expected a folder with config.json, or a file {', '.join(PICKLED)}"
        )
    foreign = Foreign(*opened)
    require_shapes(foreign, path)
    return foreign


def opened_file(path: Path, name: str) -> tuple[Config, Any, list[str]]:
    """The model of a pickled file; raises `InputError` for one that holds no known model."""
    found = read_pickle(path)
    has = set(found) if isinstance(found, dict) else set()
    if "Transformer" in has:
        return s3prl.open_s3prl(found, name, path)
    if "model" in has and has & {"cfg", "args"}:
        return fairseq.open_fairseq(found, name, path)
    held = ", ".join(sorted(map(str, has))[:6]) or "no dictionary"
    raise InputError(
        f"{path}: holds {held}: expected a checkpoint of s3prl (Transformer), of fairseq or unilm "
        "(cfg, model); weights of transformers come in a folder with config.json"
    )


def require_shapes(foreign: Foreign, path: Path) -> None:
    """Raise `InputError` for an impossible config, and for a parameter of another shape."""
    try:
        check(foreign.config)
    except InputError as error:
        raise InputError(f"{path}: its config cannot be: {error}") from None
    model = build_model(foreign.config)
    wanted = jax.eval_shape(lambda key: init_params(key, model), jax.random.key(0))
    have = dict(jax.tree_util.tree_leaves_with_path(foreign.params))
    for place, leaf in jax.tree_util.tree_leaves_with_path(wanted):
        key = "/".join(each.key for each in place)
        if place not in have:
            raise InputError(f"{path}: lacks {key}")
        if have[place].shape != leaf.shape:
            raise InputError(
                f"{path}: {key} has the shape {have[place].shape}, and its config makes it "
                f"{leaf.shape}: check that it belongs to these weights"
            )
        if not np.isfinite(have[place]).all():
            raise InputError(f"{path}: {key} is not finite: download or copy it again")


def local(source: str | Path) -> Path:
    """Where a source lies on this machine; a name on the hub is downloaded first."""
    path = Path(source).expanduser()
    if path.exists():
        return path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)):
        raise InputError(f"{source}: not found: give a folder, a file of weights or owner/name")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(
            f"{source}: no such folder, and to download it from the hub `pip install "
            "huggingface_hub` is needed; or give the path of a folder that you have"
        ) from None
    wanted = ["*.json", "*.safetensors", "*.bin"]
    try:
        return Path(snapshot_download(str(source), allow_patterns=wanted))
    except Exception as error:
        raise InputError(
            f"{source}: could not be downloaded ({type(error).__name__}); check the name and the "
            "network, or give the path of a folder that you have"
        ) from None
