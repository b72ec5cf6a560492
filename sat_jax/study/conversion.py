"""Somebody else's model in, a run directory out whose outputs were checked; and back."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh as DeviceMesh

from sat_jax import files, mesh
from sat_jax.audio.phones import PHONES
from sat_jax.config import Batches, Config, Mesh
from sat_jax.config.json import read_run
from sat_jax.errors import InputError, writing
from sat_jax.grid import SAMPLE_RATE
from sat_jax.model.build import build_model, init_params
from sat_jax.model.convert.tensor_names import to_tensors
from sat_jax.model.convert.tensors import write_safetensors
from sat_jax.model.convert.transformers import PREFIXES, audio_settings, places_of, theirs_of
from sat_jax.study.export import write_run
from sat_jax.study.loaded_model import LoadedModel, load, trace_audio

STEP = 1
"""Step at which a converted model stands; its untrained control stands at 0."""
MAX_SECONDS = 15.6
"""Longest crop in training on, that of wav2vec 2.0."""
SAME = 1e-5
"""Largest difference of outputs, as a share of the largest where that is over 1."""
REFERENCE = "reference.npz"
ENGLISH = ("<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
"""What published English models tell apart behind the blank; | is the space between words."""


def reference_audio() -> np.ndarray:
    """A second and a half of a gliding tone and noise, int16: what outputs are compared on."""
    time = np.arange(int(1.5 * SAMPLE_RATE)) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * k * (110 * time + 40 * time**2)) / k for k in range(1, 20))
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (2500 * tone + 200 * noise).astype(np.int16)


def as_run(config: Config, out: Path) -> Config:
    """The config of a converted model as a run that train.py and analyze.py take."""
    module = build_model(config)
    grid = module.grid
    # What training has not covered is not looked at, and the config may know how much that was.
    longest = min(grid.positions(int(MAX_SECONDS * SAMPLE_RATE)), module.covered(config))
    return dataclasses.replace(
        config,
        name=out.name,
        run_dir=out,
        batches=Batches(max_frames=int(longest) * grid.frames),
        loop=dataclasses.replace(config.loop, steps=STEP, first=STEP),
    )


def with_letters(config: Config, params: Any, kind: str, seed: int) -> tuple[Config, Any]:
    """Config and parameters with a new head for CTC; the same where `kind` is empty.

    Raises `InputError` for a model that cannot have one.
    """
    if not kind:
        return config, params
    if config.model.kind not in PREFIXES:
        raise InputError(f"letters: a model of the kind {config.model.kind} has no head for CTC")
    letters = ("<pad>", *(PHONES if kind == "phones" else ENGLISH))
    model = dataclasses.replace(config.model, letters=letters, blank=0)
    config = dataclasses.replace(config, model=model)
    head = init_params(jax.random.key(seed), build_model(config))["letter_head"]
    return config, {**params, "letter_head": head}


def write_converted(
    config: Config, params: Any, seed: int, data: dict[str, Any], devices: DeviceMesh
) -> float:
    """Write the run of `config`, and open it again: the largest difference of its outputs.

    Raises `InputError` where it is not the model that was given.
    """
    module = build_model(config)
    control = init_params(jax.random.key(seed), module)
    write_run(config, {0: control, STEP: params}, {0: {}, STEP: {}}, data, devices)
    audio = reference_audio()
    wanted = output_of(module, params, audio)
    difference = difference_to(load(config.directory), audio, wanted)
    files.write_arrays(config.directory / REFERENCE, audio=audio, output=wanted)
    return difference


def output_of(module: Any, params: Any, audio: np.ndarray) -> np.ndarray:
    """The output (T, D) of an unrolled model for one recording."""
    inputs, valid = module.prepare(audio[None], np.array([len(audio)], np.int32))
    with jax.default_matmul_precision("highest"):
        return np.asarray(jax.jit(module.apply)({"params": params}, inputs, valid)[0])


def difference_to(model: LoadedModel, audio: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference of a model's output to what it has to be; raises `InputError` over
    `SAME`."""
    with jax.default_matmul_precision("highest"):
        found = np.asarray(trace_audio(model, [audio]).output[0])
    difference = float(np.abs(found - wanted).max())
    if not difference <= SAME * max(1.0, float(np.abs(wanted).max())):
        raise InputError(
            f"{model.name}: its output differs by {difference:.1e} from that at its conversion: "
            "convert it again"
        )
    return difference


def check_run(run: Path) -> float:
    """Largest difference of a converted run's output to the one kept beside it."""
    path = run / REFERENCE
    if not path.exists():
        raise InputError(f"{path}: is missing: only runs that convert.py made have it")
    kept = files.read_arrays(path, "convert it again")
    return difference_to(load(run), kept["audio"], kept["output"])


def write_back(run: Path, out: Path) -> int:
    """Write the trained model of a run as a folder of transformers, whole or not at all.

    Returns the number of tensors.
    Raises `InputError` for a model that transformers does not have, or a pruned one.
    """
    config = read_run(run)
    if config.model.kind not in PREFIXES:
        raise InputError(f"{run}: transformers has no model of the kind {config.model.kind}")
    if config.model.pruned:
        raise InputError(f"{run}: its heads were pruned, which transformers cannot hold")
    if out.exists():
        raise InputError(f"back is {out}, which exists: give a new directory")
    params = jax.tree.map(np.asarray, load(run).params)
    tensors = to_tensors(places_of(config), params)
    if config.model.letters:
        prefix = PREFIXES[config.model.kind]
        tensors = {
            name if name.startswith("lm_head.") else prefix + name: tensor
            for name, tensor in tensors.items()
        }
    temporary = out.with_name(f".{out.name}.tmp")
    with writing(out):
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
        write_safetensors(temporary / "model.safetensors", tensors)
        described = {
            "config.json": theirs_of(config),
            "preprocessor_config.json": audio_settings(config),
        }
        if config.model.letters:
            letters = {name: number for number, name in enumerate(config.model.letters)}
            described["vocab.json"] = letters
        for name, values in described.items():
            (temporary / name).write_text(
                json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        temporary.replace(out)
    return len(tensors)


def all_devices() -> DeviceMesh:
    """The mesh that a conversion works on."""
    return mesh.build_mesh(Mesh(), jax.device_count())
