"""A checkpoint as transformers opens it and as we do: the same audio through both, side by side.

Needs PyTorch and transformers, which nothing else here does.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from sat_jax.config import Config
from sat_jax.errors import InputError
from sat_jax.grid import SAMPLE_RATE
from sat_jax.model.build import build_model
from sat_jax.model.convert.tensor_names import PREFIXES
from sat_jax.study.conversion import reference_audio
from sat_jax.trace.capture import capture

TOLERANCE = 1e-4
"""Largest difference of hidden states, as a share of the largest where that is over 1."""


def compare(folder: Path, config: Config, params: Any) -> None:
    """Print the largest difference of every hidden state and map; raises `InputError` where they
    are not the same model."""
    if config.model.kind not in PREFIXES or folder.is_file():
        raise InputError(
            f"{folder}: transformers opens folders of its own only: give one, or convert the file "
            "and check the run against its output at conversion"
        )
    try:
        import torch
        import transformers
    except ImportError:
        raise InputError(
            "check: transformers and PyTorch are needed for it: pip install torch transformers"
        ) from None
    theirs = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    module, audio = build_model(config), reference_audio()
    inputs, valid = module.prepare(audio[None], np.array([len(audio)], np.int32))
    with jax.default_matmul_precision("highest"):
        ours = capture(module, params, inputs, valid)
    with torch.no_grad():
        found = theirs(
            torch.tensor(np.asarray(inputs.samples)),
            output_hidden_states=True,
            output_attentions=True,
        )
    worst = 0.0
    print(f"{len(audio) / SAMPLE_RATE:g} s of audio, {valid.shape[1]} positions")
    for layer, (mine, other) in enumerate(zip(ours.hidden, found.hidden_states, strict=True)):
        other = other.numpy()
        apart, size = np.abs(np.asarray(mine) - other).max(), np.abs(other).max()
        line = f"hidden state {layer:2d}: largest |difference| {apart:.1e} of {size:.1f}"
        if layer:
            maps, theirs_of_layer = np.asarray(ours.probs[layer - 1]), found.attentions[layer - 1]
            if config.model.kind == "wavlm":
                # transformers gives the mean over heads, once for every head.
                maps = maps.mean(1, keepdims=True)
            line += f"; maps {np.abs(maps - theirs_of_layer.numpy()).max():.1e}"
        print(line)
        worst = max(worst, float(apart / max(1.0, size)))
    if not worst <= TOLERANCE:
        raise InputError(
            f"{folder}: hidden states differ by {worst:.1e} of their size, over {TOLERANCE:g}: do "
            "not use this conversion, and report it"
        )
    print(f"the same model: at most {worst:.1e} of the size of the states")
