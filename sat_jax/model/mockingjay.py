"""Mockingjay (arXiv:1910.12638): stacked feature frames in, reconstructed frames out.

Parameters have one canonical form, unrolled (`layer_0`, `layer_1`, ...). A model that scans its
layers holds them stacked; `stack_layers` and `unstack_layers` go between the two.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sat_jax.config import Config, Model
from sat_jax.errors import InputError
from sat_jax.model.attention.self_attention import (
    NO_EDIT,
    TRACE,
    HeadEdit,
    algorithm_of,
    kernel_init,
)
from sat_jax.model.dropout import dropout
from sat_jax.model.encoder import Encoder, gelu, layer_norm
from sat_jax.model.products import Dense


def stack_frames(features: jax.Array, frames: jax.Array, stack: int) -> tuple[jax.Array, jax.Array]:
    """Join `stack` consecutive frames (the papers' R_factor) into one position.

    features (B, T * stack, F), frames (B,) valid counts; returns (B, T, stack * F) and valid
    (B, T). Frames that do not fill a last position are dropped.
    """
    b, t, f = features.shape
    positions = t // stack
    stacked = features[:, : positions * stack].reshape(b, positions, stack * f)
    valid = jnp.arange(positions)[None, :] < (frames // stack)[:, None]
    return stacked, valid


def unstack_frames(stacked: jax.Array, stack: int) -> jax.Array:
    """The inverse of `stack_frames`: (B, T, stack * F) to (B, T * stack, F)."""
    b, t, f = stacked.shape
    return stacked.reshape(b, t * stack, f // stack)


def sinusoids(positions: jax.Array, width: int, base: float) -> jax.Array:
    """Sinusoidal positions (..., width), sin on even and cos on odd dimensions (Vaswani 2017)."""
    rates = base ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angles = positions[..., None].astype(jnp.float32) * rates
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(*positions.shape, width)


class Mockingjay(nn.Module):
    """Input projection, positions, encoder and prediction head."""

    config: Model
    output_width: int

    def setup(self) -> None:
        """Parameters: input projection and its normalisation, encoder, prediction head."""
        config = self.config
        start = kernel_init(config.input_init_std)
        self.input = Dense(config.width, dtype=jnp.dtype(config.compute_dtype), kernel_init=start)
        self.input_norm = layer_norm(config)
        self.encoder = Encoder(config)
        self.head = PredictionHead(config, self.output_width)

    def __call__(
        self,
        inputs: jax.Array,
        valid: jax.Array,
        *,
        gate: jax.Array | None = None,
        span: jax.Array | None = None,
        swap: jax.Array | None = None,
        maps: jax.Array | None = None,
        offset: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Predictions (B, T, output_width) in float32 for `inputs` (B, T, stack * F).

        valid (B, T) is a prefix of each row and padding changes no valid output. gate (L, H), span
        (a number or (L, H), in positions) and swap (L, H), for which maps (L, H, T, S) stand in,
        act inside the encoder (see `HeadEdit`); offset (B,) is the position of the first frame;
        `key` turns dropout on. Raises `InputError` if T is over the position table.
        """
        if span is not None:
            span = jnp.broadcast_to(jnp.asarray(span), (self.config.layers, self.config.heads))
        cut = HeadEdit(gate, span, swap, maps)
        return self.predict(self.encode(inputs, valid, cut, offset, key))

    def encode(
        self,
        inputs: jax.Array,
        valid: jax.Array,
        cut: HeadEdit = NO_EDIT,
        offset: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """The encoder's output (B, T, D); every field of `cut` is (L, H, ...)."""
        keys = (None, None) if key is None else jax.random.split(key)
        x = self.embed(inputs, offset, keys[0])
        if not self.is_initializing():
            self.sow(TRACE, "hidden", x)
        return self.encoder(x, valid, cut, keys[1])

    def embed(
        self, inputs: jax.Array, offset: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """What the first layer hears (B, T, D): projection, positions, normalisation, dropout."""
        config = self.config
        b, t, f = inputs.shape
        if t > config.max_positions:
            raise InputError(
                f"{t} positions are over the position table: "
                f"raise model.max-positions from {config.max_positions} or crop the utterances"
            )
        x = self.input(inputs.reshape(b * t, f)).reshape(b, t, config.width)
        positions = jnp.arange(t)[None, :] + (0 if offset is None else offset[:, None])
        x = x.astype(jnp.float32) + sinusoids(positions, config.width, config.position_base)
        return dropout(key, self.input_norm(x), config.dropout)

    def predict(self, hidden: jax.Array) -> jax.Array:
        """Predictions (B, T, output_width) from the encoder's output (B, T, D)."""
        return self.head(hidden)


class PredictionHead(nn.Module):
    """Dense, GELU, layer normalisation and a linear map to the target."""

    config: Model
    output_width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Hidden states (B, T, D) to predictions (B, T, output_width), float32."""
        config = self.config
        dtype = jnp.dtype(config.compute_dtype)
        start = kernel_init(config.init_std)
        b, t, d = x.shape
        y = Dense(d, dtype=dtype, kernel_init=start, name="dense")(x.reshape(b * t, d))
        y = layer_norm(config, "norm")(gelu(y))
        y = Dense(self.output_width, dtype=dtype, kernel_init=start, name="output")(y)
        return y.reshape(b, t, self.output_width).astype(jnp.float32)


def stack_layers(params: Any, layers: int) -> Any:
    """Parameters of an unrolled model in the form that a scanned one holds: leaves (L, ...)."""
    encoder = dict(params["encoder"])
    each = [encoder.pop(f"layer_{index}") for index in range(layers)]
    encoder["layers"] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    return {**params, "encoder": encoder}


def unstack_layers(params: Any, layers: int) -> Any:
    """The inverse of `stack_layers`."""
    encoder = dict(params["encoder"])
    stacked = encoder.pop("layers")
    for index in range(layers):
        encoder[f"layer_{index}"] = jax.tree.map(lambda leaf, i=index: leaf[i], stacked)
    return {**params, "encoder": encoder}


def build_model(config: Config, feature_width: int, target_width: int) -> tuple[nn.Module, int]:
    """The model of a config and the width of its input; raises `InputError` for unknown names."""
    if config.model.kind not in MODELS:
        raise InputError(f"model.kind is {config.model.kind!r}: give one of {', '.join(MODELS)}")
    algorithm_of(config.model.attention)
    stack = config.model.stack
    return MODELS[config.model.kind](config.model, stack * target_width), stack * feature_width


def init_params(key: jax.Array, model: nn.Module, input_width: int) -> Any:
    """Start parameters; the same numbers whether the layers are unrolled or scanned."""
    config = model.config
    flat = model.clone(config=_unrolled(config))
    inputs = jnp.zeros((1, 1, input_width), jnp.float32)
    params = flat.init(key, inputs, jnp.ones((1, 1), bool))["params"]
    return stack_layers(params, config.layers) if config.scan_layers else params


def _unrolled(config: Model) -> Model:
    return dataclasses.replace(config, scan_layers=False)


MODELS = {"mockingjay": Mockingjay}
