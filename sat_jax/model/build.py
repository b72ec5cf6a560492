"""A config in, its model, its start parameters and what studies need to know of it out.

A model family is a linen module with a `config` (`config.Model`) and an `encoder` (`Encoder`) that
offers, without a base class:

- `grid`, where its positions lie in audio; `encoder_length`, the most of them that may come, and
  `covered(config)`, how many training saw;
- `prepare(audio, lengths)` to inputs and valid (B, T): without parameters, on the devices;
- `embed(inputs, valid)` to the first layer's input (B, T, D) and what every layer gets beside it: a
  tree of arrays (H, ...), the same for all utterances (a position bias, computed once), or None;
- `encode(inputs, valid, edit)` to the encoder's output: `embed`, `encoder`;
- `close(x)`, what follows the last layer;
- for objectives that hide positions, `local_features(inputs, gradient)`, what is known of each
  position alone, of `local_width`, with its energy (B, T), and `encode_features(features, valid,
  edit, key, masked)`, from those to the encoder's output;
- where it was trained to predict spectra, `targets(audio, lengths)` and `predict(hidden)` of width
  `target_width`, which is 0 for all others; its call goes from inputs to predictions, or where
  there are none to the encoder's output;
- `flops(positions)`, the operations of matrix products outside of the encoder.

Layers, their parameters and what they sow are the encoder's. A new family is one line in `MODELS`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from sat_jax.config import Config, StackedFrames
from sat_jax.config.check_model import RAW_AUDIO
from sat_jax.errors import InputError
from sat_jax.grid import Grid
from sat_jax.model.encoder import stack_layers
from sat_jax.model.mockingjay import Mockingjay
from sat_jax.model.raw_audio import RawAudio


class Spec(NamedTuple):
    """What a study needs to know of a model beside arrays."""

    layers: int
    heads: int
    """Per layer, before any was pruned."""
    width: int
    grid: Grid
    longest: int
    """Positions that training covered: what is longer is cut there."""
    trained_for: str
    """The objective, in a few words; empty where it is not known."""
    target_width: int
    """Width of its predictions of spectra; 0 for a model that predicts none."""
    head_mask: np.ndarray
    """(L, H) bool: False where a head was pruned."""
    edited: bool
    """Whether heads were pruned or limited in their span for good."""

    @property
    def frames(self) -> int:
        """The most frames that are looked at."""
        return self.longest * self.grid.frames


def build_model(config: Config) -> nn.Module:
    """The model of a config; raises `InputError` for an unknown kind."""
    if config.model.kind not in MODELS:
        raise InputError(f"model.kind is {config.model.kind!r}: give one of {', '.join(MODELS)}")
    return MODELS[config.model.kind](with_map_side(config))


def with_map_side(config: Config) -> Config:
    """The config with as many `positions` of learned maps as training has, where it says 0."""
    attention, frontend = config.model.attention, config.model.frontend
    if getattr(attention, "positions", 1) or not isinstance(frontend, StackedFrames):
        return config
    side = config.batches.max_frames // frontend.stack
    model = dataclasses.replace(
        config.model, attention=dataclasses.replace(attention, positions=side)
    )
    return dataclasses.replace(config, model=model)


def spec_of(config: Config) -> Spec:
    """What studies need to know of a config's model."""
    module, model = build_model(config), config.model
    maps = getattr(module.config.attention, "positions", 0) or module.covered(config)
    mask = np.zeros((model.layers, model.heads), bool)
    for layer, heads in enumerate(model.unpruned_heads):
        mask[layer, list(heads)] = True
    return Spec(
        layers=model.layers,
        heads=model.heads,
        width=model.width,
        grid=module.grid,
        longest=min(module.covered(config), maps),
        trained_for=config.objective.summary,
        target_width=module.target_width,
        head_mask=mask,
        edited=model.pruned,
    )


def input_shapes(module: nn.Module, batch: int, positions: int) -> Any:
    """Shapes of inputs and valid for so many utterances of so many positions."""
    samples = module.grid.samples(positions)
    audio = jax.ShapeDtypeStruct((batch, samples), np.int16)
    lengths = jax.ShapeDtypeStruct((batch,), np.int32)
    return jax.eval_shape(module.prepare, audio, lengths)


def init_params(key: jax.Array, model: nn.Module) -> Any:
    """Start parameters; the same numbers whether the layers are unrolled or scanned."""
    config = model.config
    flat = model.clone(config=dataclasses.replace(config, scan_layers=False))
    shapes = input_shapes(model, 1, 2)
    inputs, valid = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    params = flat.init(key, inputs, valid | True)["params"]
    return stack_layers(params, config.layers) if config.scan_layers else params


MODELS: dict[str, Callable[[Config], nn.Module]] = {
    "mockingjay": lambda config: Mockingjay(
        config.model, config.features, config.objective.predicts_spectra
    ),
    **dict.fromkeys(RAW_AUDIO, lambda config: RawAudio(config.model)),
}
