"""Transformers on raw audio: wav2vec 2.0, HuBERT, WavLM, data2vec-audio.

One module: the families differ in their front end's fields, in where layers are normalised, and
WavLM in its attention (arXiv:2006.11477, 2106.07447, 2110.13900, 2202.03555).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from sat_jax.config import Config, GatedBias, Model
from sat_jax.grid import Grid
from sat_jax.mesh import by_utterance
from sat_jax.model.attention.edit import NO_EDIT, HeadEdit
from sat_jax.model.attention.gated_bias import position_bias
from sat_jax.model.attention.self_attention import kernel_init
from sat_jax.model.convolution import ConvolvedPositions, LayerNorm, Stem
from sat_jax.model.dropout import dropout
from sat_jax.model.encoder import Encoder
from sat_jax.model.products import WholeDense


class Waveform(NamedTuple):
    """Audio as the model hears it."""

    samples: jax.Array
    """(B, N) float32, padding 0."""
    lengths: jax.Array
    """(B,) int32 samples that are real."""


class RawAudio(nn.Module):
    """Convolutions, projection, positions, encoder; see `model.build` for its parts."""

    config: Model

    target_width = 0

    def setup(self) -> None:
        """Parameters of all parts; of letters and of a mask only where the config has them."""
        config, front = self.config, self.config.frontend
        dtype, start = jnp.dtype(config.compute_dtype), kernel_init(config.init_std)
        self.stem = Stem(config)
        if front.project_norm:
            self.input_norm = LayerNorm(config.layer_norm_eps)
        self.input = WholeDense(config.width, dtype=dtype, kernel_init=start)
        self.positions = ConvolvedPositions(config)
        if front.mask_embedding:
            uniform = nn.initializers.uniform(1.0)
            self.mask_embedding = self.param("mask_embedding", uniform, (config.width,))
        if not config.pre_ln:
            self.embedding_norm = LayerNorm(config.layer_norm_eps)
        if isinstance(config.attention, GatedBias):
            shape = config.attention.buckets, config.heads
            self.position_bias = self.param("position_bias", kernel_init(config.init_std), shape)
        self.encoder = Encoder(config, self.encoder_length)
        if config.letters:
            self.letter_head = WholeDense(len(config.letters), dtype=dtype, kernel_init=start)

    @property
    def grid(self) -> Grid:
        """A position is what one output of the last convolution sees."""
        front, stride, window = self.config.frontend, 1, 1
        for taps, each in zip(front.kernels, front.strides, strict=True):
            window += (taps - 1) * stride
            stride *= each
        return Grid(stride, window)

    @property
    def local_width(self) -> int:
        """Width of `local_features`."""
        return self.config.frontend.channels[-1]

    @property
    def encoder_length(self) -> int:
        """The most positions that the encoder may meet."""
        return self.config.frontend.max_positions

    @nn.nowrap
    def covered(self, config: Config) -> int:
        """Positions are told apart by their neighbours: as many as the encoder may meet."""
        return config.model.frontend.max_positions

    @nn.nowrap
    def prepare(self, audio: jax.Array, lengths: jax.Array) -> tuple[Waveform, jax.Array]:
        """The waveform and valid (B, T) of audio (B, N) int16, lengths (B,) samples.

        Samples are -1 to 1; where the model was trained so, each utterance gets mean 0 and
        variance 1 over its real samples.
        """
        front = self.config.frontend
        lengths = jnp.minimum(jnp.asarray(lengths), audio.shape[1])
        real = jnp.arange(audio.shape[1]) < lengths[:, None]
        wave = jnp.where(real, audio.astype(jnp.float32) * 2.0**-15, 0.0)
        if front.normalize_audio:
            number = jnp.maximum(lengths, 1)[:, None]
            centred = jnp.where(real, wave - wave.sum(1, keepdims=True) / number, 0.0)
            variance = (centred**2).sum(1, keepdims=True) / number
            wave = centred * jax.lax.rsqrt(variance + front.audio_eps)
        positions = max(self.grid.positions(audio.shape[1]), 0)
        valid = jnp.arange(positions) < self.grid.positions(lengths)[:, None]
        return Waveform(wave, lengths.astype(jnp.int32)), valid

    @nn.nowrap
    def flops(self, positions: int) -> int:
        """Operations of all matrix products outside of the encoder."""
        front, width = self.config.frontend, self.config.width
        samples, channels, total = self.grid.samples(positions), 1, 0
        for outputs, taps, stride in zip(front.channels, front.kernels, front.strides, strict=True):
            samples = (samples - taps) // stride + 1
            total += 2 * samples * taps * channels * outputs
            channels = outputs
        taps = front.position_kernel * front.position_layers
        letters = len(self.config.letters)
        each = channels + taps * width // front.position_groups + letters
        return total + 2 * positions * width * each

    def __call__(
        self,
        inputs: Waveform,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """The encoder's output (B, T, D); valid (B, T) is a prefix, padding changes no valid output
        (see `frontend.faithful`). `edit` (L, H, ...) acts inside the encoder; `key` turns dropout
        on."""
        hidden = self.encode(inputs, valid, edit, key)
        if self.is_initializing() and self.config.letters:
            self.letters(hidden)
        return hidden

    def encode(
        self,
        inputs: Waveform,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        masked: jax.Array | None = None,
    ) -> jax.Array:
        """The encoder's output (B, T, D); positions that are `masked` (B, T) are hidden from it."""
        return self.encode_features(self.local_features(inputs)[0], valid, edit, key, masked)

    def encode_features(
        self,
        features: jax.Array,
        valid: jax.Array,
        edit: HeadEdit = NO_EDIT,
        key: jax.Array | None = None,
        masked: jax.Array | None = None,
    ) -> jax.Array:
        """`encode`, from what `local_features` gives."""
        keys = (None, None) if key is None else jax.random.split(key)
        x, side = self.embed_features(features, valid, keys[0], masked)
        return self.encoder(x, valid, edit, keys[1], side)

    def local_features(
        self, inputs: Waveform, gradient: float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """What the convolutions give, normalised (B, T, C), and its mean square before (B, T).

        Gradients of the convolutions are multiplied by `gradient`.
        """
        x = self.stem(*inputs)
        if gradient != 1.0:
            x = gradient * x + (1.0 - gradient) * jax.lax.stop_gradient(x)
        energy = (x.astype(jnp.float32) ** 2).mean(-1)
        return (self.input_norm(x) if self.config.frontend.project_norm else x), energy

    def embed(
        self, inputs: Waveform, valid: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        """The first layer's input (B, T, D), and WavLM's bias of positions (H, T, T)."""
        return self.embed_features(self.local_features(inputs)[0], valid, key)

    def embed_features(
        self,
        features: jax.Array,
        valid: jax.Array,
        key: jax.Array | None = None,
        masked: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """`embed`, from what `local_features` gives; `masked` (B, T) positions are hidden."""
        config = self.config
        shape = *features.shape[:2], config.width
        x = self.input(features.reshape(-1, features.shape[-1])).reshape(shape)
        x = by_utterance(x).astype(jnp.float32)
        if masked is not None:
            x = jnp.where(masked[:, :, None], self.mask_embedding, x)
        x = jnp.where(valid[:, :, None], x, 0.0)
        x += self.positions(x, valid)
        if not config.pre_ln:
            x = self.embedding_norm(x)
        side = None
        if isinstance(config.attention, GatedBias):
            side = position_bias(self.position_bias, x.shape[1], config.attention)
        return dropout(key, x, config.dropout), side

    def close(self, x: jax.Array) -> jax.Array:
        """What follows the last layer, states (..., D) to states."""
        return self.encoder.close(x)

    def letters(self, hidden: jax.Array) -> jax.Array:
        """Logits (B, T, V) of `config.letters` from the encoder's output (B, T, D)."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        return self.letter_head(flat).reshape(*hidden.shape[:2], -1).astype(jnp.float32)
