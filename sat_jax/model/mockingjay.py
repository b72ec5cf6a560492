"""Mockingjay (arXiv:1910.12638): stacked feature frames in, reconstructed frames out."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sat_jax.config import Config, Features, Model
from sat_jax.errors import InputError
from sat_jax.features.frontend import feature_width, featurize, frame_grid, target_width
from sat_jax.grid import Grid, stacked_grid
from sat_jax.mesh import by_utterance
from sat_jax.model.attention.edit import NO_EDIT, HeadEdit
from sat_jax.model.attention.self_attention import kernel_init
from sat_jax.model.dropout import dropout
from sat_jax.model.encoder import Encoder, gelu, layer_norm
from sat_jax.model.positions import sinusoids
from sat_jax.model.products import WholeDense


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


class Mockingjay(nn.Module):
    """Input projection, positions, encoder and prediction head; see `model.build` for its parts."""

    config: Model
    features: Features
    predicts: bool = True
    """Whether it has a head for spectra; one that was trained for something else has none."""

    def setup(self) -> None:
        """Parameters: input projection and its normalisation, encoder, prediction head."""
        config = self.config
        start = kernel_init(config.frontend.init_std)
        self.input = WholeDense(
            config.width, dtype=jnp.dtype(config.compute_dtype), kernel_init=start
        )
        self.input_norm = layer_norm(config)
        self.encoder = Encoder(config, self.encoder_length)
        if self.predicts:
            self.head = PredictionHead(config, self.target_width)

    @property
    def grid(self) -> Grid:
        """A position is `stack` spectral frames."""
        frame = frame_grid(self.features)
        stack = self.config.frontend.stack
        return stacked_grid(frame.window, frame.stride, stack, frame.reach)

    @property
    def target_width(self) -> int:
        """Width of the predictions, 0 for none."""
        return self.config.frontend.stack * target_width(self.features) if self.predicts else 0

    @property
    def local_width(self) -> int:
        """Width of `local_features`: of the inputs."""
        return self.config.frontend.stack * feature_width(self.features)

    @property
    def encoder_length(self) -> int:
        """The most positions that the encoder may meet."""
        return self.config.frontend.max_positions

    @nn.nowrap
    def covered(self, config: Config) -> int:
        """Positions that training has visited; beyond them maps mean nothing."""
        visited = config.batches.max_frames // config.model.frontend.stack
        visited += getattr(config.objective, "position_offset", 0)
        return min(visited, config.model.frontend.max_positions)

    @nn.nowrap
    def prepare(self, audio: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Inputs (B, T, stack * F) and valid (B, T) of audio (B, N) int16, lengths (B,) samples."""
        inputs, _, frames = featurize(audio, lengths, self.features)
        return stack_frames(inputs, frames, self.config.frontend.stack)

    @nn.nowrap
    def targets(self, audio: jax.Array, lengths: jax.Array) -> jax.Array:
        """What clean predictions are (B, T, target_width), of audio as in `prepare`."""
        _, targets, frames = featurize(audio, lengths, self.features)
        return stack_frames(targets, frames, self.config.frontend.stack)[0]

    @nn.nowrap
    def flops(self, positions: int) -> int:
        """Operations of all matrix products outside of the encoder."""
        width = self.config.width
        head = width + self.target_width if self.predicts else 0
        return 2 * positions * width * (self.local_width + head)

    def __call__(
        self,
        inputs: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        *,
        offset: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Predictions (B, T, target_width) in float32 for `inputs` (B, T, stack * F); the
        encoder's output without a head.

        valid (B, T) is a prefix of each row and padding changes no valid output. `edit` (L, H, ...)
        acts inside the encoder (see `HeadEdit`); offset (B,) is the position of the first frame;
        `key` turns dropout on. Raises `InputError` if T is over the position table.
        """
        hidden = self.encode(inputs, valid, edit, offset, key)
        return self.predict(hidden) if self.predicts else hidden

    def encode(
        self,
        inputs: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        offset: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """The encoder's output (B, T, D); every field of `edit` is (L, H, ...)."""
        keys = (None, None) if key is None else jax.random.split(key)
        x, side = self.embed(inputs, valid, offset, keys[0])
        return self.encoder(x, valid, edit, keys[1], side)

    @nn.nowrap
    def local_features(
        self, inputs: jax.Array, gradient: float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """What is known of each position alone: the inputs (B, T, stack * F), with no energy (B, T)
        to keep small, as nothing made them."""
        del gradient
        return inputs, jnp.zeros(inputs.shape[:2])

    def encode_features(
        self,
        features: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        masked: jax.Array | None = None,
    ) -> jax.Array:
        """The encoder's output (B, T, D) where `masked` (B, T) positions are heard as zeros."""
        if masked is not None:
            features = jnp.where(masked[:, :, None], 0.0, features)
        return self.encode(features, valid, edit, None, key)

    def embed(
        self,
        inputs: jax.Array,
        valid: jax.Array,
        offset: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """The first layer's input (B, T, D): projection, positions, normalisation, dropout.

        Beside it what every layer gets, which is nothing here.
        """
        del valid
        config = self.config
        b, t, f = inputs.shape
        if t > config.frontend.max_positions:
            raise InputError(
                f"{t} positions are over the position table: raise model.frontend.max-positions "
                f"from {config.frontend.max_positions} or crop the utterances"
            )
        x = by_utterance(self.input(inputs.reshape(b * t, f)).reshape(b, t, config.width))
        positions = jnp.arange(t)[None, :] + (0 if offset is None else offset[:, None])
        x = x.astype(jnp.float32) + sinusoids(
            positions, config.width, config.frontend.position_base
        )
        return dropout(key, self.input_norm(x), config.dropout), None

    def close(self, x: jax.Array) -> jax.Array:
        """What follows the last layer, states (..., D) to states."""
        return self.encoder.close(x)

    def predict(self, hidden: jax.Array) -> jax.Array:
        """Predictions (B, T, target_width) from the encoder's output (B, T, D)."""
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
        y = WholeDense(d, dtype=dtype, kernel_init=start, name="dense")(x.reshape(b * t, d))
        y = by_utterance(y)
        y = layer_norm(config, "norm")(gelu(y))
        y = WholeDense(self.output_width, dtype=dtype, kernel_init=start, name="output")(y)
        return by_utterance(y.reshape(b, t, self.output_width)).astype(jnp.float32)
